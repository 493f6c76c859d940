// Package kerneltest is what every kernel must do for the node, as a test suite, and a kernel in memory that does it
// and can be told to fail. It is for tests alone.
package kerneltest

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Rig is one kernel and the hands of those who act on it from outside. Its uplink reaches 10.98.0.0/24.
type Rig struct {
	Wires node.Wires
	Roads node.Roads
	Carry func(l topology.Link) // the engine moves the container's end away
	End   func(l topology.Link) // a container's namespace ends, and the pair with it
}

// Link is one for tests.
func Link(id, address string) topology.Link {
	e := topology.EndpointID(id + strings.Repeat("0", 64-len(id)))
	return topology.Link{
		Name: topology.HostEnd(e), Peer: topology.ContainerEnd(e), Endpoint: e, Network: "n1",
		Pool: netip.MustParsePrefix("10.210.3.0/24"), Gateway: netip.MustParseAddr("169.254.1.1"),
		Address: netip.MustParseAddr(address), MAC: topology.MACOf(netip.MustParseAddr(address)), MTU: 1400,
	}
}

// Road is one for tests.
func Road(address, via string) topology.Route {
	a := netip.MustParseAddr(address)
	return topology.Route{Prefix: netip.PrefixFrom(a, a.BitLen()), Via: netip.MustParseAddr(via)}
}

// Told is a road as the fabric tells it: to a container of no project.
func Told(address, via string) topology.Route {
	r := Road(address, via)
	r.Mark = isolation.Anyone
	return r
}

// Conforms checks one kernel; open makes a fresh one.
func Conforms(t *testing.T, open func(t *testing.T) Rig) {
	for name, check := range map[string]func(*testing.T, Rig){
		"a plugged link is listed, with its peer at home":      pluggedIsListed,
		"plugging and unplugging twice is as once":             twiceIsOnce,
		"a link whose peer a container holds survives":         carriedSurvives,
		"a link ends with its container":                       endsWithContainer,
		"set makes the links exactly these":                    setIsExact,
		"a road is replaced by another and listed once":        roadIsReplaced,
		"removing a road that is not there is no error":        removeIsIdempotent,
		"set of roads keeps strangers unless it sweeps":        setKeepsUnlessSwept,
		"a container's route takes the place of a road":        containerBeatsRoad,
		"a road by a next hop that no link reaches is refused": unreachableRefused,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func links(t *testing.T, r Rig, want ...topology.Present) {
	t.Helper()
	got, err := r.Wires.List()
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("links are\n%+v\nwant\n%+v", got, want)
	}
	for _, w := range want {
		if p, found, err := r.Wires.Find(w.Name); err != nil || !found || p != w {
			t.Fatalf("finds %+v, %t, %v; want %+v", p, found, err, w)
		}
	}
	if p, found, err := r.Wires.Find("rl00000000000"); err != nil || found {
		t.Fatalf("finds %+v, %v where nothing is", p, err)
	}
}

func roads(t *testing.T, r Rig, want ...topology.Route) {
	t.Helper()
	got, err := r.Roads.List()
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("roads are %v, want %v", got, want)
	}
}

func pluggedIsListed(t *testing.T, r Rig) {
	links(t, r)
	must(t, r.Wires.Plug(Link("a1", "10.210.3.7")))
	links(t, r, topology.Present{Link: Link("a1", "10.210.3.7"), PeerHome: true})
}

func twiceIsOnce(t *testing.T, r Rig) {
	l := Link("a1", "10.210.3.7")
	must(t, r.Wires.Plug(l))
	must(t, r.Wires.Plug(l))
	links(t, r, topology.Present{Link: l, PeerHome: true})
	must(t, r.Wires.Unplug(l.Name))
	must(t, r.Wires.Unplug(l.Name))
	links(t, r)
}

func carriedSurvives(t *testing.T, r Rig) {
	l := Link("a1", "10.210.3.7")
	must(t, r.Wires.Plug(l))
	r.Carry(l)
	links(t, r, topology.Present{Link: l})
	must(t, r.Wires.Plug(l))
	must(t, r.Wires.Set([]topology.Link{l}))
	links(t, r, topology.Present{Link: l})
}

func endsWithContainer(t *testing.T, r Rig) {
	l := Link("a1", "10.210.3.7")
	must(t, r.Wires.Plug(l))
	r.Carry(l)
	r.End(l)
	links(t, r)
}

func setIsExact(t *testing.T, r Rig) {
	one, two, three := Link("a1", "10.210.3.7"), Link("b2", "10.210.3.8"), Link("c3", "10.210.3.9")
	must(t, r.Wires.Set([]topology.Link{one, two}))
	must(t, r.Wires.Set([]topology.Link{two, three}))
	must(t, r.Wires.Set([]topology.Link{two, three}))
	links(t, r, topology.Present{Link: two, PeerHome: true}, topology.Present{Link: three, PeerHome: true})
	must(t, r.Wires.Set(nil))
	links(t, r)
}

func roadIsReplaced(t *testing.T, r Rig) {
	must(t, r.Roads.Add(Road("10.210.3.7", "10.98.0.2")))
	must(t, r.Roads.Add(Road("10.210.3.7", "10.98.0.3")))
	roads(t, r, Road("10.210.3.7", "10.98.0.3"))
}

func removeIsIdempotent(t *testing.T, r Rig) {
	road := Road("10.210.3.7", "10.98.0.2")
	must(t, r.Roads.Remove(road.Prefix))
	must(t, r.Roads.Add(road))
	must(t, r.Roads.Remove(road.Prefix))
	must(t, r.Roads.Remove(road.Prefix))
	roads(t, r)
}

func setKeepsUnlessSwept(t *testing.T, r Rig) {
	old, fresh := Road("10.210.3.7", "10.98.0.2"), Road("10.210.3.8", "10.98.0.3")
	must(t, r.Roads.Add(old))
	must(t, r.Roads.Set([]topology.Route{fresh}, false))
	roads(t, r, old, fresh)
	must(t, r.Roads.Set([]topology.Route{fresh}, true))
	roads(t, r, fresh)
}

func containerBeatsRoad(t *testing.T, r Rig) {
	l, road := Link("a1", "10.210.3.7"), Road("10.210.3.7", "10.98.0.2")
	must(t, r.Roads.Add(road))
	must(t, r.Wires.Plug(l))
	roads(t, r)
	must(t, r.Roads.Remove(road.Prefix))
	links(t, r, topology.Present{Link: l, PeerHome: true})
	must(t, r.Wires.Unplug(l.Name))
	roads(t, r)
}

func unreachableRefused(t *testing.T, r Rig) {
	if err := r.Roads.Add(Road("10.210.3.7", "192.0.2.1")); err == nil {
		t.Error("it was accepted")
	}
	roads(t, r)
}
