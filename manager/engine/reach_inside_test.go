package engine

import (
	"net/netip"
	"testing"

	"github.com/rolling-swarm/rolling/internal/wire"
)

func TestGoalsAreRead(t *testing.T) {
	for _, c := range []struct{ text, name, door string }{
		{"orders-test_web:8080", "orders-test_web", "8080/tcp"},
		{"10.210.3.9:53/udp", "10.210.3.9", "53/udp"},
		{"orders/test/web.2:8080/tcp", "orders/test/web.2", "8080/tcp"},
		{"[fd00::ad2:309]:8080", "fd00::ad2:309", "8080/tcp"},
		{"orders-test_web", "", ""}, {":80", "", ""}, {"x:0", "", ""}, {"x:80/sctp", "", ""}, {"x:80/tcp/udp", "", ""}, {"x:99999", "", ""}, {"", "", ""},
	} {
		name, door, err := readGoal(c.text)
		if name != c.name || door != c.door || (err == nil) != (c.name != "") {
			t.Errorf("%q is %q %q, %v", c.text, name, door, err)
		}
	}
}

func TestEndsAreFound(t *testing.T) {
	web := Address{Address: netip.MustParseAddr("10.210.3.9"), Project: "orders", Environment: "test", Service: "web", Slot: "2", Node: "n2", Task: "abcdefghijkl", full: "orders-test_web", container: "0123456789ab"}
	vip := Address{Address: netip.MustParseAddr("10.210.3.200"), Project: "orders", Environment: "test", Service: "web", Slot: "vip", full: "orders-test_web"}
	loose := Address{Address: netip.MustParseAddr("10.210.3.77"), Project: "orders", Environment: "test", Node: "n1", Task: "mnopqrstuvwx"}
	all := []Address{vip, web, loose}
	for _, c := range []struct{ text, address, node string }{
		{"10.210.3.9", "10.210.3.9", "n2"}, {"fd00::ad2:309", "fd00::ad2:309", "n2"}, {"10.77.0.3", "10.77.0.3", ""}, {"10.210.3.200", "10.210.3.200", "n2"},
		{"orders-test_web", "10.210.3.9", "n2"}, {"orders-test_web.2", "10.210.3.9", "n2"}, {"orders-test_web.2.abcdefghijkl", "10.210.3.9", "n2"},
		{"orders/test/web", "10.210.3.9", "n2"}, {"orders/test/web.2", "10.210.3.9", "n2"}, {"abcdefg", "10.210.3.9", "n2"}, {"0123456", "10.210.3.9", "n2"},
		{"mnopqr", "10.210.3.77", "n1"}, {"abc", "", ""}, {"orders-test_wep", "", ""}, {"", "", ""},
	} {
		end, err := endOf(all, c.text)
		if c.address == "" {
			if err == nil {
				t.Errorf("%q is taken for %+v", c.text, end)
			}
			continue
		}
		if err != nil || end.Address.String() != c.address || end.Node != c.node {
			t.Errorf("%q is %+v, %v; want %s on %q", c.text, end, err, c.address, c.node)
		}
	}
}

func TestWhoIsLetInIsSaidOfAnAddress(t *testing.T) {
	a := netip.MustParseAddr("10.210.3.9")
	d := &wire.Driver{Endpoints: []wire.Endpoint{{Address: a, Project: "orders"}}, Access: &wire.Access{Outside: "open",
		Permits: []wire.AccessPermit{{From: "payments", To: "orders", Port: 8080, Protocol: "tcp", By: "orders-test_web"}, {From: "orders", To: "stock", By: "stock_x"}}}}
	want := []string{"its own project orders", "payments:8080/tcp, by the label rolling.allow-from of orders-test_web", "the company's other networks: ROLLING_OUTSIDE=open"}
	got := accessOf(d, a)
	if len(got) != len(want) {
		t.Fatalf("= %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("= %q, want %q", got[i], want[i])
		}
	}
	if d.Endpoints[0].Open = true; len(accessOf(d, a)) != 1 {
		t.Error("an open network lets everybody in")
	}
	if accessOf(&wire.Driver{}, a) != nil {
		t.Error("an older plugin's node says something")
	}
}
