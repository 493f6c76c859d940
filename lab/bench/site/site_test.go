package site

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestRouteChangeKeepsHostRoutesOfTheMainTable(t *testing.T) {
	now := time.Unix(7, 0)
	route := func(kind uint16, to string, table int) netlink.RouteUpdate {
		_, dst, err := net.ParseCIDR(to)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.RouteUpdate{Type: kind, Route: netlink.Route{Dst: dst, Table: table}}
	}
	a := netip.MustParseAddr("10.201.0.5")
	for _, c := range []struct {
		name   string
		update netlink.RouteUpdate
		want   RouteChange
		ok     bool
	}{
		{"a host route comes", route(unix.RTM_NEWROUTE, "10.201.0.5/32", unix.RT_TABLE_MAIN), RouteChange{a, false, now}, true},
		{"a host route goes", route(unix.RTM_DELROUTE, "10.201.0.5/32", unix.RT_TABLE_MAIN), RouteChange{a, true, now}, true},
		{"a subnet is passed over", route(unix.RTM_NEWROUTE, "10.201.0.0/16", unix.RT_TABLE_MAIN), RouteChange{}, false},
		{"an address of the node itself is passed over", route(unix.RTM_NEWROUTE, "10.201.0.5/32", unix.RT_TABLE_LOCAL), RouteChange{}, false},
		{"IPv6 is passed over", route(unix.RTM_NEWROUTE, "fd00::1/128", unix.RT_TABLE_MAIN), RouteChange{}, false},
		{"a default route is passed over", netlink.RouteUpdate{Type: unix.RTM_NEWROUTE, Route: netlink.Route{Table: unix.RT_TABLE_MAIN}}, RouteChange{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, ok := routeChange(c.update, now); got != c.want || ok != c.ok {
				t.Errorf("got %+v, %v, want %+v, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	from := make(chan RouteChange, 3)
	from <- RouteChange{Address: a}
	from <- RouteChange{Address: b}
	got, err := Await(t.Context(), from, time.Minute, "b", func(c RouteChange) bool { return c.Address == b })
	if err != nil || got.Address != b {
		t.Errorf("got %+v, %v", got, err)
	}
	close(from)
	if _, err := Await(t.Context(), from, time.Minute, "route of b", func(RouteChange) bool { return true }); err == nil || !strings.HasPrefix(err.Error(), "route of b") {
		t.Errorf("a closed channel: %v", err)
	}
	if _, err := Await(t.Context(), nil, time.Millisecond, "x", nil); err == nil || !strings.Contains(err.Error(), "not within 1ms") {
		t.Errorf("a silent kernel: %v", err)
	}
}

func TestTaskReadsWhatSwarmSays(t *testing.T) {
	got := task(swarm.Task{ID: "t1", NodeID: "n", Status: swarm.TaskStatus{State: swarm.TaskStateRunning, ContainerStatus: &swarm.ContainerStatus{ContainerID: "c1"}},
		NetworksAttachments: []swarm.NetworkAttachment{{Addresses: []netip.Prefix{netip.MustParsePrefix("10.201.0.5/32")}}}})
	want := Task{ID: "t1", Node: "n", Container: "c1", Address: netip.MustParseAddr("10.201.0.5"), Running: true}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if fresh := task(swarm.Task{ID: "t2"}); fresh.Running || fresh.Address.IsValid() || addressed([]Task{fresh, got}) != 1 {
		t.Errorf("a new task reads as %+v", fresh)
	}
}
