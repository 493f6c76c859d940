package fabric_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestRouters(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		refuse           []string
	}{
		{"nothing", "", "", nil},
		{"an address alone is dialled by managers, and told all", "10.0.0.1", "10.0.0.1:179@64512+from=managers+routes=all", nil},
		{"everything", "10.0.0.1:1790@65001+bfd+from=nodes+password=tor1+community=65001:100+community=64512:7:9+gtsm+hold=3s+keep=1h0m0s",
			"10.0.0.1:1790@65001+from=nodes+routes=own+bfd+password=tor1+community=65001:100+community=64512:7:9+gtsm=1+hold=3s+keep=1h0m0s", nil},
		{"two, by a label and by addresses", "10.0.0.1+from=rack=r1, 10.0.0.2@65001+from=10.98.0.21+from=10.98.0.22+routes=own+hops=4",
			"10.0.0.1:179@64512+from=rack=r1+routes=all 10.0.0.2:179@65001+from=10.98.0.21+from=10.98.0.22+routes=own+hops=4", nil},
		{"all problems at once", "here 10.0.0.1+bdf+community=1:70000+community=x+from=rack+hold=1s 10.0.0.2+bfd=1+password=../x+hops=0+gtsm=255+routes=some+restart=no 10.0.0.3@65001+hops=3+gtsm+bfd 10.0.0.4+hops=2 10.0.0.6+keep=1h+restart=off 10.0.0.7+keep=x 10.0.0.5 10.0.0.5+bfd+bfd", "",
			[]string{`router "here"`, "bdf: is not an option (bfd, from", `"70000" is no number of 16 bits`, "community=x: want two numbers", "from=rack: want managers, nodes",
				"hold=1s: want whole seconds", "bfd=1: takes no value", "password=../x: want the name of a file", "hops=0: want 1 to 254", "gtsm=255", "routes=some: want all or own",
				"restart=no: want on or off", "hops and gtsm", "bfd is for a router on the nodes' own network", "hops is for a router of another AS", "bfd: is given twice", "keep needs graceful restart", "keep=x: want whole seconds"}},
		{"one twice", "10.0.0.5 10.0.0.5+bfd", "", []string{"10.0.0.5 is named twice"}},
		{"an option without a router", "+bfd", "", []string{"want addr"}},
	} {
		got, err := fabric.ParseRouters(c.text, 64512)
		for _, want := range c.refuse {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nlacks %q", c.name, err, want)
			}
		}
		if text := list(got); len(c.refuse) == 0 && (err != nil || text != c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, text, err, c.want)
		}
	}
}

func list(routers []fabric.Router) string {
	var words []string
	for _, r := range routers {
		words = append(words, r.String())
	}
	return strings.Join(words, " ")
}

func FuzzRouters(f *testing.F) {
	f.Add("10.0.0.1:179@64512+bfd+from=rack=r1, 10.0.0.2+community=1:2:3+password=x")
	f.Add("10.0.0.1+gtsm=2+hold=3s+restart=off+routes=own")
	f.Fuzz(func(t *testing.T, text string) {
		routers, err := fabric.ParseRouters(text, 64512)
		if err != nil {
			return
		}
		again, err := fabric.ParseRouters(list(routers), 64512)
		if err != nil || list(again) != list(routers) {
			t.Errorf("%q gives %q, which reads as %q, %v", text, list(routers), list(again), err)
		}
	})
}

func TestWhoDialsARouter(t *testing.T) {
	a := netip.MustParseAddr
	worker := topology.Membership{Self: a("10.98.0.24"), Managers: []netip.Addr{a("10.98.0.21")}, Labels: []string{"rack=r1"}}
	manager := topology.Membership{Self: a("10.98.0.21"), Manager: true, Nodes: []netip.Addr{a("10.98.0.24")}}
	for _, c := range []struct {
		name, routers string
		who           topology.Membership
		want          []string
	}{
		{"managers, who reflect to a router of our AS", "10.0.0.1 10.0.0.2@65001", manager, []string{"10.0.0.1:179@64512 dial client router", "10.0.0.2:179@65001 dial router", "10.98.0.24:1790@64512 dial client"}},
		{"not a worker", "10.0.0.1", worker, []string{"10.98.0.21:1790@64512 wait"}},
		{"every node, with its own routes", "10.0.0.1+from=nodes", worker, []string{"10.0.0.1:179@64512 dial router", "10.98.0.21:1790@64512 wait"}},
		{"nodes with a label", "10.0.0.1+from=rack=r1 10.0.0.2+from=rack=r2", worker, []string{"10.0.0.1:179@64512 dial client router", "10.98.0.21:1790@64512 wait"}},
		{"a node by its address", "10.0.0.1+from=10.98.0.24 10.0.0.2+from=10.98.0.25", worker, []string{"10.0.0.1:179@64512 dial client router", "10.98.0.21:1790@64512 wait"}},
		{"a router that is a node of the Swarm is a node", "10.98.0.24", manager, []string{"10.98.0.24:1790@64512 dial client"}},
		{"nobody, before the node knows itself", "10.0.0.1+from=nodes", topology.Membership{}, nil},
	} {
		routers, err := fabric.ParseRouters(c.routers, 64512)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		all := fabric.Neighbours(c.who, routers, 64512, 1790)
		for _, n := range all {
			got = append(got, n.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got, c.want)
		}
		if slices.ContainsFunc(fabric.Nodes(all), func(n netip.Addr) bool { return strings.HasPrefix(n.String(), "10.0.") }) {
			t.Errorf("%s: a router is asked as if it were a node", c.name)
		}
	}
	routers, err := fabric.ParseRouters("10.0.0.1+bfd 10.0.0.2 10.0.0.3+bfd+from=nodes", 64512)
	if err != nil {
		t.Fatal(err)
	}
	if got := fabric.WithBFD(worker, routers); len(got) != 1 || got[0] != a("10.0.0.3") {
		t.Errorf("a worker speaks BFD with %v", got)
	}
	if got := fabric.WithBFD(manager, routers); len(got) != 2 {
		t.Errorf("a manager speaks BFD with %v", got)
	}
}

func TestMarks(t *testing.T) {
	a := netip.MustParseAddr("10.210.3.7")
	marks := []fabric.Community{fabric.Shutdown(), {A: 64512, B: 2, C: 16, Large: true}, fabric.Aggregated(64512, 16)}
	if p, ok := fabric.PoolOf(64512, a, marks); !ok || p != netip.MustParsePrefix("10.210.0.0/16") {
		t.Errorf("the pool is %v, %v", p, ok)
	}
	for _, none := range [][]fabric.Community{nil, marks[:2], {fabric.Aggregated(65001, 16)}, {fabric.Aggregated(64512, 0)}, {fabric.Aggregated(64512, 32)}, {fabric.Aggregated(64512, 33)}} {
		if p, ok := fabric.PoolOf(64512, a, none); ok {
			t.Errorf("%v has the pool %v", none, p)
		}
	}
	if got := fabric.Shutdown(); got.Number() != 0xffff0000 || got.String() != "65535:0" {
		t.Errorf("shutdown is %v", got)
	}
}
