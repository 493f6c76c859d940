package topology_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addrs(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range list {
		all = append(all, addr(s))
	}
	return all
}

func TestOptionsAreTakenOrRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name   string
		given  map[string]string
		want   topology.Options
		refuse []string
	}{
		{"nothing at all", nil, topology.Options{}, nil},
		{"all that is served", map[string]string{
			"rolling.project": "orders", "rolling.environment": "production", "rolling.mode": "routed",
			"rolling.mtu": "9000", "rolling.isolation": "open", "rolling.announce": "host",
		}, topology.Options{Project: "orders", Environment: "production", MTU: 9000, Open: true}, nil},
		{"Docker's own keys", map[string]string{"com.docker.network.driver.mtu": "1400", "com.docker.network.generic": "x"}, topology.Options{}, nil},
		{"what is not served yet", map[string]string{"rolling.isolation": "projct", "rolling.announce": "aggregated", "rolling.ipv6": "fd00::/64", "rolling.parent": "eth1", "rolling.gateway": "10.0.0.1"},
			topology.Options{}, []string{
				`driver_opts.rolling.announce: "aggregated" is not a way to announce (host, aggregate); did you mean "aggregate"?`, `driver_opts.rolling.gateway: belongs to mode l2: leave the key out, or set rolling.mode=l2`,
				`driver_opts.rolling.ipv6: "fd00::/64": want a /96 such as fd00:10:201::/96`, `driver_opts.rolling.isolation: "projct" is not a kind of isolation (project, open); did you mean "project"?`,
				`driver_opts.rolling.parent: belongs to mode l2`,
			}},
		{"misspelt words, all at once", map[string]string{"rolling.mod": "routed", "rolling.mode": "routd", "rolling.mtu": "big", "rolling.project": "a b"},
			topology.Options{}, []string{
				`driver_opts.rolling.mod: is not a known key; did you mean "rolling.mode"?`,
				`driver_opts.rolling.mode: "routd" is not a mode (routed, l2); did you mean "routed"?`,
				`driver_opts.rolling.mtu: "big" is not an MTU: want 576 to 65535`, `driver_opts.rolling.project: "a b" is not a name`,
			}},
		{"a key of the address pool", map[string]string{"rolling.quota": "64"}, topology.Options{}, []string{"driver_opts.rolling.quota: is an option of the address pool: give it under ipam options"}},
		{"a key of nobody", map[string]string{"mtu": "1400"}, topology.Options{}, []string{"driver_opts.mtu: is not a known key"}},
		{"an MTU too small for IPv4", map[string]string{"rolling.mtu": "575"}, topology.Options{}, []string{"575"}},
		{"an MTU with a sign", map[string]string{"rolling.mtu": "-1500"}, topology.Options{}, []string{"-1500"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := topology.ParseOptions(c.given)
			if len(c.refuse) == 0 && (err != nil || got != c.want) {
				t.Fatalf("= %+v, %v; want %+v", got, err, c.want)
			}
			if len(c.refuse) > 0 && err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.refuse {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the refusal\n%v\nlacks %q", err, want)
				}
			}
		})
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("rolling.mode", "routed")
	f.Add("rolling.mtu", "9000")
	f.Add("com.docker.network.driver.mtu", "")
	f.Fuzz(func(t *testing.T, key, value string) {
		o, err := topology.ParseOptions(map[string]string{key: value})
		if err == nil && o.MTU != 0 && (o.MTU < 576 || o.MTU > 65535) {
			t.Errorf("%q=%q gives MTU %d", key, value, o.MTU)
		}
		if err == nil && (len(o.Project) > 63 || strings.ContainsAny(o.Project+o.Environment, " /\n")) {
			t.Errorf("%q=%q gives %+v", key, value, o)
		}
	})
}

