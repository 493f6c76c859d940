//go:build lab

package kernel

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// dying is netlink of a process that is killed after some of its effects: nothing that should follow is done, no way back
// is tried either.
type dying struct {
	segmentWire
	left int
	last string // effect that was done
	dead bool
}

func (d *dying) effect(what string) {
	if d.left == 0 {
		d.dead = true
		runtime.Goexit()
	}
	d.left--
	d.last = what
}

func (d *dying) LinkAdd(l netlink.Link) error {
	d.effect("make " + l.Attrs().Name)
	return d.segmentWire.LinkAdd(l)
}

func (d *dying) LinkDel(l netlink.Link) error {
	d.effect("remove " + l.Attrs().Name)
	return d.segmentWire.LinkDel(l)
}

func (d *dying) LinkSetAlias(l netlink.Link, text string) error {
	d.effect("name " + l.Attrs().Name)
	return d.segmentWire.LinkSetAlias(l, text)
}

func (d *dying) LinkSetMTU(l netlink.Link, mtu int) error {
	d.effect("size " + l.Attrs().Name)
	return d.segmentWire.LinkSetMTU(l, mtu)
}

func (d *dying) LinkSetUp(l netlink.Link) error {
	d.effect("set up " + l.Attrs().Name)
	return d.segmentWire.LinkSetUp(l)
}

func (d *dying) LinkSetMaster(l, master netlink.Link) error {
	d.effect("plug in " + l.Attrs().Name)
	return d.segmentWire.LinkSetMaster(l, master)
}

func (d *dying) LinkSetNoMaster(l netlink.Link) error {
	d.effect("pull out " + l.Attrs().Name)
	return d.segmentWire.LinkSetNoMaster(l)
}

func (d *dying) AddrAdd(l netlink.Link, a *netlink.Addr) error {
	d.effect(fmt.Sprintf("give %s to %s", a.IPNet, l.Attrs().Name))
	return d.segmentWire.AddrAdd(l, a)
}

func (d *dying) AddrDel(l netlink.Link, a *netlink.Addr) error {
	d.effect(fmt.Sprintf("take %s from %s", a.IPNet, l.Attrs().Name))
	return d.segmentWire.AddrDel(l, a)
}

func (d *dying) NeighSet(n *netlink.Neigh) error {
	d.effect(fmt.Sprintf("tell of %s", n.IP))
	return d.segmentWire.NeighSet(n)
}

func (d *dying) RouteReplace(r *netlink.Route) error {
	d.effect(fmt.Sprintf("lead %s", r.Dst))
	return d.segmentWire.RouteReplace(r)
}

// killed does something of a process that is killed after n effects, and tells the last one, or that it came to its end.
func killed(t *testing.T, s lan.Space, n int, do func(*Segments) error) (last string, whole bool) {
	t.Helper()
	g := openSegments(t, s)
	d := &dying{segmentWire: g.nl, left: n}
	g.nl = d
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- do(g)
	}()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return d.last, !d.dead
}

// TestAKillBetweenAnyTwoStepsOfAMove ends the process after each effect that the move of the node's address has, forth
// and back. The node is reached while nobody is there to go on; the next process finishes the move or gives the parent
// back, whichever is wanted by then; at the end the host is as it was.
func TestAKillBetweenAnyTwoStepsOfAMove(t *testing.T) {
	segments := []topology.Segment{{Parent: "eth0", Attach: topology.Bridged}}
	for _, way := range []struct {
		name     string
		from, to []topology.Segment
	}{{"forth", nil, segments}, {"back", segments, nil}} {
		for _, then := range []struct {
			name   string
			wanted []topology.Segment
		}{{"and is finished", way.to}, {"and is taken back", way.from}} {
			t.Run(way.name+" "+then.name, func(t *testing.T) {
				t.Parallel()
				net := lan.NewLAN(t)
				router, host := net.Node("router", "10.98.0.1/24"), net.Node("n1", "10.98.0.21/24")
				for _, line := range []string{
					"ip addr add 10.98.0.121/24 dev eth0", "ip route add default via 10.98.0.1 src 10.98.0.121", "ip route add 192.0.2.0/24 via 10.98.0.1 metric 50",
					"ip route add 198.51.100.0/24 dev eth0 table 77 scope link", "ip -6 addr add fd00:98::21/64 dev eth0 nodad", "ip -6 route add fd00:99::/64 via fd00:98::1 dev eth0",
				} {
					host.Must(line)
				}
				before := whole(host)
				var steps []string
				for n := 0; ; n++ {
					if err := openSegments(t, host).Set(way.from); err != nil {
						t.Fatal(err)
					}
					if err := reach(host, router); err != nil {
						t.Fatalf("before the move: %v", err)
					}
					last, all := killed(t, host, n, func(g *Segments) error { return g.Set(way.to) })
					steps = append(steps, last)
					if err := reach(host, router); err != nil {
						t.Errorf("killed after %d effects (%s): %v", n, last, err)
					}
					if err := openSegments(t, host).Set(then.wanted); err != nil {
						t.Fatalf("killed after %d effects (%s): the next process: %v", n, last, err)
					}
					if err := reach(host, router); err != nil {
						t.Errorf("killed after %d effects (%s), and gone on: %v", n, last, err)
					}
					if err := openSegments(t, host).Set(nil); err != nil {
						t.Fatal(err)
					}
					if after := whole(host); after != before {
						t.Fatalf("killed after %d effects (%s), and given back, the host is another:\n%s", n, last, lan.Differences(before, after))
					}
					if all {
						break
					}
				}
				t.Logf("%d effects: %v", len(steps)-1, slices.Compact(steps[1:]))
				if len(steps) < 8 {
					t.Errorf("only %d effects: nothing was moved", len(steps))
				}
			})
		}
	}
}

// reach says that node and router reach each other. Both know the other's MAC: a node that has to ask for it in the midst
// of the move is answered at the other interface.
func reach(host, router lan.Space) error {
	if err := ping(host, "10.98.0.1"); err != nil {
		return fmt.Errorf("node to router: %w\n%s%s%s%s", err, host.Must("ip neigh"), host.Must("bridge fdb"), router.Must("ip neigh"), host.Must("ip -s link"))
	}
	if err := ping(router, "10.98.0.21"); err != nil {
		return fmt.Errorf("router to node: %w", err)
	}
	return nil
}
