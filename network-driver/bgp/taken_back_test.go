package bgp

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// TestWhatIsTakenBackWhileASessionBeginsIsTakenBackThere: gobgp 4.8.0 sends a neighbour all routes, and only a moment later
// takes its session for one to send changes on. What is withdrawn in that moment stays with the neighbour for good, also
// when all is sent again. Here sessions begin while one neighbour takes back its routes, one by one.
func TestWhatIsTakenBackWhileASessionBeginsIsTakenBackThere(t *testing.T) {
	const joiners, routes = 30, 1500
	reflector, port := netip.AddrFrom4([4]byte{127, 0, 79, 2}), freePort(t)
	var nodes []netip.Addr
	for i := range joiners + 1 {
		nodes = append(nodes, netip.AddrFrom4([4]byte{127, 0, 76, byte(i + 1)}))
	}
	v := speak(t, reflector, port, func(s *Settings) { s.Hold = 90 * time.Second })
	v.speaker.Meet(reflector, topology.Neighbours(topology.Membership{Self: reflector, Manager: true, Nodes: nodes}, nil, testASN, port))
	all := hosts(t, routes)
	restless := join(t, nodes[0], reflector, port)
	for i := range all {
		if err := restless.tell(nil, all[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, time.Minute, func() error {
		if n := v.held(); n != routes {
			return fmt.Errorf("the reflector holds %d routes", n)
		}
		return nil
	})
	others := make([]*client, joiners)
	var met sync.WaitGroup
	for i := range others {
		met.Go(func() { others[i] = join(t, nodes[1+i], reflector, port) })
	}
	for i := range all[1:] { // whoever holds the first alone has heard all
		if err := restless.tell(all[1+i:2+i], nil); err != nil {
			t.Fatal(err)
		}
	}
	met.Wait()
	eventually(t, time.Minute, func() error {
		if n := v.held(); n != 1 {
			return fmt.Errorf("the reflector holds %d routes", n)
		}
		return nil
	})
	left := func() (n int) {
		for _, c := range others {
			n += c.holds() - 1
		}
		return n
	}
	eventually(t, longestBurst+longestSending+time.Minute, func() error {
		if n := left(); n != 0 {
			return fmt.Errorf("%d routes that nobody has are left", n)
		}
		return nil
	})
}

func TestAShadowGivesWayToARouteOfItsPrefix(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	old, here, elsewhere := netip.MustParsePrefix("10.201.0.1/32"), netip.MustParsePrefix("10.201.0.2/32"), netip.MustParsePrefix("10.201.0.3/32")
	b := newTakenBack()
	for p, ago := range map[netip.Prefix]time.Duration{old: rememberFor + time.Second, here: time.Second, elsewhere: time.Second} {
		b.since[p], b.shadows[p] = now.Add(-ago), nil
	}
	b.forget(now)
	b.there(here, true)
	b.there(elsewhere, false)
	if len(b.since) != 0 {
		t.Errorf("still taken back: %v", b.since)
	}
	if _, kept := b.shadows[here]; kept || len(b.shadows) != 2 {
		t.Errorf("the shadows %v: that of a route of ours is gone, which stands in its place; another's is still to be lifted", b.shadows)
	}
}

func hosts(t *testing.T, n int) (all []bgp.PathNLRI) {
	t.Helper()
	for k := range n {
		h, err := bgp.NewIPAddrPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 201, byte(k / 250), byte(k%250 + 1)}), 32))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bgp.PathNLRI{NLRI: h})
	}
	return all
}

// join is a client that lives until the test ends.
func join(t *testing.T, self, reflector netip.Addr, port int) *client {
	c, err := dialReflector(self, reflector, port)
	if err != nil {
		t.Error(err)
		return &client{self: self}
	}
	ended := make(chan error, 1)
	go func() { ended <- c.live(nil) }()
	t.Cleanup(func() {
		_ = c.conn.Close()
		<-ended
	})
	return c
}
