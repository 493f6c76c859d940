package topology_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// fastText is what the fast path should know, a line each.
func fastText(f topology.Fast) string {
	var lines []string
	for _, l := range f.Legs {
		lines = append(lines, fmt.Sprintf("%s %s %s mtu %d group %d from %v", l.Name, l.Address, l.MAC, l.MTU, l.Group, l.Sources))
	}
	for _, a := range slices.SortedFunc(maps.Keys(f.Far), netip.Addr.Compare) {
		lines = append(lines, fmt.Sprintf("far %s group %d", a, f.Far[a]))
	}
	if len(f.Uplinks) > 0 {
		lines = append(lines, "up "+strings.Join(f.Uplinks, " "))
	}
	return strings.Join(lines, "\n")
}

func TestTheFastPathKnowsOnlyWhatIsPermitted(t *testing.T) {
	id := func(c string) topology.EndpointID { return topology.EndpointID(strings.Repeat(c, 64)) }
	leg := func(c, network, address, sandbox string, phase topology.Phase) topology.Endpoint {
		a := addr(address)
		return topology.Endpoint{ID: id(c), Network: topology.NetworkID(network), Address: a, MAC: topology.MACOf(a), Phase: phase, MTU: 1500, Sandbox: sandbox}
	}
	up := topology.Uplink{MTU: 1500, Names: []string{"eth0", "eth1"}, Prefixes: []netip.Prefix{prefix("10.98.0.0/24")}, Host: addrs("10.98.0.21")}
	members := topology.Membership{Self: addr("10.98.0.21"), Nodes: addrs("10.98.0.22", "10.210.3.99")}
	for _, c := range []struct {
		name      string
		endpoints []topology.Endpoint
		learnt    topology.Learnt
		want      string
	}{
		{"a node without containers has nothing at all", nil, topology.Learnt{prefix("10.210.3.9/32"): addr("10.98.0.22")}, ""},
		{"an endpoint that has not joined is not on it", []topology.Endpoint{leg("a", "n1", "10.210.3.7", "", topology.Created), leg("b", "n1", "10.210.3.8", "", topology.Lost)}, nil, ""},
		{"a container here, and one of another node", []topology.Endpoint{leg("a", "n1", "10.210.3.7", "/run/x/s1", topology.Joined)},
			topology.Learnt{prefix("10.210.3.9/32"): addr("10.98.0.22")},
			"rlaaaaaaaaaaa 10.210.3.7 02:42:0a:d2:03:07 mtu 1500 group 1 from [10.210.3.7]\nfar 10.210.3.9 group 1\nup eth0 eth1"},
		{"a container of two networks sends from both addresses by either", []topology.Endpoint{
			leg("a", "n1", "10.210.3.7", "/run/x/a-sandbox-with-a-long-name-of-40-letters", topology.Joined), leg("b", "n2", "10.210.4.7", "/run/x/a-sandbox-with-a-long-name-of-40-letters", topology.Joined), leg("c", "n1", "10.210.3.8", "/run/x/s2", topology.Joined)}, nil,
			"rlaaaaaaaaaaa 10.210.3.7 02:42:0a:d2:03:07 mtu 1500 group 1 from [10.210.3.7 10.210.4.7]\n" +
				"rlbbbbbbbbbbb 10.210.4.7 02:42:0a:d2:04:07 mtu 1500 group 1 from [10.210.3.7 10.210.4.7]\n" +
				"rlccccccccccc 10.210.3.8 02:42:0a:d2:03:08 mtu 1500 group 1 from [10.210.3.8]\nup eth0 eth1"},
		{"containers whose sandboxes are unknown do not share", []topology.Endpoint{leg("a", "n1", "10.210.3.7", "", topology.Joined), leg("b", "n1", "10.210.3.8", "", topology.Joined)}, nil,
			"rlaaaaaaaaaaa 10.210.3.7 02:42:0a:d2:03:07 mtu 1500 group 1 from [10.210.3.7]\nrlbbbbbbbbbbb 10.210.3.8 02:42:0a:d2:03:08 mtu 1500 group 1 from [10.210.3.8]\nup eth0 eth1"},
		{"what a node has, is in its network, is announced for this node's own container, or is a prefix, is not on it", []topology.Endpoint{
			leg("a", "n1", "10.210.3.7", "", topology.Joined), leg("b", "n1", "10.210.3.99", "", topology.Joined)},
			topology.Learnt{prefix("10.210.3.7/32"): addr("10.98.0.22"), prefix("10.98.0.50/32"): addr("10.98.0.22"), prefix("10.210.4.0/24"): addr("10.98.0.22")},
			"rlaaaaaaaaaaa 10.210.3.7 02:42:0a:d2:03:07 mtu 1500 group 1 from [10.210.3.7]\nup eth0 eth1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := topology.NewState()
			for _, n := range []topology.NetworkID{"n1", "n2"} {
				s.Networks[n] = topology.Network{ID: n, Pool: prefix("10.210.0.0/16"), Gateway: addr("169.254.1.1")}
			}
			for _, e := range c.endpoints {
				s.Endpoints[e.ID] = e
			}
			marks := topology.Marks{}
			for p := range c.learnt {
				marks[p.Addr()] = isolation.Anyone
			}
			f := topology.FastOf(s, c.learnt, topology.NewGuard(s, members, nil, up), up, topology.BookOf(s, marks, isolation.NewPolicy(permits.Document{}, nil), true))
			if got := fastText(f); got != c.want {
				t.Errorf("it knows\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAChangedRouteIsJudgedAsTheWholeIs(t *testing.T) {
	s := topology.NewState()
	g := topology.NewGuard(s, topology.Membership{Self: addr("10.98.0.21")}, nil, topology.Uplink{Prefixes: []netip.Prefix{prefix("10.98.0.0/24")}})
	for _, c := range []struct {
		route topology.Route
		want  topology.Group
	}{
		{topology.Route{Prefix: prefix("10.210.3.9/32"), Via: addr("10.98.0.22"), Mark: isolation.Anyone}, topology.Everyone},
		{topology.Route{Prefix: prefix("10.210.3.9/32"), Via: addr("10.98.0.22")}, 0},
		{topology.Route{Prefix: prefix("10.210.3.9/32"), Via: addr("10.98.0.22"), Mark: 4711}, 0},
		{topology.Route{Prefix: prefix("10.210.3.9/32")}, 0},
		{topology.Route{Prefix: prefix("10.98.0.30/32"), Via: addr("10.98.0.22")}, 0},
	} {
		if got := topology.FarGroup(c.route, g, topology.BookOf(s, nil, isolation.NewPolicy(permits.Document{}, nil), true)); got != c.want {
			t.Errorf("%v is of group %d, want %d", c.route, got, c.want)
		}
	}
}

func TestLargerPacketsThanTheUplinksAreNamed(t *testing.T) {
	s := topology.NewState()
	s.Networks["n1"] = topology.Network{ID: "n1", Pool: prefix("10.210.3.0/24"), Gateway: addr("169.254.1.1")}
	for i, mtu := range []int{1400, 1500, 9000} {
		e := topology.Endpoint{ID: topology.EndpointID(strings.Repeat(fmt.Sprint(i), 64)), Network: "n1", Address: addr(fmt.Sprintf("10.210.3.%d", i+7)), Phase: topology.Joined, MTU: mtu}
		s.Endpoints[e.ID] = e
	}
	if got := fmt.Sprint(s.StrangeMTU(topology.Uplink{MTU: 1450})); got != "[10.210.3.8 10.210.3.9]" {
		t.Errorf("named are %s", got)
	}
	if got := s.StrangeMTU(topology.Uplink{}); got != nil {
		t.Errorf("without a known uplink %v are named", got)
	}
}

func TestTheSandboxComesBackFromTheKernel(t *testing.T) {
	s := topology.NewState()
	s.Networks["n1"] = topology.Network{ID: "n1", Pool: prefix("10.210.3.0/24"), Gateway: addr("169.254.1.1")}
	e := topology.Endpoint{ID: topology.EndpointID(strings.Repeat("a", 64)), Network: "n1", Address: addr("10.210.3.7"), MAC: "02:42:0a:d2:03:07", Phase: topology.Joined, MTU: 1500, Sandbox: "/var/run/docker/netns/0a1b2c3d4e5f"}
	far := e
	far.Sandbox = "/var/run/docker/netns/" + strings.Repeat("x", 60)
	if l := s.LinkOf(far); len(l.Alias()) > 255 || l.Box != "" {
		t.Errorf("a long sandbox is put into the alias %q", l.Alias())
	}
	l := s.LinkOf(e)
	if len(l.Alias()) > 255 {
		t.Errorf("the alias has %d bytes, the kernel takes 255", len(l.Alias()))
	}
	back, err := topology.ParseAlias(l.Alias())
	if err != nil || back != l {
		t.Errorf("%q gives %+v, %v; want %+v", l.Alias(), back, err, l)
	}
	if got := topology.Adopt([]topology.Present{{Link: back}}).Endpoints[e.ID].Sandbox; got != "0a1b2c3d4e5f" {
		t.Errorf("the sandbox is %q", got)
	}
}
