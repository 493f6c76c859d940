package kerneltest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Fake is a kernel in memory.
type Fake struct {
	mu    sync.Mutex // guards all below
	links map[string]topology.Present
	roads map[netip.Prefix]netip.Addr
	pools []netip.Prefix
	fast  topology.Fast
	rules int
	host  []netip.Addr
	fault func(effect string) error
	wall  isolation.Wall
	cuts  int
	marks map[netip.Addr]isolation.Number
}

// NewFake has nothing in it.
func NewFake() *Fake {
	return &Fake{links: map[string]topology.Present{}, roads: map[netip.Prefix]netip.Addr{}}
}

// Break makes effects fail: before each, fault is asked with its name.
func (f *Fake) Break(fault func(effect string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *Fake) effect(name string) error {
	if f.fault == nil {
		return nil
	}
	return f.fault(name)
}

// Wires, Gate and Roads are the kernel's three faces.
func (f *Fake) Wires() FakeWires { return FakeWires{f} }

// Gate is the firewall.
func (f *Fake) Gate() FakeGate { return FakeGate{f} }

// Roads are the routes to other nodes.
func (f *Fake) Roads() FakeRoads { return FakeRoads{f} }

// Fast is the fast path.
func (f *Fake) Fast() FakeFast { return FakeFast{f} }

// Wall is what keeps projects apart.
func (f *Fake) Wall() FakeWall { return FakeWall{f} }

// Own gives the node one more address.
func (f *Fake) Own(a netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.host = append(f.host, a)
}

// Rules is how many rules of others stand before ours.
func (f *Fake) Rules(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = n
}

// Carry moves a container's end away.
func (f *Fake) Carry(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.links[name]
	p.PeerHome = false
	f.links[name] = p
}

// End is a container's end.
func (f *Fake) End(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.links, name)
}

// Accepts are the pools that the firewall accepts.
func (f *Fake) Accepts() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprint(f.pools)
}

// String is all that is in it, a line each, sorted.
func (f *Fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, p := range f.links {
		lines = append(lines, fmt.Sprintf("link %s %s gateway %s mtu %d home %t", p.Name, p.Address, p.Gateway, p.MTU, p.PeerHome))
	}
	for p, via := range f.roads {
		lines = append(lines, fmt.Sprintf("route %s via %s", p, via))
	}
	for _, p := range f.pools {
		lines = append(lines, fmt.Sprintf("accept %s", p))
	}
	for _, l := range f.fast.Legs {
		lines = append(lines, fmt.Sprintf("fast %s %s group %d from %v", l.Name, l.Address, l.Group, l.Sources))
	}
	for a := range f.fast.Far {
		lines = append(lines, fmt.Sprintf("fast far %s", a))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// FakeWires are links in memory.
type FakeWires struct{ f *Fake }

// Plug is as the kernel's.
func (w FakeWires) Plug(l topology.Link) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	return w.plug(l)
}

func (w FakeWires) plug(l topology.Link) error {
	if err := w.f.effect("plug"); err != nil {
		return err
	}
	home := true
	if p, ok := w.f.links[l.Name]; ok && p.Endpoint == l.Endpoint {
		home = p.PeerHome
	}
	w.f.links[l.Name] = topology.Present{Link: l, PeerHome: home}
	delete(w.f.roads, netip.PrefixFrom(l.Address, l.Address.BitLen()))
	return nil
}

// Unplug is as the kernel's.
func (w FakeWires) Unplug(name string) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if err := w.f.effect("unplug"); err != nil {
		return err
	}
	delete(w.f.links, name)
	return nil
}

// Set is as the kernel's.
func (w FakeWires) Set(links []topology.Link) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if err := w.f.effect("set links"); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, l := range links {
		wanted[l.Name] = true
		if _, home := w.f.links[l.Name]; !home && l.Segment.Attach == topology.Macvlan {
			continue // it is in its container
		}
		if err := w.plug(l); err != nil {
			return err
		}
	}
	maps.DeleteFunc(w.f.links, func(name string, _ topology.Present) bool { return !wanted[name] })
	return nil
}

// List is as the kernel's.
func (w FakeWires) List() ([]topology.Present, error) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if err := w.f.effect("list links"); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(w.f.links), func(a, b topology.Present) int { return strings.Compare(a.Name, b.Name) }), nil
}

// Find is as the kernel's.
func (w FakeWires) Find(name string) (topology.Present, bool, error) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if err := w.f.effect("find link"); err != nil {
		return topology.Present{}, false, err
	}
	p, ok := w.f.links[name]
	return p, ok, nil
}

// FakeGate is a firewall in memory.
type FakeGate struct{ f *Fake }

// Set is as the kernel's.
func (g FakeGate) Set(pools []netip.Prefix) error {
	g.f.mu.Lock()
	defer g.f.mu.Unlock()
	if err := g.f.effect("set firewall"); err != nil {
		return err
	}
	g.f.pools = slices.Clone(pools)
	return nil
}

// Spoofed: nothing was.
func (g FakeGate) Spoofed() (uint64, error) { return 0, nil }

