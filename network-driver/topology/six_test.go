package topology_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestThePrefixOfIPv6(t *testing.T) {
	for _, c := range []struct {
		name, value string
		taken       bool
	}{
		{"a site's own", "fd00:10:201::/96", true},
		{"a public one", "2001:db8:1:2:3:4::/96", true},
		{"too long", "fd00::/104", false},
		{"too short", "fd00::/64", false},
		{"bits behind its length", "fd00::1/96", false},
		{"IPv4", "10.0.0.0/8", false},
		{"IPv4 in IPv6's clothes", "::ffff:0:0/96", false},
		{"link-local", "fe80::/96", false},
		{"multicast", "ff02::/96", false},
		{"of IPv4-compatible addresses", "::/96", false},
		{"no prefix", "fd00::", false},
	} {
		o, err := topology.ParseOptions(map[string]string{"rolling.ipv6": c.value})
		if (err == nil) != c.taken || c.taken && o.IPv6.String() != c.value {
			t.Errorf("%s: %q gives %v, %v", c.name, c.value, o.IPv6, err)
		}
	}
}

// six is a node with one container in a network with IPv6, and one in a network without.
func six(t *testing.T) topology.State {
	t.Helper()
	s := topology.NewState()
	with := topology.Network{ID: "n6", Pool: prefix("10.210.3.0/24"), Gateway: netip.MustParseAddr("169.254.1.1"), Options: topology.Options{IPv6: prefix("fd00:10:210::/96")}}
	without := topology.Network{ID: "n4", Pool: prefix("10.211.0.0/16"), Gateway: netip.MustParseAddr("169.254.1.2")}
	a, b := netip.MustParseAddr("10.210.3.7"), netip.MustParseAddr("10.211.0.9")
	s.Apply(topology.Change{PutNetworks: []topology.Network{with, without}, PutEndpoints: []topology.Endpoint{
		{ID: topology.EndpointID("a1" + strings.Repeat("0", 62)), Network: "n6", Address: a, Address6: with.Options.Six(a), MAC: topology.MACOf(a), MTU: 1500, Phase: topology.Joined, Sandbox: "/run/docker/netns/one"},
		{ID: topology.EndpointID("b2" + strings.Repeat("0", 62)), Network: "n4", Address: b, MAC: topology.MACOf(b), MTU: 1500, Phase: topology.Joined, Sandbox: "/run/docker/netns/one"},
	}})
	return s
}

func TestIPv6IsDerived(t *testing.T) {
	s := six(t)
	l := s.Links()[0]
	if got := fmt.Sprint(l.Address6, l.Gateway6, s.Networks["n6"].SixPool(), s.Networks["n4"].SixPool()); got != "fd00:10:210::ad2:307 fe80::a9fe:101 fd00:10:210::ad2:300/120 invalid Prefix" {
		t.Errorf("derived: %s", got)
	}
	g := topology.NewGuard(s, topology.Membership{}, nil, topology.Uplink{})
	// The second link has no address of IPv6; its container may answer from the first one's.
	want := "{true [fd00:10:210::ad2:300/120] [{rla1000000000 02:42:0a:d2:03:07 [fd00:10:210::ad2:307]} {rlb2000000000 02:42:0a:d3:00:09 [fd00:10:210::ad2:307]}]}"
	if got := fmt.Sprint(topology.SixOf(s, g, nil)); got != want {
		t.Errorf("the kernel needs %s\nwant %s", got, want)
	}
	border := []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00:10:210::a00:0/104")}
	if got := topology.SixOf(topology.NewState(), g, border); !got.Wanted || fmt.Sprint(got.Pools) != "[fd00:10:210::a00:0/104]" {
		t.Errorf("a border needs %+v", got)
	}
}

func TestALinkWithIPv6IsKnownByItsAlias(t *testing.T) {
	l := six(t).Links()[0]
	got, err := topology.ParseAlias(l.Alias())
	if err != nil || got != l {
		t.Errorf("%q reads as %+v, %v; want %+v", l.Alias(), got, err, l)
	}
	back := topology.Adopt([]topology.Present{{Link: l}})
	if e := back.Endpoints[l.Endpoint]; e.Address6 != l.Address6 || back.Networks["n6"].Options.IPv6 != prefix("fd00:10:210::/96") {
		t.Errorf("taken over as %+v, %+v", e, back.Networks["n6"])
	}
	l.Pool, l.Gateway, l.Address, l.MTU = prefix("255.255.255.255/32"), netip.MustParseAddr("169.254.254.254"), netip.MustParseAddr("255.255.255.255"), 65535
	l.Network = topology.NetworkID(strings.Repeat("n", 25))
	l.Address6, l.Box = netip.MustParseAddr("2001:db8:1111:2222:3333:4444:ffff:ffff"), "123456789012"
	if n := len(l.Alias()); n > 255 {
		t.Errorf("the longest alias has %d bytes, and the kernel takes 255: %s", n, l.Alias())
	}
}

func TestWhichIPv6RoutesAreInstalled(t *testing.T) {
	u := topology.Uplink{Prefixes: []netip.Prefix{prefix("fd00:10:98::/64")}, Host: []netip.Addr{netip.MustParseAddr("fd00:99::1")}}
	g := topology.NewGuard(six(t), topology.Membership{}, nil, u)
	for _, c := range []struct {
		name, prefix, via string
		want              bool
	}{
		{"another node's container", "fd00:10:210::ad2:308/128", "fd00:10:98::2", true},
		{"by a link-local next hop", "fd00:10:210::ad2:308/128", "fe80::1%10.98.0.2", true},
		{"a container of this node", "fd00:10:210::ad2:307/128", "fd00:10:98::2", false},
		{"a whole prefix", "fd00:10:210::/120", "fd00:10:98::2", false},
		{"a neighbour of this node", "fd00:10:98::7/128", "fd00:10:98::2", false},
		{"this node itself", "fd00:99::1/128", "fd00:10:98::2", false},
		{"a link-local address", "fe80::7/128", "fd00:10:98::2", false},
		{"by IPv4", "fd00:10:210::ad2:308/128", "10.98.0.2", false},
		{"IPv4 by IPv6", "10.210.3.8/32", "fd00:10:98::2", false},
	} {
		r := topology.Route{Prefix: prefix(c.prefix), Via: netip.MustParseAddr(c.via)}
		if got := g.Installs(r); got != c.want {
			t.Errorf("%s: %s is installed: %t, want %t", c.name, r, got, c.want)
		}
		if group := topology.FarGroup(r, g, isolation.Book{}); r.Prefix.Addr().Is6() && group != 0 {
			t.Errorf("%s: the fast path is told of it", c.name)
		}
	}
}
