package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Segments are the physical networks that containers are attached to.
type Segments interface {
	Lay(topology.Segment) (topology.Ground, error)
	Set([]topology.Segment) error
	Riders(parent string) (map[string]bool, error)
}

// Neighbours are who else is on a physical network.
type Neighbours interface {
	Probe(ctx context.Context, device string, address netip.Addr) error
	Announce(device string, address netip.Addr, mac string) error
}

// PortCheck looks at what containers send into a bridge.
type PortCheck interface {
	Set([]topology.Port) error
	Dropped() (uint64, error)
}

// Switch lets the firewall pass what bridges carry from port to port.
type Switch interface {
	Bridge([]topology.Segment) error
}

// L2 are the edges that l2 networks stand on.
type L2 struct {
	Segments   Segments
	Ports      PortCheck
	Switch     Switch
	Neighbours Neighbours
}

const (
	// linger: a parent whose last container has gone is given back only then. The next one comes within seconds where
	// a task is replaced, and to move the node's own address forth and back each time would serve nobody.
	linger = 10 * time.Second
	// greetings: RFC 5227 announces twice, two seconds apart. Engines before 28 do not.
	greetings = 2
)

// physical is what the node remembers of its segments.
type physical struct {
	needed map[topology.Segment]time.Time // when a container last hung on it
	owed   map[topology.EndpointID]int    // announcements to neighbours
	ground map[topology.Segment]topology.Ground
	asking map[topology.Segment]int  // containers that are about to come: their addresses are asked for
	open   map[topology.Segment]bool // the firewall lets its frames pass
	clash  uint64                    // addresses that a neighbour had
}

func newPhysical() physical {
	return physical{
		needed: map[topology.Segment]time.Time{}, owed: map[topology.EndpointID]int{}, ground: map[topology.Segment]topology.Ground{},
		asking: map[topology.Segment]int{}, open: map[topology.Segment]bool{},
	}
}

// L2Report tells how physical networks do.
type L2Report struct {
	Segments []topology.Segment `json:"segments"`
	Ports    int                `json:"ports"`   // that are checked
	Dropped  uint64             `json:"dropped"` // frames with another's source, since a container came or went last
	Taken    uint64             `json:"taken"`   // addresses that a neighbour was found to have
}

func (n *Node) l2Report() *L2Report {
	if n.parts.L2 == nil {
		return nil
	}
	r := &L2Report{Segments: n.state.Segments(), Ports: len(n.state.Ports()), Taken: n.l2.clash}
	var err error
	r.Dropped, err = n.parts.L2.Ports.Dropped()
	n.note("count of dropped frames", err)
	return r
}

// errNoL2 is the answer of a node without the edges.
var errNoL2 = errors.New("this plugin serves no networks of mode l2")

// approach makes the segment of an endpoint of an l2 network, and asks the network whether the address is free: outside
// the loop, since that takes half a second. The segment stays until depart.
func (n *Node) approach(ctx context.Context, network topology.NetworkID, id topology.EndpointID) (topology.Segment, error) {
	type question struct {
		segment topology.Segment
		device  string
		address netip.Addr
	}
	ask, err := serve(ctx, n, func() (question, error) {
		e, err := n.state.Endpoint(network, id)
		g, on := n.state.OnSegment(e)
		if err != nil || !on {
			return question{}, err
		}
		if err := errors.Join(n.free(e), n.unheld(e)); err != nil {
			return question{}, err
		}
		if p, found, err := n.find(e); err != nil || found && !p.PeerHome {
			return question{}, err // its container has it
		}
		ground, err := n.lay(g)
		if err == nil {
			n.l2.asking[g]++
		}
		return question{g, ground.Device, e.Address}, err
	})
	if err != nil || ask.device == "" {
		return topology.Segment{}, err
	}
	if err := n.parts.L2.Neighbours.Probe(ctx, ask.device, ask.address); err != nil {
		n.depart(ctx, ask.segment, err)
		return topology.Segment{}, fmt.Errorf("endpoint %s of network %s: %w", id.Short(), network.Short(), err)
	}
	return ask.segment, nil
}

// conflict is an error that says that a neighbour has the address.
type conflict interface{ Conflict() bool }

// depart lets go of a segment after a Join. Nothing is left of one that failed.
func (n *Node) depart(ctx context.Context, g topology.Segment, failure error) {
	if g.IsZero() {
		return
	}
	_ = n.perform(context.WithoutCancel(ctx), func() error { // it ends only with the process
		if n.l2.asking[g]--; n.l2.asking[g] <= 0 {
			delete(n.l2.asking, g)
		}
		var taken conflict
		if errors.As(failure, &taken) && taken.Conflict() {
			n.l2.clash++
		}
		if failure == nil {
			n.l2.needed[g] = n.parts.Now() // also if its container ends before the next look at the whole
			return nil
		}
		n.segments()
		return nil
	})
}

