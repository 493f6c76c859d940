package node_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

var (
	lan1 = topology.Network{ID: "p1", Pool: netip.MustParsePrefix("10.5.0.0/24"), Gateway: netip.MustParseAddr("10.5.0.1"), Options: topology.Options{Parent: "eth1"}}
	p1   = topology.Endpoint{ID: "c10000000000000", Network: "p1", Address: netip.MustParseAddr("10.5.0.7"), Bits: 24}
	p2   = topology.Endpoint{ID: "c20000000000000", Network: "p1", Address: netip.MustParseAddr("10.5.0.8"), Bits: 24}
)

// physically runs a life with an l2 network, in a bubble of time.
func physically(t *testing.T, w topology.Network, check func(ctx context.Context, h *host)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		if err := h.AddNetwork(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		for _, e := range []topology.Endpoint{p1, p2} {
			if _, _, err := h.AddEndpoint(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		check(t.Context(), h)
	})
}

func TestAContainerOnThePhysicalNetworkIsAskedForBeforeAndToldOfAfter(t *testing.T) {
	physically(t, lan1, func(ctx context.Context, h *host) {
		l, err := h.Join(ctx, "p1", p1.ID, "/netns/1")
		if err != nil || l.MTU != 1400 || l.Gateway.String() != "10.5.0.1" || l.Segment.Parent != "eth1" {
			t.Fatalf("Join = %+v, %v", l, err)
		}
		if h.l2.Probed() != 1 || h.l2.Said() != "" {
			t.Errorf("asked %d times, and said %q before the container has its link", h.l2.Probed(), h.l2.Said())
		}
		if got, want := h.l2.String(), "segment eth1 bridge\nport rlc1000000000 02:42:0a:05:00:07 [10.5.0.7]"; got != want {
			t.Errorf("has\n%s\nwant\n%s", got, want)
		}
		if got := h.l2.Passed(); got != "[{eth1 bridge}]" {
			t.Errorf("the firewall lets pass %s: a container that has just come reaches nobody", got)
		}
		h.kernel.Carry(topology.HostEnd(p1.ID))
		time.Sleep(10 * time.Second)
		const told = "10.5.0.7 is at 02:42:0a:05:00:07 by rb-eth1"
		if got := h.l2.Said(); got != told+"\n"+told {
			t.Errorf("said\n%s\nwant twice %s", got, told)
		}
		if all := h.fabric.all(); len(all) != 1 || all[0].Address != p1.Address || !all[0].Near || all[0].Mark != isolation.Anyone {
			t.Errorf("the fabric is told %+v, want whose the address is, and no more", all)
		}
		if err := h.Leave(ctx, "p1", p1.ID); err != nil {
			t.Fatal(err)
		}
		if got := h.l2.String(); got != "segment eth1 bridge" {
			t.Errorf("right after the end: %s", got)
		}
		time.Sleep(30 * time.Second)
		if got := h.l2.String(); got != "" {
			t.Errorf("long after the end: %s", got)
		}
	})
}

func TestAnAddressThatANeighbourHasIsRefusedAndNothingIsLeft(t *testing.T) {
	physically(t, lan1, func(ctx context.Context, h *host) {
		h.l2.Neighbour(p1.Address, "02:00:00:00:00:99")
		_, err := h.Join(ctx, "p1", p1.ID, "/netns/1")
		if err == nil || !strings.Contains(err.Error(), "address 10.5.0.7 is in use already by 02:00:00:00:00:99") {
			t.Errorf("Join = %v", err)
		}
		if got := h.l2.String() + h.kernel.String(); got != "" || h.l2.Passed() != "[]" {
			t.Errorf("left: %s, and passed %s", got, h.l2.Passed())
		}
		if r, err := h.Report(ctx); err != nil || r.L2.Taken != 1 {
			t.Errorf("counted: %+v, %v", r.L2, err)
		}
		if _, err := h.Join(ctx, "p1", p2.ID, "/netns/2"); err != nil {
			t.Errorf("another address: %v", err)
		}
	})
}

// Two networks on one parent are one segment, which goes with the last container of either.
func TestASegmentIsSharedUntilTheLastContainerGoes(t *testing.T) {
	w := lan1
	w.Options.Parent = "eth1.100"
	physically(t, w, func(ctx context.Context, h *host) {
		second := w
		second.ID = "p2"
		there := topology.Endpoint{ID: "c30000000000000", Network: "p2", Address: netip.MustParseAddr("10.5.0.9"), Bits: 24}
		if err := h.AddNetwork(ctx, second); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.AddEndpoint(ctx, there); err != nil {
			t.Fatal(err)
		}
		for _, e := range []topology.Endpoint{p1, there} {
			if _, err := h.Join(ctx, e.Network, e.ID, "/netns/"+string(e.ID)); err != nil {
				t.Fatal(err)
			}
			h.kernel.Carry(topology.HostEnd(e.ID))
		}
		if err := h.Leave(ctx, "p1", p1.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := h.l2.String(); got != "segment eth1.100 bridge\nport rlc3000000000 02:42:0a:05:00:09 [10.5.0.9]" {
			t.Errorf("with one of two networks left: %s", got)
		}
		if err := h.RemoveNetwork(ctx, "p2"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := h.l2.String(); got != "" {
			t.Errorf("with none left: %s", got)
		}
	})
}

// A look at the whole falls into the half second of a question: the bridge that is asked by must stay.
func TestABridgeStaysWhileItIsAskedBy(t *testing.T) {
	physically(t, lan1, func(ctx context.Context, h *host) {
		h.l2.Slow(time.Minute)
		joined := make(chan error, 1)
		go func() {
			_, err := h.Join(ctx, "p1", p1.ID, "/netns/1")
			joined <- err
		}()
		time.Sleep(50 * time.Second) // many looks later
		if got := h.l2.String(); got != "segment eth1 bridge" {
			t.Errorf("in the midst of the question there is %q", got)
		}
		if err := <-joined; err != nil {
			t.Error(err)
		}
		if err := h.Leave(ctx, "p1", p1.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if got := h.l2.String(); got != "" {
			t.Errorf("long after the end: %s", got)
		}
	})
}

func TestAParentThatIsNotThereRefusesTheContainer(t *testing.T) {
	w := lan1
	w.Options.Parent = "eth7"
	physically(t, w, func(ctx context.Context, h *host) {
		if _, err := h.Join(ctx, "p1", p1.ID, "/netns/1"); err == nil || !strings.Contains(err.Error(), "parent eth7: this node has no such interface") {
			t.Errorf("Join = %v", err)
		}
	})
}

func TestAMacvlanLivesAsLongAsItsParentKnowsIt(t *testing.T) {
	w := lan1
	w.Options.Attach = topology.Macvlan
	physically(t, w, func(ctx context.Context, h *host) {
		if _, err := h.Join(ctx, "p1", p1.ID, "/netns/1"); err != nil {
			t.Fatal(err)
		}
		h.kernel.End(topology.HostEnd(p1.ID)) // the engine moves it: the node sees it no more
		h.l2.Ride("02:42:0a:05:00:07", true)
		time.Sleep(time.Minute)
		phase := func() (found topology.Phase) {
			r, err := h.Report(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range r.Endpoints {
				if e.ID == p1.ID {
					found = e.Phase
				}
			}
			return found
		}
		if got := phase(); got != topology.Joined {
			t.Errorf("a minute later it is %q", got)
		}
		h.l2.Ride("02:42:0a:05:00:07", false) // its container has ended without a word
		time.Sleep(20 * time.Second)
		if got := phase(); got != "" {
			t.Errorf("after its container's end it is %q", got)
		}
	})
}

func TestPortsOfTheHostLeadToAContainerUntilItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := t.Context()
		web := topology.Publication{Proto: "tcp", HostPort: 8080, Port: 80}
		for _, s := range life()[:4] {
			if err := s.do(ctx, h); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
		}
		h.l2.Take(topology.Publication{Proto: "udp", HostPort: 53, Port: 53})
		err := h.Publish(ctx, "n1", e1.ID, []topology.Publication{web, {Proto: "udp", HostPort: 53, Port: 53}})
		if err == nil || !strings.Contains(err.Error(), "port 53/udp of the node is taken") || h.l2.String() != "" {
			t.Errorf("a port that is taken: %v; led: %s", err, h.l2)
		}
		if err := h.Publish(ctx, "n1", e1.ID, []topology.Publication{web}); err != nil {
			t.Fatal(err)
		}
		if got := h.l2.String(); got != "door 8080/tcp to 10.210.3.7:80" {
			t.Errorf("led: %s", got)
		}
		if got := h.kernel.String(); !strings.Contains(got, fmt.Sprintf("fast %s 10.210.3.7 group 0", topology.HostEnd(e1.ID))) {
			t.Errorf("answers would pass the translation by:\n%s", got)
		}
		h.stop()
		h.live(&faults{}) // another process goes on
		if got := h.l2.String(); got != "door 8080/tcp to 10.210.3.7:80" {
			t.Errorf("after a new start: %s", got)
		}
		if _, _, err := h.AddEndpoint(ctx, e2); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Join(ctx, "n1", e2.ID, "/netns/2"); err != nil {
			t.Fatal(err)
		}
		if err := h.Publish(ctx, "n1", e2.ID, []topology.Publication{web}); err == nil || !strings.Contains(err.Error(), "it leads to 10.210.3.7 already") {
			t.Errorf("a second container on one port: %v", err)
		}
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		if got := h.l2.String(); got != "" {
			t.Errorf("after its end: %s", got)
		}
		if err := h.Publish(ctx, "n1", e2.ID, []topology.Publication{web}); err != nil {
			t.Errorf("the port is free again: %v", err)
		}
		if err := h.Revoke(ctx, "n1", e2.ID); err != nil || h.l2.String() != "" {
			t.Errorf("revoked: %v; led: %s", err, h.l2)
		}
	})
}

func TestNoPortOfTheHostLeadsToThePhysicalNetwork(t *testing.T) {
	physically(t, lan1, func(ctx context.Context, h *host) {
		if _, err := h.Join(ctx, "p1", p1.ID, "/netns/1"); err != nil {
			t.Fatal(err)
		}
		err := h.Publish(ctx, "p1", p1.ID, []topology.Publication{{Proto: "tcp", HostPort: 8080, Port: 80}})
		if err == nil || !strings.Contains(err.Error(), "is of mode l2") {
			t.Errorf("= %v", err)
		}
	})
}

func TestWhoseAnAddressOfThePhysicalNetworkIsIsLearntAndNoRoute(t *testing.T) {
	physically(t, lan1, func(ctx context.Context, h *host) {
		far := netip.MustParseAddr("10.5.0.9")
		told := topology.Route{Prefix: netip.PrefixFrom(far, 32), Via: netip.MustParseAddr("10.98.0.22"), Mark: isolation.Anyone}
		kind := func() isolation.Kind {
			time.Sleep(time.Second)
			e, err := h.Explain(ctx, far, p1.Address, permits.TCP, 80)
			if err != nil {
				t.Fatal(err)
			}
			return e.From.Kind
		}
		routed := func() int {
			r, err := h.Report(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return len(r.Routes)
		}
		h.Learn(ctx, []topology.Route{told})
		if k, n := kind(), routed(); k != isolation.Remote || n != 1 {
			t.Errorf("a routed one is %s, with %d routes", k, n)
		}
		told.Near = true // it moved to the physical network
		h.Learn(ctx, []topology.Route{told})
		if k, n := kind(), routed(); k != isolation.Remote || n != 0 {
			t.Errorf("on the physical network it is %s, with %d routes", k, n)
		}
		if got := h.kernel.String(); strings.Contains(got, "10.5.0.9") {
			t.Errorf("the kernel routes to it: %s", got)
		}
		h.Learn(ctx, []topology.Route{{Prefix: told.Prefix}})
		if k := kind(); k != isolation.Company {
			t.Errorf("when it has gone it is %s", k)
		}
	})
}
