//go:build lab

package fastpath

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// TestALargeSite: ten thousand addresses of other nodes and a hundred containers here.
func TestALargeSite(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one := newHost(t, lan.NewLAN(t), "n1", "10.98.0.21", w)
		for i := range 100 {
			l := kerneltest.Link(fmt.Sprintf("%02x", i), fmt.Sprintf("10.210.4.%d", i))
			if err := one.wires.Plug(l); err != nil {
				t.Fatal(err)
			}
			one.want.Legs = append(one.want.Legs, topology.Leg{Name: l.Name, Address: l.Address, MAC: l.MAC, MTU: 1500, Group: topology.Everyone, Sources: []netip.Addr{l.Address}})
		}
		for i := range 10_000 {
			one.want.Far[netip.AddrFrom4([4]byte{10, 211, byte(i >> 8), byte(i)})] = topology.Everyone
		}
		if w == NFT { // it takes those that the kernel has a route to
			one.space.Do(func() error { return routes(one.want.Far) })
		}
		begun := time.Now()
		one.set()
		first := time.Since(begun)
		if r := one.path.Report(); r.Entries != 10_100 || r.Devices != 101 {
			t.Errorf("it knows %d addresses on %d interfaces", r.Entries, r.Devices)
		}
		begun = time.Now()
		one.set()
		again := time.Since(begun)
		begun = time.Now()
		if err := one.path.Learn(map[netip.Addr]topology.Group{netip.MustParseAddr("10.211.0.9"): 0}); err != nil {
			t.Fatal(err)
		}
		t.Logf("the first Set took %v, the second %v, one route's change %v", first, again, time.Since(begun))
		if r := one.path.Report(); r.Entries != 10_099 {
			t.Errorf("it knows %d addresses after one went", r.Entries)
		}
	})
}

func routes(far map[netip.Addr]topology.Group) error {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer nl.Close()
	for a := range far {
		r := &netlink.Route{Dst: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)}, Gw: net.IPv4(10, 98, 0, 22), Protocol: contract.RouteProtocol}
		if err := nl.RouteReplace(r); err != nil {
			return err
		}
	}
	return nil
}