// lay makes one segment true. The firewall lets its frames pass from then on: a container that has just come would
// reach nobody until the next look at the whole.
func (n *Node) lay(g topology.Segment) (topology.Ground, error) {
	if n.parts.L2 == nil {
		return topology.Ground{}, errNoL2
	}
	ground, err := n.parts.L2.Segments.Lay(g)
	if err != nil {
		return ground, err
	}
	if n.l2.ground[g] = ground; !n.l2.open[g] {
		n.passBridged(slices.SortedFunc(maps.Keys(n.l2.ground), topology.Segment.Compare))
	}
	return ground, nil
}

// passBridged lets the firewall pass what these segments' bridges carry.
func (n *Node) passBridged(all []topology.Segment) {
	err := n.parts.L2.Switch.Bridge(all)
	n.note("bridged frames", err)
	clear(n.l2.open)
	for _, g := range all {
		n.l2.open[g] = err == nil
	}
}

// base is the MTU of what an endpoint hangs on. On a segment the check of its port is in force when it is told.
func (n *Node) base(e topology.Endpoint) (mtu int, err error) {
	g, on := n.state.OnSegment(e)
	if !on {
		return n.uplink.MTU, nil
	}
	ground, err := n.lay(g)
	return ground.MTU, err
}

// fenced puts the check of an l2 endpoint's port in force before its link is there.
func (n *Node) fenced(e topology.Endpoint) error {
	if _, on := n.state.OnSegment(e); !on {
		return nil
	}
	err := n.parts.L2.Ports.Set(n.state.Ports())
	n.note("ports", err)
	return err
}

// segments makes the physical networks what the state says.
func (n *Node) segments() {
	if n.parts.L2 == nil {
		return
	}
	now := n.parts.Now()
	for _, g := range n.state.Segments() {
		n.l2.needed[g] = now
	}
	maps.DeleteFunc(n.l2.needed, func(_ topology.Segment, at time.Time) bool { return now.Sub(at) >= linger })
	wanted := slices.SortedFunc(maps.Keys(n.l2.needed), topology.Segment.Compare)
	for g := range n.l2.asking { // its bridge must not go in the midst of the question
		if !slices.Contains(wanted, g) {
			wanted = append(wanted, g)
		}
	}
	maps.DeleteFunc(n.l2.ground, func(g topology.Segment, _ topology.Ground) bool { return !slices.Contains(wanted, g) })
	n.note("segments", n.parts.L2.Segments.Set(wanted))
	n.passBridged(wanted)
	n.note("ports", n.parts.L2.Ports.Set(n.state.Ports()))
}

// present are all links that the kernel has: those that the node sees, and macvlans that only their parent knows of.
func (n *Node) present() ([]topology.Present, error) {
	all, err := n.parts.Wires.List()
	if err != nil || n.parts.L2 == nil {
		return all, err
	}
	seen := map[string]bool{}
	for _, p := range all {
		seen[p.Name] = true
	}
	for _, e := range n.state.Endpoints {
		if g, _ := n.state.OnSegment(e); g.Attach != topology.Macvlan || e.Phase != topology.Joined || seen[topology.HostEnd(e.ID)] {
			continue
		}
		p, found, err := n.rider(e)
		if err != nil {
			return nil, err
		}
		if _, awaited := n.waiting[e.ID]; found || awaited { // the engine sets it up in a moment
			all = append(all, p)
		}
	}
	return all, nil
}

// rider looks for a macvlan in its container.
func (n *Node) rider(e topology.Endpoint) (topology.Present, bool, error) {
	g, _ := n.state.OnSegment(e)
	macs, err := n.parts.L2.Segments.Riders(g.Parent)
	return topology.Present{Link: n.state.LinkOf(e)}, macs[e.MAC], err
}

// find looks for an endpoint's link.
func (n *Node) find(e topology.Endpoint) (topology.Present, bool, error) {
	p, found, err := n.parts.Wires.Find(topology.HostEnd(e.ID))
	if g, _ := n.state.OnSegment(e); err == nil && !found && g.Attach == topology.Macvlan && n.parts.L2 != nil {
		return n.rider(e)
	}
	return p, found, err
}

// hail tells the neighbours of a container that has its link by now.
func (n *Node) hail(id topology.EndpointID) {
	if _, on := n.state.OnSegment(n.state.Endpoints[id]); on && n.parts.L2 != nil {
		n.l2.owed[id] = greetings
		n.greet()
	}
}

// greet makes the announcements that are due.
func (n *Node) greet() {
	var problems []error
	for id, left := range n.l2.owed {
		e := n.state.Endpoints[id]
		g, _ := n.state.OnSegment(e)
		ground, laid := n.l2.ground[g]
		if e.Phase == topology.Joined && laid {
			problems = append(problems, n.parts.L2.Neighbours.Announce(ground.Device, e.Address, e.MAC))
		}
		if n.l2.owed[id] = left - 1; left <= 1 {
			delete(n.l2.owed, id)
		}
	}
	if n.parts.L2 != nil {
		n.note("announcements", errors.Join(problems...))
	}
}
