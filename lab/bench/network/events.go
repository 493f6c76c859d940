package network

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// routeWithin bounds the wait for one route: above the 9 s after which a silent neighbour is lost.
const routeWithin = time.Minute

// ways are how a container ends: by a crash, and by the engine's stop.
func ways() []string { return []string{"kill", "stop"} }

// changes ends a container again and again, and watches kernels: from the container's end until the router has no route
// to it, and from the route of Swarm's replacement on its node until the router has it too.
func (b *bench) changes(ctx context.Context) ([]figure.Figure, error) {
	const service = "bench-change"
	if err := b.Start(ctx, site.Service{Name: service, Network: "bench-" + ours, Replicas: 1, Node: b.server}); err != nil {
		return nil, err
	}
	var came, after []time.Duration
	went := map[string][]time.Duration{}
	for range b.set.Changes {
		for _, way := range ways() {
			c, err := b.change(ctx, service, way)
			if err != nil {
				return nil, err
			}
			came, after, went[way] = append(came, c.came), append(after, c.after), append(went[way], c.went)
		}
	}
	var figures []figure.Figure
	for _, f := range []struct {
		name, note string
		took       []time.Duration
	}{
		{"net.announce_ms", "route in the node's kernel (the container holds its link) to route in the router's, as this process hears both: a busy machine shifts either by some ms", came},
		{"net.announce_ready_ms", "Swarm's timestamp of the task running to route in the router's kernel: below 0, the route was there first", after},
		{"net.withdraw_ms", "container's end by kill -9, as the engine tells it, to route gone from the router's kernel", went["kill"]},
		{"net.withdraw_stop_ms", "container's end by docker stop, as the engine tells it, to route gone from the router's kernel", went["stop"]},
	} {
		made, err := figure.Spread(f.name, "ms", figure.Milliseconds(f.took), f.note)
		if err != nil {
			return nil, err
		}
		figures = append(figures, made)
	}
	return figures, b.Remove(ctx, service)
}

// change is how long routes took: to come, to come after Swarm's word that the task runs, and to go.
type change struct{ came, after, went time.Duration }

// change ends the service's container and watches until its successor's route is everywhere.
func (b *bench) change(ctx context.Context, service, way string) (change, error) {
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
	died, err := b.end(ctx, b.server, old.Container, way)
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
	joined, at, err := successor(ctx, node, router, arrived)
	if err != nil {
		return change{}, err
	}
	tasks, _, err = b.Running(ctx, service, 1, runWithin)
	if err != nil {
		return change{}, err
	}
	return change{came: at.Sub(joined), after: at.Sub(tasks[0].Since), went: gone.At.Sub(died)}, nil
}

// successor waits for the next container's route on its node and on the router, and tells both moments. What has arrived
// at the router already is given.
func successor(ctx context.Context, node, router <-chan site.RouteChange, arrived map[netip.Addr]time.Time) (joined, came time.Time, err error) {
	here, err := site.Await(ctx, node, runWithin, "the successor's Join", func(c site.RouteChange) bool {
		return !c.Gone && netip.MustParsePrefix(pool).Contains(c.Address)
	})
	if err != nil {
		return joined, came, err
	}
	if at, early := arrived[here.Address]; early {
		return here.At, at, nil
	}
	there, err := site.Await(ctx, router, routeWithin, "announcement of "+here.Address.String(), func(c site.RouteChange) bool {
		return !c.Gone && c.Address == here.Address
	})
	return here.At, there.At, err
}

// end ends a container and tells when it ended, as its engine says.
func (b *bench) end(ctx context.Context, node, id, way string) (died time.Time, err error) {
	s, err := b.state(ctx, node, id)
	if err != nil {
		return died, err
	}
	if way == "stop" {
		_, err = b.Lab.Docker(ctx, node, "stop", id)
	} else {
		_, err = b.Lab.Exec(ctx, node, "kill", "-9", strconv.Itoa(s.Pid))
	}
	if err != nil {
		return died, fmt.Errorf("%s container %s on %s: %w", way, id, node, err)
	}
	err = b.Lab.Eventually(ctx, runWithin, "the end of container "+id, func() error {
		s, err := b.state(ctx, node, id)
		if err != nil {
			return err
		}
		if s.Running {
			return fmt.Errorf("%s still runs it", node)
		}
		died, err = time.Parse(time.RFC3339Nano, s.FinishedAt)
		return err
	})
	return died, err
}

// state is what its engine says of a container.
func (b *bench) state(ctx context.Context, node, id string) (s container.State, err error) {
	err = b.With(node, func(c *client.Client) error {
		got, err := c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err == nil && got.Container.State != nil {
			s = *got.Container.State
		}
		return err
	})
	return s, err
}