func TestRouters(t *testing.T) {
	for _, c := range []struct {
		text, want, refuse string
	}{
		{"", "", ""},
		{"10.0.0.1", "10.0.0.1:179@64512", ""},
		{" 10.0.0.1:1790@65001, 10.0.0.2@4200000001\n", "10.0.0.1:1790@65001 10.0.0.2:179@4200000001", ""},
		{"10.0.0.1,10.0.0.1:180", "", "named twice"},
		{"router1", "", `"router1" is not the IPv4 address of a router: want addr[:port][@asn]`},
		{"10.0.0.1:0", "", `"0" is not a port`},
		{"10.0.0.1:99999", "", `"99999" is not a port`},
		{"10.0.0.1@0", "", `"0" is not an AS number`},
		{"10.0.0.1@x", "", `"x" is not an AS number`},
		{"fd00::1", "", "is not"},
		{"0.0.0.0", "", "is not the IPv4 address"},
		{"224.0.0.5", "", "is not the IPv4 address"},
	} {
		got, err := topology.ParseRouters(c.text, 64512)
		if c.refuse != "" {
			if err == nil || !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("%q: %v, want %q", c.text, err, c.refuse)
			}
			continue
		}
		var words []string
		for _, r := range got {
			words = append(words, r.String())
		}
		if err != nil || strings.Join(words, " ") != c.want {
			t.Errorf("%q = %v, %v; want %q", c.text, words, err, c.want)
		}
	}
}

func FuzzRouters(f *testing.F) {
	f.Add("10.0.0.1:179@64512, 10.0.0.2")
	f.Add("::1@1")
	f.Fuzz(func(t *testing.T, text string) {
		routers, err := topology.ParseRouters(text, 64512)
		if err != nil {
			return
		}
		var words []string
		for _, r := range routers {
			words = append(words, r.String())
		}
		again, err := topology.ParseRouters(strings.Join(words, ","), 1)
		if err != nil || !slices.Equal(again, routers) {
			t.Errorf("%q gives %v, which reads as %v, %v", text, routers, again, err)
		}
	})
}

func TestPools(t *testing.T) {
	for _, c := range []struct {
		text string
		want []netip.Prefix
		ok   bool
	}{
		{"", nil, true},
		{"10.210.0.0/16, 10.211.0.0/24", []netip.Prefix{prefix("10.210.0.0/16"), prefix("10.211.0.0/24")}, true},
		{"10.210.3.0/16", nil, false},
		{"0.0.0.0/0", nil, false},
		{"10.210.0.0/16 fd00:10:210::/96", []netip.Prefix{prefix("10.210.0.0/16"), prefix("fd00:10:210::/96")}, true},
		{"fd00::1/64", nil, false},
		{"::/0", nil, false},
		{"::ffff:10.0.0.0/112", nil, false},
		{"10.210.0.0", nil, false},
	} {
		if got, err := topology.ParsePools(c.text); (err == nil) != c.ok || c.ok && !slices.Equal(got, c.want) {
			t.Errorf("%q = %v, %v", c.text, got, err)
		}
	}
}

func FuzzPools(f *testing.F) {
	f.Add("10.210.0.0/16 10.211.0.0/24")
	f.Fuzz(func(t *testing.T, text string) {
		pools, err := topology.ParsePools(text)
		for _, p := range pools {
			if err != nil || p.Addr().Is4In6() || p.Bits() == 0 || p.Masked() != p {
				t.Errorf("%q gives %v, %v", text, p, err)
			}
		}
	})
}

