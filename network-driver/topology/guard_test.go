package topology_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// guarded is a manager at 10.99.0.21 with a second interface, a node behind a router, and one container.
func guarded() topology.Guard {
	a := netip.MustParseAddr
	s := topology.NewState()
	s.Apply(topology.Change{PutEndpoints: []topology.Endpoint{{ID: "a1", Network: "n1", Address: a("10.210.3.7"), Phase: topology.Joined}}})
	return topology.NewGuard(s,
		topology.Membership{Self: a("10.99.0.21"), Manager: true, Managers: []netip.Addr{a("10.99.0.22")}, Nodes: []netip.Addr{a("10.97.0.31")}},
		[]topology.Router{{Address: a("10.96.0.1")}},
		topology.Uplink{MTU: 1500, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.99.0.0/24")}, Host: []netip.Addr{a("10.99.0.21"), a("192.168.7.1")}})
}

// refused checks that an error is there, or not, with its words.
func refused(t *testing.T, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestPoolsAreKeptOutOfTheNodesOwnNetwork(t *testing.T) {
	for _, c := range []struct{ name, pool, want string }{
		{"a pool of its own", "10.210.3.0/24", ""},
		{"one beside the nodes' network", "10.99.1.0/24", ""},
		{"the nodes' network", "10.99.0.0/24", "overlaps 10.99.0.0/24, which this node's uplink is connected to"},
		{"a part of it", "10.99.0.128/25", "overlaps 10.99.0.0/24"},
		{"one around it", "10.98.0.0/15", "overlaps 10.99.0.0/24"},
		{"one with a node behind a router", "10.97.0.0/24", "holds 10.97.0.31, which is another node's"},
		{"one with a router", "10.96.0.0/24", "holds 10.96.0.1, which is a router's"},
		{"one with an address of this node", "192.168.7.0/24", "holds 192.168.7.1, which is this node's own"},
	} {
		t.Run(c.name, func(t *testing.T) { refused(t, guarded().Allows(netip.MustParsePrefix(c.pool)), c.want) })
	}
}

func TestAddressesOfNoContainerAreNeitherWiredNorLearnt(t *testing.T) {
	via := netip.MustParseAddr("10.99.0.222")
	for _, c := range []struct {
		name, address, wires string
		holds                bool
	}{
		{"an address of a pool", "10.210.3.9", "", false},
		{"this node", "10.99.0.21", "is this node's own", true},
		{"another address of this node", "192.168.7.1", "is this node's own", true},
		{"another manager", "10.99.0.22", "is another node's", true},
		{"a node behind a router", "10.97.0.31", "is another node's", true},
		{"a router", "10.96.0.1", "is a router's", true},
		{"somebody in the nodes' network", "10.99.0.1", "lies in 10.99.0.0/24, which this node's uplink is connected to", false},
		{"loopback", "127.0.0.1", "lies in 127.0.0.0/8 (loopback)", false},
		{"link-local", "169.254.1.1", "lies in 169.254.0.0/16 (link-local)", false},
		{"a group", "224.0.0.5", "lies in 224.0.0.0/3 (multicast and above)", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, a := guarded(), netip.MustParseAddr(c.address)
			refused(t, g.Wires(a), c.wires)
			if got := g.Holds(a); (got != nil) != c.holds {
				t.Errorf("held: %v, want %t", got, c.holds)
			}
			if got := g.Installs(topology.Route{Prefix: netip.PrefixFrom(a, 32), Via: via}); got != (c.wires == "") {
				t.Errorf("a route to it is installed: %t", got)
			}
		})
	}
	if guarded().Installs(topology.Route{Prefix: netip.MustParsePrefix("10.210.3.7/32"), Via: via}) {
		t.Error("a route to this node's own container is installed")
	}
}
