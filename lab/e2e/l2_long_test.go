//go:build lab && long

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// The engine's end takes its containers along, but neither the node's place on the LAN nor other nodes' containers; new
// ones come on the same segment.
func TestAnEngineEndsOnTheNodesOwnLAN(t *testing.T) {
	l := lab.Shared(t)
	ctx := within(t, 5*time.Minute)
	leader, err := l.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := cables(ctx, t, l)
	remove := onLAN(t, l, "ending", "10.99.0.241-10.99.0.250")
	all := places(t, l, "ending", "ending")
	victim := follower(all, leader)
	for range 3 {
		if err := l.KillEngine(ctx, victim.node); err != nil {
			t.Fatal(err)
		}
		if err := pinged(ctx, l, lab.Router, nil, l.Address(victim.node).String()); err != nil {
			t.Errorf("the node went with its engine: %v", err)
		}
		if err := l.Eventually(ctx, 90*time.Second, "all reach all after the engine's end", func() error {
			now := places(t, l, "ending", "ending")
			if len(now) != len(all) {
				return fmt.Errorf("%d containers of %d", len(now), len(all))
			}
			return meet(ctx, l, now)
		}); err != nil {
			t.Error(err)
		}
	}
	remove()
	givenBack(ctx, t, l, before)
}

// A power loss takes bridge, links and rules along, and the node's own configuration gives its interface the address
// again; what runs on other nodes does not notice, and the node's next container comes on the same segment.
func TestANodeLosesItsPowerOnTheNodesOwnLAN(t *testing.T) {
	l := lab.Shared(t)
	ctx := within(t, 6*time.Minute)
	leader, err := l.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := cables(ctx, t, l)
	remove := onLAN(t, l, "power", "10.99.0.211-10.99.0.220")
	all := places(t, l, "power", "power")
	victim := follower(all, leader)
	if err := l.Kill(ctx, victim.node); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.node != victim.node {
			if err := pinged(ctx, l, lab.Router, nil, p.address); err != nil {
				t.Errorf("another node's container went along: %v", err)
			}
		}
	}
	if err := l.Start(ctx, victim.node); err != nil {
		t.Fatal(err)
	}
	if err := l.Eventually(ctx, 3*time.Minute, "all reach all after the power loss", func() error {
		now := places(t, l, "power", "power")
		if len(now) != len(all) {
			return fmt.Errorf("%d containers of %d", len(now), len(all))
		}
		return meet(ctx, l, now)
	}); err != nil {
		t.Error(err)
	}
	remove()
	givenBack(ctx, t, l, before)
}
