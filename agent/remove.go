package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/agent/loader"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// remove takes the plugins off this node. rolling/net first takes away what it put on the host: Docker tells a plugin that it
// ends, but not that no other comes in its place. What containers hold goes with them.
func remove(ctx context.Context, c Config, engine *loader.Engine, found []loader.Found) error {
	if conn, err := net.Dial("unix", c.Socket()); err == nil {
		return errors.Join(errors.New("an agent runs on this node, and would bring the plugins back: end it first (docker stack rm, or a constraint that keeps it off this node)"), conn.Close())
	}
	var problems []error
	for _, f := range slices.Backward(found) {
		have, err := engine.Installed(ctx, f.Alias)
		if err != nil || !have.Present {
			problems = append(problems, err)
			continue
		}
		if f.Alias == contract.PluginNet {
			if err := c.fabric().Clear(ctx); err != nil {
				problems = append(problems, fmt.Errorf("%s stays, since it alone knows what is its own on this host: %w: is it enabled?", f.Alias, err))
				continue
			}
		}
		for _, step := range removal(f.Alias, have) {
			if err = engine.Do(ctx, f.Bundle, step); err != nil {
				problems = append(problems, err)
				break
			}
		}
	}
	return errors.Join(problems...)
}

// removal: a container whose log driver goes would write into nothing, so that one goes only when none uses it.
func removal(alias string, have bundle.Installed) []bundle.Step {
	switch {
	case alias == contract.PluginLog:
		return []bundle.Step{{Verb: bundle.Retire}}
	case have.Enabled:
		return []bundle.Step{{Verb: bundle.Disable}, {Verb: bundle.Remove}}
	}
	return []bundle.Step{{Verb: bundle.Remove}}
}
