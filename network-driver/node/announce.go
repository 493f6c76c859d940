package node

import (
	"cmp"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// lookEvery: how often it is looked whether the engine has put a link into its container. The engine does so some ten
	// milliseconds after Join was answered, and starts the container's process only then.
	lookEvery = 20 * time.Millisecond
	// lookFor so long; after it the link is found when all are looked through.
	lookFor = time.Second
)

// expect keeps an address to this node until its container has it.
func (n *Node) expect(id topology.EndpointID) {
	now := n.parts.Now()
	n.waiting[id] = now
	if n.lookAt.IsZero() {
		n.lookAt = now.Add(lookEvery)
	}
}

// soon comes when it is time to look, and never while no container is about to come.
func (n *Node) soon() <-chan time.Time {
	if n.lookAt.IsZero() {
		return nil
	}
	return time.After(n.lookAt.Sub(n.parts.Now()))
}

// welcome announces the addresses of containers that have their links by now. A link that has gone is no longer awaited:
// its Leave has come, or will be missed.
func (n *Node) welcome() {
	now := n.parts.Now()
	here, young := false, false
	for id, since := range n.waiting {
		if now.Sub(since) > lookFor {
			continue
		}
		e := n.state.Endpoints[id]
		p, found, err := n.find(e)
		// A bridge's port that sleeps is looked at until it wakes: to ask for it is to wake it, and on a busy machine a
		// container's first frames would be dropped for a second.
		if g, _ := n.state.OnSegment(e); err != nil || found && (p.PeerHome || p.Asleep) || !found && g.Attach == topology.Macvlan {
			young = true
			continue
		}
		delete(n.waiting, id)
		here = here || found
		n.hail(id)
	}
	n.lookAt = time.Time{}
	if young {
		n.lookAt = now.Add(lookEvery)
	}
	if here && n.refused == nil {
		n.announce()
	}
}

// seen is welcome for those whose containers are late. All links are given; the caller announces.
func (n *Node) seen(present []topology.Present) {
	home := map[string]bool{}
	for _, p := range present {
		home[p.Name] = p.PeerHome
	}
	for id := range n.waiting {
		if !home[topology.HostEnd(id)] {
			delete(n.waiting, id)
			n.hail(id)
		}
	}
}

// announce tells the fabric of all addresses that containers here have, but of those that a node or a router has by now:
// the route to the container would cut it off, everywhere.
func (n *Node) announce() {
	guard, policy := n.guard(), n.book().Policy
	var problems []error
	told := map[netip.Addr]bool{}
	var own []fabric.Announcement
	for _, id := range slices.Sorted(maps.Keys(n.state.Endpoints)) {
		e := n.state.Endpoints[id]
		if _, awaited := n.waiting[e.ID]; e.Phase != topology.Joined || awaited || told[e.Address] || n.unwell(e) {
			continue
		}
		told[e.Address] = true
		w := n.state.Networks[e.Network]
		if _, on := n.state.OnSegment(e); on {
			own = append(own, fabric.Announcement{Address: e.Address, Mark: policy.Trusted(w.Options.Class()), Near: true})
			continue // its neighbours find it by ARP, and want to know whose it is
		}
		if err := guard.Holds(e.Address); err != nil {
			problems = append(problems, err)
			continue
		}
		a := fabric.Announcement{Address: e.Address, Mark: policy.Trusted(w.Options.Class())}
		if w.Options.Aggregate {
			a.Pool = w.Pool.Masked()
		}
		own = append(own, a)
		if six, err := n.announceSix(e, w, guard); err != nil {
			problems = append(problems, err)
		} else if six.Address.IsValid() {
			six.Mark = a.Mark
			own = append(own, six)
		}
	}
	own = append(own, n.virtual(told, guard, policy)...)
	slices.SortFunc(own, func(a, b fabric.Announcement) int { return a.Address.Compare(b.Address) })
	slices.SortFunc(problems, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	n.note("addresses", errors.Join(problems...))
	n.parts.Announcer.Stand(n.uplink)
	n.parts.Announcer.Announce(own)
	n.place()
}

// virtual are the announcements of virtual addresses that no container has: to routers, too, whose next hops are all nodes
// with a backend, and with the mark of their network, so that they are open to whom its containers are.
func (n *Node) virtual(told map[netip.Addr]bool, guard topology.Guard, policy isolation.Policy) []fabric.Announcement {
	var all []fabric.Announcement
	for a, network := range n.serving.announce {
		if w, known := n.state.Networks[network]; known && !told[a] && guard.Holds(a) == nil {
			all = append(all, fabric.Announcement{Address: a, Mark: policy.Trusted(w.Options.Class())})
		}
	}
	return all
}

// gate lets the firewall accept what is forwarded to containers here, and as a border of the Swarm to those elsewhere.
func (n *Node) gate() {
	if n.parts.Fence != nil {
		n.note("fence", n.parts.Fence.Set(n.borders))
	}
	all := slices.Concat(n.state.Pools(), n.borders)
	slices.SortFunc(all, netip.Prefix.Compare)
	n.note("firewall", n.parts.Gate.Set(slices.Compact(topology.OfOneFamily(all, false))))
	n.six()
}
