package node_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Connections that stand are let go on unseen only while none of them is owed its end.
func TestTheWallIsEasedOnlyWhenForbiddenConnectionsAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		eased := func() bool {
			synctest.Wait()
			w, _ := h.kernel.Walled()
			return len(w.Rules) > 0 && strings.Contains(strings.Join(w.Rules[0], " "), "ESTABLISHED")
		}
		lay := func(from ...string) {
			d := permits.Document{Projects: []string{"orders", "payments", "stock"}}
			for _, f := range from {
				d.Permits = append(d.Permits, permits.Permit{From: f, To: "orders"})
			}
			h.Permit(ctx, d.Seal(), nil)
		}
		lay("payments", "stock")
		h.Settle(ctx)
		for i, n := range []topology.Network{net1, {ID: "n2", Pool: net1.Pool, Gateway: net1.Gateway}, {ID: "n3", Pool: net1.Pool, Gateway: net1.Gateway}} {
			n.Options.Project = []string{"orders", "payments", "stock"}[i]
			e := topology.Endpoint{ID: topology.EndpointID([]string{"a1", "b2", "c3"}[i] + "0000000000000"), Network: n.ID, Address: net1.Pool.Addr().Next().Next()}
			for range i {
				e.Address = e.Address.Next()
			}
			if err := h.AddNetwork(ctx, n); err != nil {
				t.Fatal(err)
			}
			if _, _, err := h.AddEndpoint(ctx, e); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Join(ctx, n.ID, e.ID, ""); err != nil {
				t.Fatal(err)
			}
		}
		if !eased() {
			t.Error("nothing is owed, and each packet is judged")
		}
		_, before := h.kernel.Walled()
		h.kernel.Break(func(effect string) error {
			if effect == "cut wall" {
				return errors.New("no buffer")
			}
			return nil
		})
		lay("payments")
		w, cuts := h.kernel.Walled()
		if eased() || cuts == before {
			t.Errorf("a forbidden connection could go on unseen (%d cuts): %v", cuts-before, w.Sets)
		}
		if r, err := h.Report(ctx); err != nil || r.Problems["connections"] == "" {
			t.Errorf("the failure is not said: %+v, %v", r.Problems, err)
		}
		h.kernel.Break(nil)
		time.Sleep(10 * time.Second)
		if !eased() {
			t.Error("after the next look at everything each packet is still judged")
		}
		_, before = h.kernel.Walled()
		lay("payments", "stock")
		if _, cuts := h.kernel.Walled(); !eased() || cuts != before {
			t.Error("what only opens owes nothing")
		}
	})
}
