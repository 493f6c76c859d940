package lab

import (
	"context"
	"slices"

	"github.com/rolling-swarm/rolling/lab/debian"
)

// Mixed in the place of a suite is a Swarm of all engines: node by node in turn, the newest first.
const Mixed = "mixed"

// suiteOf is the Debian release whose engine a node runs.
func (r record) suiteOf(node string) string {
	if r.Engine != Mixed {
		return r.Engine
	}
	all := debian.Suites()
	return all[max(0, slices.Index(r.nodes(), node))%len(all)]
}

// engines are the folders of all the engines that the lab's nodes run, by suite.
func (l *Lab) engines(ctx context.Context, r record) (map[string]string, error) {
	folders := map[string]string{}
	for _, node := range r.nodes() {
		suite := r.suiteOf(node)
		if folders[suite] != "" {
			continue
		}
		folder, err := l.machine().Engine(ctx, suite)
		if err != nil {
			return nil, err
		}
		folders[suite] = folder
	}
	return folders, nil
}
