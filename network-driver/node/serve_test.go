package node_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// places remembers the last word to the balancer.
type places struct {
	mu   sync.Mutex // guards last
	last vip.Place
}

func (p *places) Place(now vip.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = now
}

func (p *places) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprint(p.last.Endpoints, len(p.last.Pools), p.last.Far)
}

func TestVirtualAddressesAreAnnouncedAndTheirBackendsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		node := netip.MustParseAddr("10.98.0.22")
		h.members = topology.Membership{Self: netip.MustParseAddr("10.98.0.21"), Managers: []netip.Addr{node}}
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		for _, s := range life()[:4] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		see := func(when, told, place string) {
			t.Helper()
			time.Sleep(time.Second)
			if got := h.fabric.String(); got != told {
				t.Errorf("%s it announces %s, want %s", when, got, told)
			}
			if got := h.places.String(); got != place {
				t.Errorf("%s the balancer knows %s, want %s", when, got, place)
			}
		}
		own := "[{a10000000000000 n1 10.210.3.7 1}] 1"
		see("with a container", "[10.210.3.7]", own+" map[]")
		virtual, other := netip.MustParseAddr("10.210.3.99"), netip.MustParseAddr("10.210.3.50")
		h.Serve(ctx, map[netip.Addr]topology.NetworkID{virtual: "n1", e1.Address: "n1", node: "n1", other: "unknown"}, map[netip.Addr]bool{other: true})
		see("with a virtual address, and none that a container or a node has", "[10.210.3.7 10.210.3.99]", own+" map[]")
		there := kerneltest.Road("10.210.3.50", "10.98.0.22")
		h.Learn(ctx, []topology.Route{there, kerneltest.Road("10.210.3.51", "10.98.0.22")})
		see("when a watched address is announced elsewhere", "[10.210.3.7 10.210.3.99]", own+" map[10.210.3.50:true]")
		h.Learn(ctx, []topology.Route{{Prefix: there.Prefix}})
		see("when it has gone", "[10.210.3.7 10.210.3.99]", own+" map[]")
		h.Serve(ctx, nil, nil)
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		see("with nothing left", "[]", "[] 1 map[]")
	})
}