func TestNeighbours(t *testing.T) {
	routers := []topology.Router{{Address: addr("10.0.0.1"), Port: 179, ASN: 64512}, {Address: addr("10.0.0.2"), Port: 179, ASN: 65001}}
	for _, c := range []struct {
		name string
		m    topology.Membership
		want []string
	}{
		{"a node that knows nothing is silent", topology.Membership{}, nil},
		{"a worker peers with the managers and nobody else", topology.Membership{Self: addr("10.98.0.4"), Managers: addrs("10.98.0.1", "10.98.0.5")},
			[]string{"10.98.0.1:1790@64512 wait", "10.98.0.5:1790@64512 dial"}},
		{"a manager peers with all, dials routers, reflects to workers and to routers of its own AS",
			topology.Membership{Self: addr("10.98.0.2"), Manager: true, Managers: addrs("10.98.0.1", "10.98.0.3"), Nodes: addrs("10.98.0.1", "10.98.0.3", "10.98.0.4")},
			[]string{"10.0.0.1:179@64512 dial client router", "10.0.0.2:179@65001 dial router", "10.98.0.1:1790@64512 wait", "10.98.0.3:1790@64512 dial", "10.98.0.4:1790@64512 dial client"}},
		{"a router that is a node of the Swarm is a node", topology.Membership{Self: addr("10.98.0.1"), Manager: true, Nodes: addrs("10.0.0.1")},
			[]string{"10.0.0.1:1790@64512 wait client", "10.0.0.2:179@65001 dial router"}},
		{"nobody is a neighbour of itself", topology.Membership{Self: addr("10.98.0.1"), Manager: true, Managers: addrs("10.98.0.1"), Nodes: addrs("10.98.0.1")},
			[]string{"10.0.0.1:179@64512 dial client router", "10.0.0.2:179@65001 dial router"}},
	} {
		var got []string
		for _, n := range topology.Neighbours(c.m, routers, 64512, 1790) {
			got = append(got, n.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got, c.want)
		}
	}
}

func TestOfTwoNeighboursExactlyOneDials(t *testing.T) {
	all := map[string]topology.Membership{
		"10.98.0.1": {Self: addr("10.98.0.1"), Manager: true, Managers: addrs("10.98.0.2"), Nodes: addrs("10.98.0.2", "10.98.0.3")},
		"10.98.0.2": {Self: addr("10.98.0.2"), Manager: true, Managers: addrs("10.98.0.1"), Nodes: addrs("10.98.0.1", "10.98.0.3")},
		"10.98.0.3": {Self: addr("10.98.0.3"), Managers: addrs("10.98.0.1", "10.98.0.2")},
	}
	for self, m := range all {
		for _, n := range topology.Neighbours(m, nil, 64512, 1790) {
			back := topology.Neighbours(all[n.Address.String()], nil, 64512, 1790)
			i := slices.IndexFunc(back, func(b topology.Neighbour) bool { return b.Address == addr(self) })
			if i < 0 {
				t.Errorf("%s has %s as a neighbour, which does not know it", self, n)
				continue
			}
			if n.Passive == back[i].Passive {
				t.Errorf("%s and %s both dial, or both wait", self, n.Address)
			}
			if n.Client && back[i].Client {
				t.Errorf("%s and %s both reflect to each other", self, n.Address)
			}
		}
	}
}

func joined(id, address string) topology.Endpoint {
	return topology.Endpoint{ID: topology.EndpointID(id + strings.Repeat("0", 64-len(id))), Network: "n1", Address: addr(address), MAC: topology.MACOf(addr(address)), Phase: topology.Joined, MTU: 1500}
}

func one(endpoints ...topology.Endpoint) topology.State {
	s := topology.NewState()
	s.Apply(topology.Change{PutNetworks: []topology.Network{{ID: "n1", Pool: prefix("10.210.3.0/24"), Gateway: addr("169.254.1.1")}}, PutEndpoints: endpoints})
	return s
}

