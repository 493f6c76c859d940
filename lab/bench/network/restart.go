package network

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/prober"
)

const (
	program = "/network-driver"
	// backWithin: the engine starts a killed plugin again within a second; it has then to hear its neighbours.
	backWithin = time.Minute
)

// restarts kills a node's rolling/net, and asks every millisecond, from the router and from another node's container,
// whether a container there answers, until the new process has heard all its neighbours.
func (b *bench) restarts(ctx context.Context) ([]figure.Figure, error) {
	from, err := b.idleTask(ctx, ours, b.client)
	if err != nil {
		return nil, err
	}
	to, err := b.idleTask(ctx, ours, b.server)
	if err != nil {
		return nil, err
	}
	space, err := b.Lab.ContainerNetwork(b.client, from.Container) //nolint:contextcheck // it has a time limit of its own
	if err != nil {
		return nil, err
	}
	router, err := b.Lab.NetworkPath(lab.Router)
	if err != nil {
		return nil, err
	}
	var holes []float64
	sent, lost := 0, 0
	for range b.set.Restarts {
		for _, at := range []string{space, router} {
			s, err := prober.Watch(ctx, at, to.Address, time.Millisecond, func() error { return b.restart(ctx, b.server) })
			if err != nil {
				return nil, err
			}
			holes, sent, lost = append(holes, float64(s.Longest)/float64(time.Millisecond)), sent+s.Sent, lost+s.Lost
		}
	}
	f, err := figure.Spread("net.restart_blackhole_ms", "ms", holes, fmt.Sprintf("longest loss of a 1 ms prober as rolling/net is killed and comes back, from a container and from the router by turns: %d of %d requests lost", lost, sent))
	return []figure.Figure{f}, err
}

// restart kills the plugin's process and waits until the next one has settled.
func (b *bench) restart(ctx context.Context, node string) error {
	old, err := b.Lab.Exec(ctx, node, "pidof", program)
	if err != nil {
		return fmt.Errorf("%s on %s: %w", contract.PluginNet, node, err)
	}
	if _, err := b.Lab.Exec(ctx, node, append([]string{"kill", "-9"}, strings.Fields(old)...)...); err != nil {
		return err
	}
	return b.Lab.Eventually(ctx, backWithin, contract.PluginNet+" back on "+node, func() error {
		now, err := b.Lab.Exec(ctx, node, "pidof", program)
		if err != nil || now == old {
			return fmt.Errorf("processes %q after %q: %w", now, old, err)
		}
		s, err := b.netState(ctx, node)
		if err != nil {
			return err
		}
		return s.settled()
	})
}
