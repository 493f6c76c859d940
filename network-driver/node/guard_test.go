package node_test

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// A node joins the Swarm with an address that a container already has, and another that one is about to have.
func TestAnAddressThatBecomesANodesIsUnwiredAndWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.members = topology.Membership{Self: netip.MustParseAddr("10.98.0.21"), Manager: true}
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		for _, s := range life()[:4] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := h.AddEndpoint(ctx, e2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // the container has its link, and is seen to have it
		if got := h.fabric.String(); got != "[10.210.3.7]" {
			t.Fatalf("it announces %s at first", got)
		}
		m := h.members
		m.Nodes = []netip.Addr{e1.Address, e2.Address}
		h.Meet(ctx, m)
		synctest.Wait()
		if got := h.fabric.String(); got != "[]" {
			t.Errorf("it announces %s, a node's address", got)
		}
		if got := h.kernel.String(); strings.Contains(got, "link") {
			t.Errorf("the kernel has %q", got)
		}
		if r, err := h.Report(ctx); err != nil || !strings.Contains(r.Problems["addresses"], "address 10.210.3.7 is another node's") {
			t.Errorf("it is not said: %+v, %v", r.Problems, err)
		}
		if _, err := h.Join(ctx, "n1", e2.ID, ""); err == nil || !strings.Contains(err.Error(), "address 10.210.3.8 is another node's") {
			t.Errorf("the join of the other: %v", err)
		}
		time.Sleep(time.Minute)
		if r, err := h.Report(ctx); err != nil || len(r.Problems) != 0 {
			t.Errorf("a minute later: %+v, %v", r.Problems, err)
		}
	})
}

func TestAPoolIsJudgedByTheLeaderAlsoBeforeItHasReadItsState(t *testing.T) {
	h := newHost(t)
	n := node.New(node.Parts{Wires: h.kernel.Wires(), Gate: h.kernel.Gate(), Roads: h.kernel.Roads(), Fast: h.kernel.Fast(), Announcer: h.fabric, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	brief, end := context.WithTimeout(ctx, time.Millisecond)
	defer end()
	if err := n.AllowPool(brief, netip.MustParsePrefix("10.98.0.0/24")); err != nil {
		t.Errorf("a node that cannot tell in time refuses: %v", err)
	}
	go n.Run(ctx) //nolint:errcheck // always nil
	if err := n.AllowPool(ctx, net1.Pool); err != nil {
		t.Errorf("a good pool: %v", err)
	}
	if err := n.AllowPool(ctx, netip.MustParsePrefix("10.98.0.128/25")); err == nil || !strings.Contains(err.Error(), "overlaps 10.98.0.0/24") {
		t.Errorf("a pool in the nodes' network: %v", err)
	}
}

func TestAddressesAreGuarded(t *testing.T) {
	h := newHost(t)
	h.members = topology.Membership{Self: netip.MustParseAddr("10.98.0.21"), Manager: true, Nodes: []netip.Addr{netip.MustParseAddr("10.210.3.99")}}
	h.routers = []topology.Router{{Address: netip.MustParseAddr("10.210.3.1")}}
	h.kernel.Own(netip.MustParseAddr("10.210.3.50"))
	h.live(&faults{})
	defer func() { h.stop() }()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.AddNetwork(ctx, net1))
	must(h.AddNetwork(ctx, topology.Network{ID: "n2", Pool: netip.MustParsePrefix("10.98.0.0/16"), Gateway: net1.Gateway}))
	_, _, err := h.AddEndpoint(ctx, e1)
	must(err)
	_, err = h.Join(ctx, "n1", e1.ID, "")
	must(err)
	for _, c := range []struct {
		name, want string
		endpoint   topology.Endpoint
	}{
		{"an address outside the pool", "outside the pool", topology.Endpoint{ID: "c3", Network: "n1", Address: netip.MustParseAddr("10.211.0.1")}},
		{"a node's address", "is another node's", topology.Endpoint{ID: "c3", Network: "n1", Address: netip.MustParseAddr("10.210.3.99")}},
		{"a router's address", "is a router's", topology.Endpoint{ID: "c3", Network: "n1", Address: netip.MustParseAddr("10.210.3.1")}},
		{"an address of this node", "is this node's own", topology.Endpoint{ID: "c3", Network: "n1", Address: netip.MustParseAddr("10.210.3.50")}},
		{"an address of this node's own network", "uplink is connected to", topology.Endpoint{ID: "c3", Network: "n2", Address: netip.MustParseAddr("10.98.0.77")}},
		{"another address of a joined endpoint", "has joined", topology.Endpoint{ID: e1.ID, Network: "n1", Address: e2.Address}},
		{"an unknown network", "not known", topology.Endpoint{ID: "c3", Network: "nope", Address: e2.Address}},
	} {
		if _, _, err := h.AddEndpoint(ctx, c.endpoint); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	h.kernel.Carry(topology.HostEnd(e1.ID))
	twin := topology.Endpoint{ID: "d40000000000000", Network: "n1", Address: e1.Address}
	_, _, err = h.AddEndpoint(ctx, twin)
	must(err)
	if _, err = h.Join(ctx, "n1", twin.ID, ""); err == nil || !strings.Contains(err.Error(), "is held by endpoint a10000000000") {
		t.Errorf("a second container with the same address: %v", err)
	}
	h.kernel.End(topology.HostEnd(e1.ID)) // the holder's container ended without a word
	_, err = h.Join(ctx, "n1", twin.ID, "")
	must(err)
	h.kernel.Carry(topology.HostEnd(twin.ID))
	must(whole(h))
}
