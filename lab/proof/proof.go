// Package proof holds what Rolling promises, as functions over a running lab: each checks one promise on real
// engines, kernels and routers and says in a sentence what it saw. The demonstration prints them, the tests run
// them. The package knows the examples and the lab; it imports no program of Rolling.
package proof

import (
	"context"
	"fmt"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// A Proof is one promise. Run returns what it measured, for people, or why the promise does not hold.
type Proof struct {
	Number int
	Title  string
	Run    func(ctx context.Context, w *World) (seen string, err error)
}

// World is the lab on which proofs run, and what earlier proofs left for later ones.
type World struct {
	Lab *lab.Lab
	// Root is the checkout.
	Root string
	// Alone is the only manager of a Swarm that was made anew: nobody votes with it. Usually empty.
	Alone string

	orders string // the image of examples/orders, by digest
	lost   string // the node that a proof took the power from, until another gives it back
}

// Ground are the proofs of the ground that everything else stands on: engines, plugins, addresses, routes.
func Ground() []Proof {
	return []Proof{
		{1, "every node is Ready and has the plugins enabled", nodesAndPlugins},
		{2, "docker stack deploy runs orders, one task a node", deployOrders},
		{3, "every container answers at its own address, without NAT", answersAtOwnAddress},
		{4, "the router's BGP table holds exactly these addresses", routesAreExact},
		{5, "the leader loses power: no address moves, none is given twice", leaderLosesPower},
		{6, "the node comes back and everything agrees again", nodeComesBack},
		{7, "a plugin killed -9 interrupts nothing", pluginsKilled},
	}
}

// leader waits until most managers agree on who leads. A busy machine, or a node that has just come back, can bring an
// election at any time, which ends within seconds.
func (w *World) leader(ctx context.Context) (leader string, err error) {
	if w.Alone != "" {
		return w.Alone, nil
	}
	err = eventually(ctx, time.Minute, "a leader of the Swarm", func(ctx context.Context) (err error) {
		leader, err = w.Lab.Leader(ctx)
		return err
	})
	return leader, err
}

// eventually polls f until it returns nil; within bounds it, and the last reason is in the error.
func eventually(ctx context.Context, within time.Duration, what string, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for {
		if last = f(ctx); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, within, last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
