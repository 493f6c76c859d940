package kerneltest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// FakeL2 is a physical network and the published ports, in memory.
type FakeL2 struct {
	mu       sync.Mutex // guards all below
	segments []topology.Segment
	ports    []topology.Port
	doors    []topology.Doorway
	said     []string
	riders   map[string]bool
	neighbor map[netip.Addr]string // others on the network
	taken    map[topology.Publication]bool
	probed   int
	passed   []topology.Segment
	slow     time.Duration
}

// NewFakeL2 has nobody on it.
func NewFakeL2() *FakeL2 {
	return &FakeL2{neighbor: map[netip.Addr]string{}, taken: map[topology.Publication]bool{}, riders: map[string]bool{}}
}

// Edges are its faces.
func (f *FakeL2) Edges() *node.L2 {
	return &node.L2{Segments: f, Ports: fakePorts{f}, Switch: f, Neighbours: f}
}

// Doors are the published ports.
func (f *FakeL2) Doors() node.Doors { return fakeDoors{f} }

// Neighbour gives an address to somebody else on the network.
func (f *FakeL2) Neighbour(a netip.Addr, mac string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.neighbor[a] = mac
}

// Ride puts a macvlan's MAC on the parent, or takes it off.
func (f *FakeL2) Ride(mac string, rides bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.riders[mac] = rides
}

// Take lets a program of the host have a port.
func (f *FakeL2) Take(p topology.Publication) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken[p] = true
}

// Said are the announcements so far.
func (f *FakeL2) Said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.said, "\n")
}

// Probed is how many addresses were asked about.
func (f *FakeL2) Probed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.probed
}

// String is all that is in it, a line each.
func (f *FakeL2) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, g := range f.segments {
		lines = append(lines, fmt.Sprintf("segment %s %s", g.Parent, g.Attach))
	}
	for _, p := range f.ports {
		lines = append(lines, fmt.Sprintf("port %s %s %v", p.Name, p.MAC, p.Sources))
	}
	for _, w := range f.doors {
		lines = append(lines, fmt.Sprintf("door %s to %s:%d", w.Publication, w.To, w.Port))
	}
	return strings.Join(lines, "\n")
}

// Lay is as the kernel's.
func (f *FakeL2) Lay(g topology.Segment) (topology.Ground, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if g.Parent == "eth7" {
		return topology.Ground{}, errors.New("parent eth7: this node has no such interface")
	}
	if !slices.Contains(f.segments, g) {
		f.segments = append(f.segments, g)
	}
	return topology.Ground{Device: g.Bridge(), MTU: 1400}, nil
}

// Set is as the kernel's.
func (f *FakeL2) Set(all []topology.Segment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.segments = slices.Clone(all)
	return nil
}

// Riders is as the kernel's.
func (f *FakeL2) Riders(string) (map[string]bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]bool{}
	for mac, rides := range f.riders {
		all[mac] = rides
	}
	return all, nil
}

// Bridge is as the firewall's.
func (f *FakeL2) Bridge(all []topology.Segment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passed = slices.Clone(all)
	return nil
}

// Passed are the segments whose frames the firewall lets pass.
func (f *FakeL2) Passed() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.passed)
}

// Slow lets each question take so long.
func (f *FakeL2) Slow(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slow = d
}

// Probe is as the network's.
func (f *FakeL2) Probe(_ context.Context, device string, a netip.Addr) error {
	f.mu.Lock()
	slow := f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probed++
	if mac, has := f.neighbor[a]; has {
		return conflictError(fmt.Sprintf("address %s is in use already by %s on the network of %s", a, mac, device))
	}
	return nil
}

// conflictError is what the real edge says of an address that somebody has.
type conflictError string

func (e conflictError) Error() string { return string(e) }

// Conflict is as the real one's.
func (conflictError) Conflict() bool { return true }

// Announce is as the network's.
func (f *FakeL2) Announce(device string, a netip.Addr, mac string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, fmt.Sprintf("%s is at %s by %s", a, mac, device))
	return nil
}

type fakePorts struct{ f *FakeL2 }

func (p fakePorts) Set(all []topology.Port) error {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.f.ports = slices.Clone(all)
	return nil
}

func (fakePorts) Dropped() (uint64, error) { return 0, nil }

type fakeDoors struct{ f *FakeL2 }

func (d fakeDoors) Hold(w topology.Doorway) error {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if d.f.taken[w.Publication] {
		return fmt.Errorf("port %s of the node is taken", w.Publication)
	}
	return nil
}

func (fakeDoors) Doubt() {}

func (d fakeDoors) Set(all []topology.Doorway) error {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	d.f.doors = slices.Clone(all)
	return nil
}