// Check is as the kernel's.
func (g FakeGate) Check([]topology.Leg) error {
	g.f.mu.Lock()
	defer g.f.mu.Unlock()
	return g.f.effect("check sources")
}

// Before is as the kernel's.
func (g FakeGate) Before() int {
	g.f.mu.Lock()
	defer g.f.mu.Unlock()
	return g.f.rules
}

// FakeRoads are routes in memory.
type FakeRoads struct{ f *Fake }

var uplink = netip.MustParsePrefix("10.98.0.0/24")

// Add is as the kernel's.
func (r FakeRoads) Add(t topology.Route) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.add(t)
}

func (r FakeRoads) add(t topology.Route) error {
	if err := r.f.effect("add route"); err != nil {
		return err
	}
	if !uplink.Contains(t.Via) {
		return errors.New("network is unreachable")
	}
	r.f.roads[t.Prefix] = t.Via
	return nil
}

// Remove is as the kernel's.
func (r FakeRoads) Remove(p netip.Prefix) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if err := r.f.effect("remove route"); err != nil {
		return err
	}
	delete(r.f.roads, p)
	return nil
}

// Set is as the kernel's.
func (r FakeRoads) Set(wanted []topology.Route, sweep bool) error {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	left := maps.Clone(r.f.roads)
	var problems []error
	for _, t := range wanted {
		if left[t.Prefix] != t.Via {
			problems = append(problems, r.add(t))
		}
		delete(left, t.Prefix)
	}
	if sweep {
		maps.DeleteFunc(r.f.roads, func(p netip.Prefix, _ netip.Addr) bool { _, stale := left[p]; return stale })
	}
	return errors.Join(problems...)
}

// List is as the kernel's.
func (r FakeRoads) List() ([]topology.Route, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	if err := r.f.effect("list routes"); err != nil {
		return nil, err
	}
	var all []topology.Route
	for p, via := range r.f.roads {
		all = append(all, topology.Route{Prefix: p, Via: via})
	}
	topology.SortRoutes(all)
	return all, nil
}

// Uplink is as the kernel's.
func (r FakeRoads) Uplink(node netip.Addr) (topology.Uplink, error) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	u := topology.Uplink{MTU: 1500, Prefixes: []netip.Prefix{uplink}, Host: slices.Clone(r.f.host)}
	if node.IsValid() {
		u.Host = append(u.Host, node)
	}
	return u, r.f.effect("uplink")
}

// FakeFast is a fast path in memory.
type FakeFast struct{ f *Fake }

// Set is as the kernel's.
func (p FakeFast) Set(t topology.Fast) error {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if err := p.f.effect("set fast path"); err != nil {
		return err
	}
	p.f.fast = t
	return nil
}

// Learn is as the kernel's.
func (p FakeFast) Learn(far map[netip.Addr]topology.Group) error {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if err := p.f.effect("learn fast path"); err != nil {
		return err
	}
	for a, group := range far {
		if group == 0 {
			delete(p.f.fast.Far, a)
		} else if p.f.fast.Far != nil {
			p.f.fast.Far[a] = group
		}
	}
	return nil
}

// Name is as the kernel's.
func (FakeFast) Name() string { return "fake" }

// Yields is as the kernel's.
func (FakeFast) Yields() bool { return true }

// Report is as the kernel's.
func (p FakeFast) Report() topology.FastReport {
	return topology.FastReport{Path: "fake", Wanted: "fake"}
}

// FakeWall is a firewall between projects, in memory.
type FakeWall struct{ f *Fake }

// Set is as the kernel's.
func (w FakeWall) Set(wall, _ isolation.Wall) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if err := w.f.effect("set wall"); err != nil {
		return err
	}
	w.f.wall, w.f.marks = wall, map[netip.Addr]isolation.Number{}
	for e := range wall.Sets[isolation.Four.Known()].Entries {
		if n, err := strconv.ParseUint(e.Note, 16, 32); err == nil {
			w.f.marks[e.Prefix.Addr()] = isolation.Number(n)
		}
	}
	return nil
}

// Doubt is as the kernel's.
func (w FakeWall) Doubt() {}

// Recall is as the kernel's.
func (w FakeWall) Recall() (map[netip.Addr]isolation.Number, error) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	return maps.Clone(w.f.marks), w.f.effect("recall wall")
}

// Cut counts.
func (w FakeWall) Cut(func(from, to netip.Addr, protocol permits.Protocol, port uint16) bool) (int, error) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.cuts++
	return 0, w.f.effect("cut wall")
}

// Denied is none.
func (w FakeWall) Denied() (uint64, error) { return 0, nil }

// Walled is the wall that stands, and how often connections were cut.
func (f *Fake) Walled() (isolation.Wall, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wall, f.cuts
}

// Remember puts a mark there as an earlier process left it.
func (f *Fake) Remember(a netip.Addr, n isolation.Number) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.marks == nil {
		f.marks = map[netip.Addr]isolation.Number{}
	}
	f.marks[a] = n
}
