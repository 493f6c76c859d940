package node_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestAnAddressIsAnnouncedOnceItsContainerHasItAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		for _, s := range life()[:3] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(7 * time.Second) // a slow engine, and some rounds of looking after the host
		if got := h.fabric.String(); got != "[]" {
			t.Errorf("before any container has the link it announces %s", got)
		}
		h.kernel.Carry(topology.HostEnd(e1.ID))
		time.Sleep(2 * time.Second)
		if got := h.fabric.String(); got != "[10.210.3.7]" {
			t.Errorf("2 s after a late container got it it announces %s", got)
		}
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		if got := h.fabric.String(); got != "[]" {
			t.Errorf("after it left it announces %s", got)
		}
		if _, err := h.Join(ctx, "n1", e1.ID, ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Millisecond)
		h.kernel.Carry(topology.HostEnd(e1.ID))
		time.Sleep(25 * time.Millisecond)
		if got := h.fabric.String(); got != "[10.210.3.7]" {
			t.Errorf("25 ms after a container got it it announces %s", got)
		}
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Join(ctx, "n1", e1.ID, ""); err != nil {
			t.Fatal(err)
		}
		if err := h.Leave(ctx, "n1", e1.ID); err != nil { // an engine that gave up
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := h.fabric.String(); got != "[]" {
			t.Errorf("after a container that never came it announces %s", got)
		}
	})
}

func TestAnAggregatedNetworkIsAnnouncedWithItsPoolAndABorderForwardsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		w := net1
		w.Options.Aggregate = true
		if err := h.AddNetwork(ctx, w); err != nil {
			t.Fatal(err)
		}
		for _, s := range life()[1:4] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		h.Border(ctx, []netip.Prefix{w.Pool, netip.MustParsePrefix("10.211.0.0/16")})
		time.Sleep(50 * time.Millisecond)
		if got, want := h.fabric.all(), (fabric.Announcement{Address: e1.Address, Pool: w.Pool, Mark: isolation.Anyone}); len(got) != 1 || got[0] != want {
			t.Errorf("it announces %v, want %v", got, want)
		}
		if got, want := h.kernel.Accepts(), "[10.210.3.0/24 10.211.0.0/16]"; got != want {
			t.Errorf("the firewall accepts %s, want %s", got, want)
		}
		h.Border(ctx, nil)
		time.Sleep(50 * time.Millisecond)
		if got, want := h.kernel.Accepts(), "[10.210.3.0/24]"; got != want {
			t.Errorf("a node that is no border any more accepts %s, want %s", got, want)
		}
	})
}
