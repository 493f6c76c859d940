package vip

import (
	"cmp"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Slots are what datagrams' flows are spread over: each node counts the same slot from a client's address and port.
const Slots = 256

// youngFor is as long as conntrack remembers a flow of datagrams that rests.
const youngFor = 3 * time.Minute

// Way is how what comes from outside by one virtual address finds the container that has its flow, whichever node a
// router sends it to. All nodes that see the same containers make the same ring and the same slots of them.
type Way struct {
	VIP   netip.Addr
	Local []netip.Addr // containers here that take new flows, sorted
	Here  []netip.Addr // all of the service that run here, also those that are about to go, sorted
	// Ring has one container of each node, sorted: it is gone round for a flow that a node does not know.
	Ring []netip.Addr
	// Backends has each slot's container, of all that take new flows.
	Backends [Slots]netip.Addr
	// Young are those of Local that came so lately that flows of their slots may be elsewhere.
	Young []netip.Addr
}

// ways are those of the services that have a container here, sorted.
func ways(services []Service, p Place, local map[netip.Addr]topology.EndpointID, fit map[topology.EndpointID]bool) []Way {
	found := map[netip.Addr]Way{}
	for _, s := range services {
		alive := addresses(s, func(t Task) bool { _, here := local[t.Address]; return here || p.Far[t.Address] })
		if w := way(s.VIP, alive, takers(s, p, local, fit), local, p.Nodes); len(w.Here) > 0 {
			found[s.VIP] = w
		}
	}
	var all []Way
	for _, v := range slices.SortedFunc(maps.Keys(found), netip.Addr.Compare) {
		all = append(all, found[v])
	}
	return all
}

// way is that of one service; alive are its containers that can be reached, whatever else is said of them.
func way(v netip.Addr, alive, takers []netip.Addr, local map[netip.Addr]topology.EndpointID, nodes map[netip.Addr]netip.Addr) Way {
	w := Way{VIP: v}
	first := map[netip.Addr]netip.Addr{} // by node; the zero one is this
	for _, a := range alive {
		at := netip.Addr{}
		if _, here := local[a]; here {
			w.Here = append(w.Here, a)
		} else if at = nodes[a]; !at.IsValid() {
			at = a
		}
		if known, ok := first[at]; !ok || a.Less(known) {
			first[at] = a
		}
	}
	w.Ring = slices.SortedFunc(maps.Values(first), netip.Addr.Compare)
	if len(w.Here) == 0 {
		return w
	}
	for _, a := range takers {
		if _, here := local[a]; here {
			w.Local = append(w.Local, a)
		}
	}
	for i := range w.Backends {
		w.Backends[i] = highest(takers, v, i)
	}
	return w
}

// Next is the first place in the ring, from one on, that is not this node's; behind the last there is none.
func (w Way) Next(from int) int {
	for from < len(w.Ring) && slices.Contains(w.Here, w.Ring[from]) {
		from++
	}
	return from
}

// Server is where a slot's datagrams go on this node: to the slot's container if it is here, else to another that is.
func (w Way) Server(slot int) netip.Addr {
	if b := w.Backends[slot]; slices.Contains(w.Local, b) {
		return b
	}
	return highest(w.Local, w.VIP, slot)
}

// highest is the slot's container by rendezvous: when one comes or goes, only its own slots change.
func highest(all []netip.Addr, v netip.Addr, slot int) netip.Addr {
	var best netip.Addr
	var most uint64
	for _, a := range all {
		if n := weight(a, v, slot); !best.IsValid() || cmp.Or(cmp.Compare(n, most), a.Compare(best)) > 0 {
			best, most = a, n
		}
	}
	return best
}

// weight must be the same on every node, and in every version of this program.
func weight(a, v netip.Addr, slot int) uint64 {
	x, y := a.As4(), v.As4()
	n := mix(uint64(binary.BigEndian.Uint32(x[:]))<<32 | uint64(binary.BigEndian.Uint32(y[:])))
	return mix(n + uint64(slot))
}

// mix is MurmurHash3's last step.
func mix(n uint64) uint64 {
	n = (n ^ n>>33) * 0xff51afd7ed558ccd
	n = (n ^ n>>33) * 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// Ages is since when containers here have taken new flows.
type Ages map[netip.Addr]time.Time

// Mark marks in a plan those that are young, and keeps what the next plan has to know. After a start of this program all
// are young: when they came is not known.
func (g Ages) Mark(p *Plan, now time.Time) {
	stays := map[netip.Addr]bool{}
	for i := range p.Ways {
		w := &p.Ways[i]
		for _, a := range w.Local {
			stays[a] = true
			if _, known := g[a]; !known {
				g[a] = now
			}
			if now.Sub(g[a]) < youngFor {
				w.Young = append(w.Young, a)
			}
		}
	}
	maps.DeleteFunc(g, func(a netip.Addr, _ time.Time) bool { return !stays[a] })
}
