package node_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestAnAddressIsAnnouncedOnceItsContainerIsHealthyAndStaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		w := net1
		w.Options.WhenHealthy = true
		if err := h.AddNetwork(ctx, w); err != nil {
			t.Fatal(err)
		}
		for _, s := range life()[1:3] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		h.kernel.Carry(topology.HostEnd(e1.ID))
		says := func(when, want string) {
			t.Helper()
			if got := h.fabric.String(); got != want {
				t.Errorf("%s it announces %s, want %s", when, got, want)
			}
		}
		for range 30 { // an agent that asks, and has nothing to tell, for 5 minutes
			if ids, err := h.Awaited(ctx); err != nil || len(ids) != 1 || ids[0] != e1.ID {
				t.Fatalf("awaited are %v, %v", ids, err)
			}
			if err := h.Healthy(ctx, []topology.EndpointID{"c30000000000000"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		says("while its container is ill", "[]")
		if err := h.Healthy(ctx, []topology.EndpointID{e1.ID}); err != nil {
			t.Fatal(err)
		}
		says("at once when its container is healthy", "[10.210.3.7]")
		h.stop()
		h.live(&faults{})
		time.Sleep(time.Second)
		says("after the plugin's restart", "[10.210.3.7]")
		if ids, err := h.Awaited(ctx); err != nil || len(ids) != 0 {
			t.Errorf("awaited are %v, %v", ids, err)
		}
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Join(ctx, "n1", e1.ID, ""); err != nil {
			t.Fatal(err)
		}
		h.kernel.Carry(topology.HostEnd(e1.ID))
		time.Sleep(50 * time.Second)
		says("of a new container that nobody has called healthy", "[]")
		h.stop()
		h.live(&faults{})
		time.Sleep(50 * time.Second)
		says("50 s after a restart, without an agent", "[]")
		time.Sleep(15 * time.Second)
		says("when no agent has said a word for a minute", "[10.210.3.7]")
		if _, err := h.Awaited(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		says("when the agent is back", "[10.210.3.7]")
	})
}
