package allow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/permits"
)

func TestThePolicyOfLabels(t *testing.T) {
	pool := netip.MustParsePrefix("10.210.3.0/24")
	web := func(labels map[string]string) []Service { return []Service{{Name: "orders_web", Labels: labels}} }
	for _, c := range []struct {
		name     string
		services []Service
		networks []Network
		permits  []permits.Permit
		projects string
		problems []string
	}{
		{"nothing runs", nil, nil, nil, "", nil},
		{"projects of services and of networks are known",
			web(map[string]string{"rolling.project": "orders"}), []Network{{Name: "x", Options: map[string]string{"rolling.project": "stock"}, Pools: []netip.Prefix{pool}}}, nil, "orders stock", nil},
		{"a label lets others in", web(map[string]string{"rolling.project": "orders", "rolling.allow-from": "gateway,payments:8080"}), nil,
			[]permits.Permit{{From: "gateway", To: "orders", By: "orders_web"}, {From: "payments", To: "orders", Port: 8080, By: "orders_web"}}, "orders", nil},
		{"without a project it lets nobody in", web(map[string]string{"rolling.allow-from": "gateway"}), nil, nil, "", []string{"without the label rolling.project"}},
		{"what is wrong in it opens nothing", web(map[string]string{"rolling.project": "orders", "rolling.allow-from": "gate way,payments:x,stock"}), nil,
			[]permits.Permit{{From: "stock", To: "orders", By: "orders_web"}}, "orders", []string{`"x" is not a port`}},
		{"of a physical network only what is left to containers is one", nil, []Network{
			{Name: "lan", Options: map[string]string{"rolling.mode": "l2"}, Pools: []netip.Prefix{pool}, Range: "10.5.0.6-10.5.0.11"},
			{Name: "bare", Options: map[string]string{"rolling.mode": "l2"}, Pools: []netip.Prefix{pool}},
			{Name: "odd", Options: map[string]string{"rolling.mode": "l2"}, Pools: []netip.Prefix{pool}, Range: "10.5.0.9-10.5.0.1"},
		}, nil, "", []string{`"10.5.0.9-10.5.0.1" is not FIRST-LAST`}},
		{"two names with one number", append(web(map[string]string{"rolling.project": "lsexqzd"}), Service{"b", map[string]string{"rolling.project": "ztxtxde"}}), nil, nil,
			"lsexqzd ztxtxde", []string{"same number 3093185178"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, problems := Policy(c.services, c.networks)
			want := permits.Document{Permits: c.permits, Projects: strings.Fields(c.projects), Pools: d.Pools}.Seal()
			if d.Revision != want.Revision || len(problems) != len(c.problems) {
				t.Fatalf("got %+v, %+v, want %+v", d, problems, want)
			}
			for i, p := range problems {
				if !strings.Contains(p.What, c.problems[i]) {
					t.Errorf("problem %+v, want %q", p, c.problems[i])
				}
			}
			text, err := d.Text()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := permits.Parse(text); err != nil {
				t.Errorf("no node can read it: %v", err)
			}
		})
	}
}

func TestARangeOfAPhysicalNetworkIsCoveredExactly(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"10.5.0.6-10.5.0.11", "[10.5.0.6/31 10.5.0.8/30]"},
		{"10.5.0.7-10.5.0.7", "[10.5.0.7/32]"},
		{"10.5.0.0-10.5.0.255", "[10.5.0.0/24]"},
		{"255.255.255.254-255.255.255.255", "[255.255.255.254/31]"},
		{"10.5.0.64/26", "[10.5.0.64/26]"},
		{"", "[]"},
	} {
		got, err := Network{Options: map[string]string{"rolling.mode": "l2"}, Range: c.given, Pools: []netip.Prefix{netip.MustParsePrefix("10.5.0.0/24")}}.containers()
		if fmt.Sprint(got) != c.want || err != nil {
			t.Errorf("%q is covered by %v, %v, want %s", c.given, got, err, c.want)
		}
	}
}
