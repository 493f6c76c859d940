package network

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// bootWithin bounds the return of a node: its engine, its plugins, its first task and its sessions.
const bootWithin = 5 * time.Minute

// dark is how long a node stays off: no machine boots faster, and a neighbour that answers within 5 s of its silence
// passes for one that was misjudged, and gets more patience the next time (docs/adr/0023).
const dark = 8 * time.Second

// powerLosses takes the power from the server's node, which does not lead, and watches the router's kernel; the node
// comes back, and holds a task and its sessions, before the next loss.
func (b *bench) powerLosses(ctx context.Context) ([]figure.Figure, error) {
	var took []time.Duration
	for range b.set.Losses {
		d, err := b.powerLoss(ctx)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
		time.Sleep(dark)
		if err := b.Lab.Start(ctx, b.server); err != nil {
			return nil, err
		}
		if err := b.Lab.Eventually(ctx, bootWithin, b.server+" at work again", func() error { return b.atWork(ctx, b.server) }); err != nil {
			return nil, err
		}
	}
	f, err := figure.Spread("net.withdraw_power_ms", "ms", figure.Milliseconds(took), "power taken from a node that does not lead to route gone from the router's kernel")
	return []figure.Figure{f}, err
}

// powerLoss tells how long the router kept a route of the server's node. The node stays off.
func (b *bench) powerLoss(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lost, err := b.idleTask(ctx, ours, b.server)
	if err != nil {
		return 0, err
	}
	router, err := b.Routes(ctx, lab.Router)
	if err != nil {
		return 0, err
	}
	off := time.Now()
	if err := b.Lab.Kill(ctx, b.server); err != nil {
		return 0, err
	}
	gone, err := site.Await(ctx, router, routeWithin, "withdrawal of "+lost.Address.String(), func(c site.RouteChange) bool {
		return c.Gone && c.Address == lost.Address
	})
	return gone.At.Sub(off), err
}

// atWork says why a node is not yet: its idle task's route has to be in the router's kernel, each session established.
func (b *bench) atWork(ctx context.Context, node string) error {
	task, err := b.idleTask(ctx, ours, node)
	if err != nil {
		return err
	}
	at, err := b.Addresses(lab.Router)
	if err == nil && !at[task.Address] {
		err = fmt.Errorf("the router has no route to %s", task.Address)
	}
	s, unheard := b.netState(ctx, node)
	if unheard == nil {
		unheard = s.settled()
	}
	return errors.Join(err, unheard)
}
