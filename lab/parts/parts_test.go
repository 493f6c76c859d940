package parts

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func site() Site {
	return Site{Folder: "/parts/x", Router: netip.MustParseAddr("10.99.0.1"),
		Managers: []netip.Addr{netip.MustParseAddr("10.99.0.21"), netip.MustParseAddr("10.99.0.22")}}
}

func TestBirdConfig(t *testing.T) {
	const want = `log stderr all;
router id 10.99.0.1;
protocol device { }
protocol direct { ipv4; ipv6; interface "lan"; }
protocol bfd { interface "lan" { min rx interval 100 ms; min tx interval 100 ms; multiplier 5; }; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths on; }
template bgp manager {
  local 10.99.0.1 port 179 as 64512;
  hold time 9; keepalive time 3; connect retry time 1; connect delay time 1; error wait time 1, 5;
  graceful restart on; graceful restart time 30;
  passive on; direct; bfd on;
  ipv4 { import where net ~ [ 10.200.0.0/13+, 0.0.0.0/0{32,32} ]; export none; next hop keep; };
  ipv6 { import where net ~ [ ::/0{104,128} ]; export none; next hop keep; };
}
protocol bgp n1 from manager { neighbor 10.99.0.21 port 1790 as 64512; }
protocol bgp n2 from manager { neighbor 10.99.0.22 port 1790 as 64512; }
`
	if got := birdConfig(site()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRegistryConfig(t *testing.T) {
	const want = `version: 0.1
log: {level: warn}
storage:
  filesystem: {rootdirectory: /parts/x/data}
  delete: {enabled: true}
http:
  addr: 10.99.0.1:5000
`
	if got := registryConfig(site()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range All() {
		if seen[p.Name] || p.Name == "" || p.Does == "" || p.Prepare == nil || p.Ready == nil || p.Within <= 0 {
			t.Errorf("part %q is named twice or not whole", p.Name)
		}
		seen[p.Name] = true
		if got, err := Named(p.Name); err != nil || got.Name != p.Name {
			t.Errorf("%s: got %q, %v", p.Name, got.Name, err)
		}
	}
	if _, err := Named("nosuch"); err == nil || !strings.Contains(err.Error(), "registry") {
		t.Errorf("the error names no part that there is: %v", err)
	}
}

func TestReadRoutes(t *testing.T) {
	hops := func(text ...string) (found []netip.Addr) {
		for _, h := range text {
			found = append(found, netip.MustParseAddr(h))
		}
		return found
	}
	for _, row := range []struct {
		name, text string
		want       map[netip.Prefix][]netip.Addr
		err        bool
	}{
		{name: "a table without routes is empty", text: "BIRD 2.0.12 ready.\n", want: map[netip.Prefix][]netip.Addr{}},
		{name: "the same route from two managers has its next hop once", text: `BIRD 2.0.12 ready.
Table master4:
10.201.3.0/32        unicast [n1 06:12:00.001 from 10.99.0.21] * (100) [i]
	via 10.99.0.22 on lan
                     unicast [n2 06:12:00.001 from 10.99.0.22] (100) [i]
	via 10.99.0.22 on lan
10.201.3.1/32        unicast [n1 06:12:00.001 from 10.99.0.21] * (100) [i]
	via 10.99.0.23 on lan
`, want: map[netip.Prefix][]netip.Addr{
			netip.MustParsePrefix("10.201.3.0/32"): hops("10.99.0.22"),
			netip.MustParsePrefix("10.201.3.1/32"): hops("10.99.0.23"),
		}},
		{name: "an address that several nodes announce has all of them, sorted", text: `Table master4:
10.201.9.9/32        unicast [n1 06:12:00.001 from 10.99.0.21] * (100) [i]
	via 10.99.0.23 on lan weight 1
	via 10.99.0.21 on lan weight 1
                     unicast [n2 06:12:00.001 from 10.99.0.22] (100) [i]
	via 10.99.0.22 on lan
`, want: map[netip.Prefix][]netip.Addr{netip.MustParsePrefix("10.201.9.9/32"): hops("10.99.0.21", "10.99.0.22", "10.99.0.23")}},
		{name: "a route that leads nowhere is none", text: `Table master4:
10.201.3.0/32        unreachable [n1 06:12:00.001 from 10.99.0.21] * (100/-) [i]
`, want: map[netip.Prefix][]netip.Addr{}},
		{name: "a next hop without a prefix is refused", text: "\tvia 10.99.0.22 on lan\n", err: true},
		{name: "a next hop that is no address is refused", text: "10.0.0.1/32 unicast\n\tvia lan\n", err: true},
		{name: "a prefix that is none is refused", text: "10.0.0.1/33 unicast\n", err: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ReadRoutes(row.text)
			if (err != nil) != row.err || !row.err && !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %v, %v; want %v, error %t", got, err, row.want, row.err)
			}
		})
	}
}

func FuzzReadRoutes(f *testing.F) {
	f.Add("Table master4:\n10.201.3.0/32        unicast [n1 06:12:00.001 from 10.99.0.21] * (100) [i]\n\tvia 10.99.0.22 on lan\n")
	f.Add("\tvia\n/ x\n")
	f.Fuzz(func(t *testing.T, text string) {
		routes, err := ReadRoutes(text)
		if err != nil && routes != nil {
			t.Error("routes and an error")
		}
		for prefix, hops := range routes {
			if !prefix.IsValid() || len(hops) == 0 {
				t.Errorf("%v has next hops %v", prefix, hops)
			}
		}
	})
}
