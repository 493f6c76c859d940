package network

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// routeWithin bounds the wait for one route: above the 9 s after which a silent neighbour is lost.
const routeWithin = time.Minute

// starts takes turns at starting a service of one task on our network and on overlay, from Swarm's own timestamps:
// service created until task running.
func (b *bench) starts(ctx context.Context) ([]figure.Figure, error) {
	took := map[string][]time.Duration{}
	var services []string
	for round := range b.set.Starts {
		order := []string{ours, overlay}
		if round%2 == 1 {
			order = []string{overlay, ours}
		}
		for _, network := range order {
			name := fmt.Sprintf("bench-start-%s-%d", network, round)
			if err := b.Start(ctx, site.Service{Name: name, Network: "bench-" + network, Replicas: 1, Node: b.client}); err != nil {
				return nil, err
			}
			tasks, created, err := b.Running(ctx, name, 1, runWithin)
			if err != nil {
				return nil, err
			}
			services = append(services, name)
			took[network] = append(took[network], tasks[0].Since.Sub(created))
		}
	}
	if err := b.Remove(ctx, services...); err != nil {
		return nil, err
	}
	f, err := figure.Paired("net.start", "ms", figure.Milliseconds(took[ours]), overlay, figure.Milliseconds(took[overlay]),
		"service created to its one task running, Swarm's timestamps, the network at work on the node")
	return []figure.Figure{f}, err
}

// changes kills a container again and again, and watches kernels: from the container's end until the router has no
// route to it, and from the route of Swarm's replacement on its node until the router has it too.
func (b *bench) changes(ctx context.Context) ([]figure.Figure, error) {
	const service = "bench-change"
	if err := b.Start(ctx, site.Service{Name: service, Network: "bench-" + ours, Replicas: 1, Node: b.server}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var came, went []time.Duration
	for range b.set.Changes {
		c, err := b.change(ctx, service)
		if err != nil {
			return nil, err
		}
		came, went = append(came, c.came), append(went, c.went)
	}
	announce, err := figure.Spread("net.announce_ms", "ms", figure.Milliseconds(came), "route in the node's kernel (Join) to route in the router's, as this process hears both: a busy machine shifts either by some ms")
	if err != nil {
		return nil, err
	}
	withdraw, err := figure.Spread("net.withdraw_ms", "ms", figure.Milliseconds(went), "container's end, as the engine tells it, to route gone from the router's kernel")
	return []figure.Figure{announce, withdraw}, err
}

type change struct{ came, went time.Duration }

// change kills the service's container and watches until its successor's route is everywhere.
func (b *bench) change(ctx context.Context, service string) (change, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks, _, err := b.Running(ctx, service, 1, runWithin)
	if err != nil {
		return change{}, err
	}
	old := tasks[0]
	node, err := b.Routes(ctx, b.server)
	if err != nil {
		return change{}, err
	}
	router, err := b.Routes(ctx, lab.Router)
	if err != nil {
		return change{}, err
	}
	died, err := b.kill(ctx, b.server, old.Container)
	if err != nil {
		return change{}, err
	}
	arrived := map[netip.Addr]time.Time{} // the successor may be faster than the withdrawal
	gone, err := site.Await(ctx, router, routeWithin, "withdrawal of "+old.Address.String(), func(c site.RouteChange) bool {
		if !c.Gone {
			arrived[c.Address] = c.At
		}
		return c.Gone && c.Address == old.Address
	})
	if err != nil {
		return change{}, err
	}
	came, err := successor(ctx, node, router, arrived)
	return change{came: came, went: gone.At.Sub(died)}, err
}

// successor waits for the next container's route on its node and on the router, and tells the time between. What has
// arrived at the router already is given.
func successor(ctx context.Context, node, router <-chan site.RouteChange, arrived map[netip.Addr]time.Time) (time.Duration, error) {
	joined, err := site.Await(ctx, node, runWithin, "the successor's Join", func(c site.RouteChange) bool {
		return !c.Gone && netip.MustParsePrefix(pool).Contains(c.Address)
	})
	if err != nil {
		return 0, err
	}
	if at, early := arrived[joined.Address]; early {
		return at.Sub(joined.At), nil
	}
	came, err := site.Await(ctx, router, routeWithin, "announcement of "+joined.Address.String(), func(c site.RouteChange) bool {
		return !c.Gone && c.Address == joined.Address
	})
	return came.At.Sub(joined.At), err
}

// kill ends a container and tells when it ended, as its engine says.
func (b *bench) kill(ctx context.Context, node, container string) (died time.Time, err error) {
	err = b.With(node, func(c *client.Client) error {
		if _, err := c.ContainerKill(ctx, container, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
			return fmt.Errorf("kill container %s on %s: %w", container, node, err)
		}
		return b.Lab.Eventually(ctx, runWithin, "the end of container "+container, func() error {
			got, err := c.ContainerInspect(ctx, container, client.ContainerInspectOptions{})
			if err != nil {
				return err
			}
			if s := got.Container.State; s == nil || s.Running {
				return fmt.Errorf("%s still runs it", node)
			} else if died, err = time.Parse(time.RFC3339Nano, s.FinishedAt); err != nil {
				return fmt.Errorf("its end %q: %w", s.FinishedAt, err)
			}
			return nil
		})
	})
	return died, err
}

// powerLoss takes the power from the server's node and waits until the router has lost its routes. The node stays off.
func (b *bench) powerLoss(ctx context.Context) ([]figure.Figure, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lost, err := b.idleTask(ctx, ours, b.server)
	if err != nil {
		return nil, err
	}
	router, err := b.Routes(ctx, lab.Router)
	if err != nil {
		return nil, err
	}
	dark := time.Now()
	if err := b.Lab.Kill(ctx, b.server); err != nil {
		return nil, err
	}
	gone, err := site.Await(ctx, router, routeWithin, "withdrawal of "+lost.Address.String(), func(c site.RouteChange) bool {
		return c.Gone && c.Address == lost.Address
	})
	if err != nil {
		return nil, err
	}
	ms := float64(gone.At.Sub(dark)) / float64(time.Millisecond)
	return []figure.Figure{figure.Alone("net.withdraw_power_ms", "ms", ms, 1, "power taken from a node that does not lead to route gone from the router's kernel")}, nil
}
