package topology_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestOptionsOfL2NetworksAgree(t *testing.T) {
	router := netip.MustParseAddr("10.5.0.1")
	for _, c := range []struct {
		name   string
		given  map[string]string
		want   topology.Options
		refuse string
	}{
		{"a parent and a router", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1.100", "rolling.gateway": "10.5.0.1"}, topology.Options{Parent: "eth1.100", Router: router}, ""},
		{"macvlan", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1", "rolling.attach": "macvlan"}, topology.Options{Parent: "eth1", Attach: topology.Macvlan}, ""},
		{"macvlan for a project", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1", "rolling.attach": "macvlan", "rolling.project": "orders"}, topology.Options{}, "projects cannot be kept apart there"},
		{"macvlan for a project that is open", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1", "rolling.attach": "macvlan", "rolling.project": "orders", "rolling.isolation": "open"},
			topology.Options{Parent: "eth1", Attach: topology.Macvlan, Project: "orders", Open: true}, ""},
		{"an interface with a dot that is no VLAN", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1.dmz"}, topology.Options{Parent: "eth1.dmz"}, ""},
		{"no parent", map[string]string{"rolling.mode": "l2"}, topology.Options{}, "driver_opts.rolling.parent: mode l2 needs it"},
		{"a VLAN that cannot be", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1.4095"}, topology.Options{}, `"eth1.4095" is not an interface`},
		{"a name longer than the kernel's", map[string]string{"rolling.mode": "l2", "rolling.parent": "enp0s31f6u1u2.10"}, topology.Options{}, "of 15 characters at most"},
		{"a name of a path", map[string]string{"rolling.mode": "l2", "rolling.parent": "../eth1"}, topology.Options{}, "is not an interface"},
		{"a way to attach that is none", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1", "rolling.attach": "macvlen"}, topology.Options{}, `did you mean "macvlan"?`},
		{"an announcement", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1", "rolling.announce": "aggregate"}, topology.Options{}, "no address of mode l2 is announced"},
		{"IPv6", map[string]string{"rolling.mode": "l2", "rolling.parent": "eth1", "rolling.ipv6": "fd00:10:5::/96"}, topology.Options{},
			"driver_opts.rolling.ipv6: no IPv6 address is derived on the physical network: its routers give them there"},
		{"a way to attach on a routed network", map[string]string{"rolling.attach": "bridge"}, topology.Options{}, "driver_opts.rolling.attach: belongs to mode l2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := topology.ParseOptions(c.given)
			if c.refuse == "" && (err != nil || got != c.want) {
				t.Errorf("= %+v, %v; want %+v", got, err, c.want)
			}
			if c.refuse != "" && (err == nil || !strings.Contains(err.Error(), c.refuse)) {
				t.Errorf("refused with %v; want %q", err, c.refuse)
			}
		})
	}
}

func TestTheGatewayIsTheRouterOnlyOnThePhysicalNetwork(t *testing.T) {
	pool := netip.MustParsePrefix("10.5.0.0/24")
	l2 := topology.Options{Parent: "eth1"}
	named := topology.Options{Parent: "eth1", Router: netip.MustParseAddr("10.5.0.1")}
	for _, c := range []struct {
		name    string
		options topology.Options
		gateway string
		refuse  string
	}{
		{"routed, link-local", topology.Options{}, "169.254.1.1", ""},
		{"routed, inside", topology.Options{}, "10.5.0.1", "is not link-local"},
		{"l2, inside", l2, "10.5.0.1", ""},
		{"l2, link-local: the address pool was not told", l2, "169.254.1.1", "name the router with --ipam-opt rolling.gateway"},
		{"l2, as both say", named, "10.5.0.1", ""},
		{"l2, two routers", named, "10.5.0.254", "name the same router to both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.options.CheckGateway(pool, netip.MustParseAddr(c.gateway))
			if (err == nil) != (c.refuse == "") || err != nil && !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("= %v; want %q", err, c.refuse)
			}
		})
	}
}

func TestBridgesAreKnownByTheirNamesAndAliases(t *testing.T) {
	for parent, want := range map[string]string{"eth0": "rb-eth0", "bond0.1234": "rb-bond0.1234", "enp0s31f6.100": "rb-5874ec62"} {
		s := topology.Segment{Parent: parent, Attach: topology.Bridged}
		got, ours := topology.SegmentOf(s.Alias())
		if !ours || got != s || !topology.OwnBridge(s.Bridge()) || len(s.Bridge()) > 15 {
			t.Errorf("%s: read back as %+v, %t", parent, got, ours)
		}
		if s.Bridge() != want {
			t.Errorf("bridge of %s is %s, want %s", parent, s.Bridge(), want)
		}
	}
	if _, ours := topology.SegmentOf("rolling e=a1"); ours {
		t.Error("a container's link is taken for a bridge")
	}
}

// physical is a state with one routed container, two bridged ones of one container, and a macvlan.
func physical() topology.State {
	s := topology.NewState()
	s.Apply(topology.Change{
		PutNetworks: []topology.Network{
			{ID: "r", Pool: netip.MustParsePrefix("10.210.3.0/24"), Gateway: netip.MustParseAddr("169.254.1.1")},
			{ID: "b", Pool: netip.MustParsePrefix("10.5.0.0/24"), Gateway: netip.MustParseAddr("10.5.0.1"), Options: topology.Options{Parent: "eth1"}},
			{ID: "m", Pool: netip.MustParsePrefix("10.6.0.0/24"), Gateway: netip.MustParseAddr("10.6.0.1"), Options: topology.Options{Parent: "eth2", Attach: topology.Macvlan}},
		},
		PutEndpoints: []topology.Endpoint{
			{ID: "a10000000000000", Network: "r", Address: netip.MustParseAddr("10.210.3.7"), Phase: topology.Joined, Sandbox: "/x/box1"},
			{ID: "a20000000000000", Network: "b", Address: netip.MustParseAddr("10.5.0.7"), MAC: "02:42:0a:05:00:07", Phase: topology.Joined, Sandbox: "/x/box1"},
			{ID: "a30000000000000", Network: "b", Address: netip.MustParseAddr("10.5.0.8"), MAC: "02:42:0a:05:00:08", Phase: topology.Created},
			{ID: "a40000000000000", Network: "m", Address: netip.MustParseAddr("10.6.0.7"), MAC: "02:42:0a:06:00:07", Phase: topology.Joined},
		},
	})
	return s
}

func TestThePhysicalNetworkIsNeitherRoutedNorCarriedPastTheChains(t *testing.T) {
	s := physical()
	guard := topology.NewGuard(s, topology.Membership{}, nil, topology.Uplink{})
	if f := topology.FastOf(s, topology.Learnt{}, guard, topology.Uplink{MTU: 1500}, topology.BookOf(s, topology.Marks{}, isolation.NewPolicy(permits.Document{}, nil), true)); len(f.Legs) != 1 || f.Legs[0].Address.String() != "10.210.3.7" {
		t.Errorf("the fast path has %+v", f.Legs)
	}
	if pools := s.Pools(); len(pools) != 1 || pools[0].String() != "10.210.3.0/24" {
		t.Errorf("the firewall accepts %v", pools)
	}
	if got := s.Segments(); !slices.Equal(got, []topology.Segment{{Parent: "eth1", Attach: topology.Bridged}, {Parent: "eth2", Attach: topology.Macvlan}}) {
		t.Errorf("segments are %v", got)
	}
	ports := s.Ports()
	if len(ports) != 1 || ports[0].Name != "rla2000000000" || ports[0].MAC != "02:42:0a:05:00:07" || len(ports[0].Sources) != 2 {
		t.Errorf("ports are %+v: want the one bridged link that is joined, with both addresses of its container", ports)
	}
}

func TestALinkOfAnL2NetworkIsRebuiltFromItsAlias(t *testing.T) {
	s := physical()
	var present []topology.Present
	for _, l := range s.Links() {
		got, err := topology.ParseAlias(l.Alias())
		if err != nil || got != l {
			t.Errorf("%q is read as %+v, %v; want %+v", l.Alias(), got, err, l)
		}
		present = append(present, topology.Present{Link: l})
	}
	again := topology.Adopt(present)
	if !slices.Equal(again.Segments(), s.Segments()) || len(again.Endpoints) != 3 {
		t.Errorf("rebuilt as %+v", again)
	}
}

func TestAnAddressOfThePhysicalNetworkMayLieAmongTheNodesButIsNoneOfTheirs(t *testing.T) {
	self, other := netip.MustParseAddr("10.5.0.21"), netip.MustParseAddr("10.5.0.22")
	g := topology.NewGuard(topology.NewState(), topology.Membership{Self: self, Nodes: []netip.Addr{other}}, nil,
		topology.Uplink{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.5.0.0/24")}})
	if err := g.Attaches(netip.MustParseAddr("10.5.0.77")); err != nil {
		t.Errorf("a free address is refused: %v", err)
	}
	for _, a := range []netip.Addr{self, other} {
		if err := g.Attaches(a); err == nil || !strings.Contains(err.Error(), "keep it out of the network's choice with --ipam-opt rolling.range") {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestOneParentCarriesOneKind(t *testing.T) {
	s := physical()
	w := topology.Network{ID: "x", Options: topology.Options{Parent: "eth1", Attach: topology.Macvlan}}
	if err := s.Clashes(w); err == nil || !strings.Contains(err.Error(), "is used by network b with rolling.attach=bridge") {
		t.Errorf("= %v", err)
	}
	w.Options.Attach = ""
	if err := s.Clashes(w); err != nil {
		t.Errorf("a second network on the same bridge: %v", err)
	}
}

func TestTheLengthOfAnAddressFitsTheMode(t *testing.T) {
	s := physical()
	for _, c := range []struct {
		network topology.NetworkID
		bits    int
		fits    bool
	}{{"r", 32, true}, {"r", 24, false}, {"b", 24, true}, {"b", 32, false}} {
		err := s.Networks[c.network].Fits(topology.Endpoint{Address: netip.MustParseAddr("10.5.0.7"), Bits: c.bits})
		if (err == nil) != c.fits {
			t.Errorf("/%d in network %s: %v", c.bits, c.network, err)
		}
	}
}

func TestAnAddressOfThePhysicalNetworkIsNeverRouted(t *testing.T) {
	r := topology.Route{Prefix: prefix("10.77.0.9/32"), Via: addr("10.98.0.22"), Mark: isolation.Anyone}
	guard := topology.NewGuard(topology.NewState(), topology.Membership{}, nil, topology.Uplink{})
	learnt, marks := topology.Learnt{}, topology.Marks{}
	learnt.Take([]topology.Route{r})
	if r.Near = true; guard.Installs(r) {
		t.Error("the kernel may have it")
	}
	learnt.Take([]topology.Route{r})
	if news := marks.Take([]topology.Route{r}); len(learnt) != 0 || len(news) != 1 || marks[r.Prefix.Addr()] != isolation.Anyone {
		t.Errorf("learnt %v, marks %v, news %v", learnt, marks, news)
	}
}
