package vip

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// learnFor is as long as Swarm's gossip takes, with some to spare, to tell a node of a network that is new to it.
	learnFor = 6 * time.Second
	// waitFor at most, whatever is still unknown.
	waitFor = 20 * time.Second
)

// Patience is which virtual addresses may be announced. A node that is announced beside others gets flows of theirs, and
// must know where to search for them; where nobody else serves, there is nothing to wait for.
type Patience struct {
	since    map[netip.Addr]time.Time
	released map[netip.Addr]bool
}

// Allow picks from a plan what is to be announced. The engine is well if it answers, and has answered for a while. What is
// in the first plan was announced by an earlier process.
func (w *Patience) Allow(p Plan, place Place, answers, young bool, now time.Time) map[netip.Addr]topology.NetworkID {
	first := w.since == nil
	if first {
		w.since, w.released = map[netip.Addr]time.Time{}, map[netip.Addr]bool{}
	}
	all := map[netip.Addr]topology.NetworkID{}
	for _, way := range p.Ways {
		network, serves := p.Networks[way.VIP]
		if !serves {
			continue
		}
		if _, known := w.since[way.VIP]; !known {
			w.since[way.VIP] = now
		}
		waited, beside := now.Sub(w.since[way.VIP]), place.Far[way.VIP]
		if first || !beside || waited >= waitFor || waited >= learnFor && !young && way.knows(place.Nodes[way.VIP], place.Nodes) {
			w.released[way.VIP] = true
		}
		// An engine that is silent may be about to end its containers.
		if w.released[way.VIP] && (answers || !beside) {
			all[way.VIP] = network
		}
	}
	gone := func(v netip.Addr) bool { _, serves := p.Networks[v]; return !serves }
	maps.DeleteFunc(w.since, func(v netip.Addr, _ time.Time) bool { return gone(v) })
	maps.DeleteFunc(w.released, func(v netip.Addr, _ bool) bool { return gone(v) })
	return all
}

// knows says that the ring comes by a node.
func (w Way) knows(node netip.Addr, nodes map[netip.Addr]netip.Addr) bool {
	return slices.ContainsFunc(w.Ring, func(a netip.Addr) bool { return nodes[a] == node })
}
