package network

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/allotment"
)

var (
	plan = allotment.Plan{Pools: []allotment.Pool{{Name: "prod", Prefix: netip.MustParsePrefix("10.210.0.0/16"), Block: 28, Quota: 4096}, {Name: "lab", Prefix: netip.MustParsePrefix("10.99.0.0/24")}}}
	some = []Taken{
		{"orders-test_app", netip.MustParsePrefix("10.211.3.0/24"), true}, {"ingress", netip.MustParsePrefix("10.0.0.0/24"), false}, {"host", netip.Prefix{}, false},
	}
)

func TestAWishBecomesWhatSwarmIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		name, want string
		wish       Wish
	}{
		{
			"of a named pool, with what the pool gives",
			"wide 10.210.0.0/16 net map[rolling.environment:production rolling.project:orders] ipam map[rolling.block:28 rolling.environment:production rolling.pool:prod rolling.project:orders rolling.quota:4096]",
			Wish{Name: "wide", Pool: "prod", Project: "orders", Environment: "production"},
		},
		{
			"of a named pool, with what the wish says itself", "wide 10.210.0.0/16 net map[] ipam map[rolling.block:26 rolling.pool:prod rolling.quota:64]",
			Wish{Name: "wide", Pool: "prod", Block: 26, Quota: 64},
		},
		{
			"an exact range needs no blocks", "few 10.210.0.0/16 net map[] ipam map[rolling.pool:prod rolling.quota:4096 rolling.range:10.210.9.0-10.210.9.3]",
			Wish{Name: "few", Pool: "prod", Range: "10.210.9.0-10.210.9.3"},
		},
		{
			"of a subnet that another network has too", "x 10.211.3.0/24 net map[rolling.isolation:open rolling.mtu:1400] ipam map[rolling.quarantine:5m]",
			Wish{Name: "x", Subnet: "10.211.3.0/24", Isolation: "open", MTU: 1400, Quarantine: "5m"},
		},
		{
			"on the physical network", "x 10.5.0.0/24 net map[rolling.gateway:10.5.0.1 rolling.mode:l2 rolling.parent:eth1] ipam map[rolling.gateway:10.5.0.1]",
			Wish{Name: "x", Subnet: "10.5.0.0/24", Mode: "l2", Parent: "eth1", Gateway: "10.5.0.1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, problems := Draw(c.wish, plan, some)
			got := fmt.Sprintf("%s %s net %v ipam %v", n.Name, n.IPAMOptions.Configs[0].Subnet, n.DriverConfiguration.Options, n.IPAMOptions.Driver.Options)
			if got != c.want || problems != nil {
				t.Errorf("got\n%s\nwant\n%s\nproblems %v", got, c.want, problems)
			}
		})
	}
}

func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, want string
		wish       Wish
	}{
		{"nothing", `name: "": want 1 to 63 letters, digits, '-', '_' or '.', the first one a letter or a digit
subnet: want a named pool or a subnet such as 10.210.3.0/24`, Wish{}},
		{"everything", `announce: "hosts" is none of host, aggregate; did you mean "host"?
announceWhen: "helthy" is none of ready, healthy; did you mean "healthy"?
block: 33: want 24 to 32
environment: "a b": want 1 to 63 letters, digits, '-', '_' or '.'
environment: name its project too
gateway: a routed network has a gateway of its own: leave it out, or choose mode l2
ipv6: "fd00::/64": want a /96 such as fd00:10:201::/96, in which addresses are derived
isolation: "closed" is none of project, open
mode: "routd" is none of routed, l2; did you mean "routed"?
mtu: 100: want 576 to 65535
name: the Swarm has a network ingress already
parent: only a network of mode l2 has a parent interface
quarantine: "48h": want a time from 0s to 24h0m0s, as 60s
quota: -1: want 1 to 16777216
range: 10.1.0.0-10.1.0.3 is not inside 10.2.0.0/24`, Wish{
			Name: "ingress", Subnet: "10.2.0.0/24", Environment: "a b", Block: 33, Quota: -1, Range: "10.1.0.0-10.1.0.3", Quarantine: "48h", Mode: "routd",
			Parent: "eth0", Gateway: "10.2.0.1", MTU: 100, Isolation: "closed", Announce: "hosts", AnnounceWhen: "helthy", IPv6: "fd00::/64",
		}},
		{"a pool and a subnet", "pool: a pool and a subnet were said: want one of them", Wish{Name: "x", Pool: "prod", Subnet: "10.2.0.0/24"}},
		{"a pool that is not there", `pool: pool "prdo" is none of lab, prod; did you mean "prod"?`, Wish{Name: "x", Pool: "prdo"}},
		{"a part of a pool", "subnet: 10.210.3.0/24 overlaps pool prod (10.210.0.0/16): use the pool, or a subnet outside of it", Wish{Name: "x", Subnet: "10.210.3.0/24"}},
		{"a part of another's subnet", "subnet: 10.211.0.0/16 overlaps 10.211.3.0/24 of network orders-test_app: use that very subnet, or one beside it", Wish{Name: "x", Subnet: "10.211.0.0/16"}},
		{"the subnet of an overlay", "subnet: 10.0.0.0/24 is the subnet of network ingress, whose addresses another IPAM driver gives: use one beside it", Wish{Name: "x", Subnet: "10.0.0.0/24"}},
		{"bits beyond the length", "subnet: 10.2.0.1/24 has bits set beyond its length: did you mean 10.2.0.0/24?", Wish{Name: "x", Subnet: "10.2.0.1/24"}},
		{"blocks and a range", "range: blocks and an exact range exclude one another: keep one of them", Wish{Name: "x", Pool: "prod", Block: 28, Range: "10.210.0.0/30"}},
		{"l2 without a router", "gateway: \"\": want the router's address inside the subnet\nparent: \"\": want the interface that nodes have in that network", Wish{Name: "x", Subnet: "10.2.0.0/24", Mode: "l2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := Draw(c.wish, plan, some)
			var lines []string
			for _, p := range problems {
				lines = append(lines, p.String())
			}
			if got := strings.Join(lines, "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestReservationsArePickedFromTheEnd(t *testing.T) {
	within := netip.MustParsePrefix("10.1.0.0/29")
	got, err := Pick(within, 3, func(a netip.Addr) bool { return a != netip.MustParseAddr("10.1.0.6") })
	if err != nil || fmt.Sprint(got) != "[10.1.0.7 10.1.0.5 10.1.0.4]" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := Pick(within, 9, func(netip.Addr) bool { return true }); err == nil || !strings.Contains(err.Error(), "8 addresses are free, want 9") {
		t.Error(err)
	}
}