func TestAnAliasTellsTheWholeLink(t *testing.T) {
	e := joined("ab", "10.210.255.254")
	e.Network = "k3uv0xn9lzwgx5q1p7f2a8b4c"
	s := topology.NewState()
	s.Apply(topology.Change{PutNetworks: []topology.Network{{ID: e.Network, Pool: prefix("10.210.255.254/32"), Gateway: addr("169.254.253.254")}}, PutEndpoints: []topology.Endpoint{e}})
	want := s.Links()[0]
	alias := want.Alias()
	if len(alias) > 255 {
		t.Errorf("the alias has %d bytes, the kernel takes 255", len(alias))
	}
	if len(want.Name) > 15 || len(want.Peer) > 15 || !topology.OwnName(want.Name) {
		t.Errorf("names %q and %q", want.Name, want.Peer)
	}
	if got, err := topology.ParseAlias(alias); err != nil || got != want {
		t.Errorf("%q reads as %+v, %v; want %+v", alias, got, err, want)
	}
	if got, err := topology.ParseAlias(alias + " z=later"); err != nil || got != want {
		t.Errorf("with a field of a later version it reads as %+v, %v", got, err)
	}
	for _, bad := range []string{"", "eth0", "rolling ", "rolling e=ab", strings.Replace(alias, "a=10.", "a=x.", 1), strings.Replace(alias, "t=1500", "t=x", 1)} {
		if got, err := topology.ParseAlias(bad); err == nil {
			t.Errorf("%q reads as %+v", bad, got)
		}
	}
}

func FuzzAlias(f *testing.F) {
	f.Add(one(joined("ab", "10.210.3.7")).Links()[0].Alias())
	f.Add("rolling e=")
	f.Fuzz(func(t *testing.T, alias string) {
		l, err := topology.ParseAlias(alias)
		if err != nil {
			return
		}
		if again, err := topology.ParseAlias(l.Alias()); err != nil || again != l {
			t.Errorf("%q reads as %+v, and back as %+v, %v", alias, l, again, err)
		}
	})
}

func TestObserve(t *testing.T) {
	now := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	e := joined("ab", "10.210.3.7")
	lost, home := e, e
	lost.Phase, lost.LostAt = topology.Lost, now
	home.HomeAt = now
	forgotten := lost
	forgotten.LostAt = now.Add(time.Minute)
	created := e
	created.Phase = topology.Created
	here := []topology.Present{{Link: one(e).Links()[0]}}
	atHome := []topology.Present{{Link: one(e).Links()[0], PeerHome: true}}
	for _, c := range []struct {
		name    string
		before  topology.Endpoint
		present []topology.Present
		after   time.Duration
		want    topology.Change
	}{
		{"one whose link is there stays", e, here, time.Hour, topology.Change{}},
		{"one whose link has gone is lost", e, nil, 0, topology.Change{PutEndpoints: []topology.Endpoint{lost}}},
		{"a lost one has its grace", lost, nil, 9 * time.Second, topology.Change{}},
		{"and is then dropped", lost, nil, 10 * time.Second, topology.Change{DropEndpoints: []topology.EndpointID{e.ID}}},
		{"one whose link no container has yet is noted", e, atHome, 0, topology.Change{PutEndpoints: []topology.Endpoint{home}}},
		{"the engine has its time to move it", home, atHome, 59 * time.Second, topology.Change{}},
		{"and has moved it", home, here, time.Second, topology.Change{PutEndpoints: []topology.Endpoint{e}}},
		{"or never will", home, atHome, time.Minute, topology.Change{PutEndpoints: []topology.Endpoint{forgotten}}},
		{"one that never joined needs no link", created, nil, time.Hour, topology.Change{}},
	} {
		got := one(c.before).Observe(c.present, now.Add(c.after), topology.Graces{Lost: 10 * time.Second, Home: time.Minute})
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	if s := one(lost); len(s.Links()) != 0 || len(s.Addresses()) != 0 {
		t.Error("a lost endpoint has a link or is announced")
	}
}

func TestAdoptTakesWhatContainersHold(t *testing.T) {
	held, home := one(joined("ab", "10.210.3.7")), one(joined("cd", "10.210.3.8"))
	got := topology.Adopt([]topology.Present{
		{Link: held.Links()[0]}, {Link: home.Links()[0], PeerHome: true}, {Link: topology.Link{Name: "rlxyz"}},
	})
	if !reflect.DeepEqual(got, held) {
		t.Errorf("adopted %+v, want %+v", got, held)
	}
}

func TestMACOf(t *testing.T) {
	if got := topology.MACOf(addr("10.210.3.7")); got != "02:42:0a:d2:03:07" {
		t.Error(got)
	}
}
