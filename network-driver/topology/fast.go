package topology

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// Group is a set of addresses that may all talk to each other, on every port. The fast path knows no other reason to
// carry a packet than "same group" or "a pair of groups that is listed": each project is a group of its own, and the
// pairs are those of which each may send everything to the other; whatever is opened one way, or for one port only, is
// not listed, and goes the ordinary way, where the firewall judges it. Zero is no group: such an address is never carried.
type Group uint32

// Everyone is the group of networks of no project.
const Everyone = Group(isolation.Anyone)

// Pair lets one group talk to another; answers need the pair the other way round.
type Pair struct{ From, To Group }

// Leg is one container's link on the fast path.
type Leg struct {
	Name    string // of the host end
	Address netip.Addr
	MAC     string
	MTU     int
	Group   Group
	// Sources are the addresses that the container may send from here: all of its own, since an answer may leave by
	// another network than its question came by.
	Sources []netip.Addr
}

// Fast is what the fast path should know. Whatever is not in it goes the ordinary way.
type Fast struct {
	Uplinks []string // interfaces by which other nodes' packets come
	MTU     int      // the uplink's
	Legs    []Leg    // sorted by name
	Far     map[netip.Addr]Group
	Pairs   []Pair
	// Touched, unless it is nil, are the links that were made or taken away since this was said last: those alone are
	// looked at, since a node's other links and what sits on them are hundreds. What somebody else breaks shows when it is nil.
	Touched []string
}

// FastOf is what the fast path should know of this state. On a node without containers that is nothing at all, so that
// nothing is left on the host. The book says who may talk to whom.
func FastOf(s State, l Learnt, g Guard, u Uplink, b isolation.Book) Fast {
	f := Fast{Legs: s.legs(g, b), MTU: u.MTU}
	if len(f.Legs) == 0 {
		return Fast{}
	}
	f.Uplinks, f.Far = u.Names, map[netip.Addr]Group{}
	for p, via := range l {
		if group := FarGroup(Route{Prefix: p, Via: via, Mark: b.Far[p.Addr()]}, g, b); group != 0 {
			f.Far[p.Addr()] = group
		}
	}
	for _, p := range b.Pairs() {
		f.Pairs = append(f.Pairs, Pair{Group(p[0]), Group(p[1])})
	}
	return f
}

// Idle is the same, but that nothing is carried: sources are still checked.
func (f Fast) Idle() Fast {
	f.Legs, f.Far, f.Pairs = slices.Clone(f.Legs), nil, nil
	for i := range f.Legs {
		f.Legs[i].Group = 0
	}
	return f
}

// FarGroup is the group of another node's container, or zero if the route is not one to take.
func FarGroup(r Route, g Guard, b isolation.Book) Group {
	if !r.Via.Is4() || !g.Installs(r) { // IPv6 goes the ordinary way
		return 0
	}
	return Group(b.GroupOfMark(r.Mark))
}

// Within is what of it another one holds as well: it carries nothing that the other does not.
func (f Fast) Within(o Fast) Fast {
	group := map[netip.Addr]Group{}
	for _, l := range o.Legs {
		group[l.Address] = l.Group
	}
	f.Legs, f.Far, f.Pairs = slices.Clone(f.Legs), maps.Clone(f.Far), slices.Clone(f.Pairs)
	for i, l := range f.Legs {
		if group[l.Address] != l.Group {
			f.Legs[i].Group = 0
		}
	}
	maps.DeleteFunc(f.Far, func(a netip.Addr, g Group) bool { return o.Far[a] != g })
	f.Pairs = slices.DeleteFunc(f.Pairs, func(p Pair) bool { return !slices.Contains(o.Pairs, p) })
	return f
}

// Exceeds says that something is carried of which the other knows nothing.
func (f Fast) Exceeds(o Fast) bool {
	less := f.Within(o)
	for i, l := range f.Legs {
		if l.Group != less.Legs[i].Group {
			return true
		}
	}
	return len(less.Far) < len(f.Far) || len(less.Pairs) < len(f.Pairs)
}

// Carry notes a single change; group zero takes an address out.
func (f *Fast) Carry(a netip.Addr, g Group) {
	if f.Far == nil {
		return // a node without containers carries nothing
	}
	if f.Far[a] = g; g == 0 {
		delete(f.Far, a)
	}
}

// BookOf is what isolation has to know of this state: whose the containers here are, and by which marks those elsewhere
// are known.
func BookOf(s State, far Marks, p isolation.Policy, outside bool) isolation.Book {
	b := isolation.Book{Here: map[netip.Addr]isolation.Class{}, Far: far, Pools: s.Pools(), Policy: p, Outside: outside, Bridges: s.bridges()}
	for _, w := range s.Networks {
		if w.Options.IPv6.IsValid() {
			b.Pools = append(b.Pools, w.Options.IPv6)
		}
	}
	for _, e := range s.Endpoints {
		if w, known := s.Networks[e.Network]; known && e.Phase == Joined {
			b.Here[e.Address] = w.Options.Class()
			if e.Address6.IsValid() {
				b.Here[e.Address6] = w.Options.Class()
			}
		}
	}
	return b
}

// Classes are those of the networks here.
func (s State) Classes() []isolation.Class {
	var all []isolation.Class
	for _, w := range s.Networks {
		all = append(all, w.Options.Class())
	}
	return all
}

func (s State) legs(g Guard, b isolation.Book) []Leg {
	sources := s.sources()
	var all []Leg
	for _, l := range s.Links() {
		if g.Holds(l.Address) != nil || !l.Segment.IsZero() { // bridged frames are checked at their ports
			continue
		}
		own := []netip.Addr{l.Address}
		if box := BoxOf(s.Endpoints[l.Endpoint].Sandbox); box != "" {
			own = sources[box]
		}
		leg := Leg{Name: l.Name, Address: l.Address, MAC: l.MAC, MTU: l.MTU, Group: Group(b.Group(l.Address)), Sources: own}
		if len(s.Endpoints[l.Endpoint].Published) > 0 {
			leg.Group = 0 // its answers have to be translated back: the ordinary way does
		}
		all = append(all, leg)
	}
	return all
}

// sources are the addresses of each container, by its sandbox.
func (s State) sources() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, id := range slices.Sorted(maps.Keys(s.Endpoints)) {
		if e := s.Endpoints[id]; e.Phase == Joined && BoxOf(e.Sandbox) != "" {
			all[BoxOf(e.Sandbox)] = append(all[BoxOf(e.Sandbox)], e.Address)
		}
	}
	return all
}

// Plain is the path that is none: all goes the ordinary way.
const Plain = "plain"

// FastReport tells how the fast path does.
type FastReport struct {
	Path    string            `json:"path"`              // bpf, nft or plain
	Wanted  string            `json:"wanted"`            // by the settings
	Idle    string            `json:"idle,omitempty"`    // why it carries nothing at present, but for checking sources
	Refused map[string]string `json:"refused,omitempty"` // why a better one was not taken, by its name
	Devices int               `json:"devices"`           // interfaces that it sits on
	Entries int               `json:"entries"`           // addresses that it knows
	Packets map[string]uint64 `json:"packets,omitempty"` // since it was loaded, by the way they went
}

// Ways are the keys of FastReport.Packets.
const (
	WayOut     = "out"     // from a container here to another node
	WayIn      = "in"      // from another node to a container here
	WayLocal   = "local"   // between two containers here
	WayStack   = "stack"   // from a container here, by the ordinary way
	WaySpoofed = "spoofed" // dropped: the source was not the container's own
)

// StrangeMTU names the joined endpoints whose links take larger packets than the uplink does, in words.
func (s State) StrangeMTU(u Uplink) []string {
	var all []string
	for _, l := range s.Links() {
		if u.MTU > 0 && l.MTU > u.MTU && l.Segment.IsZero() {
			all = append(all, l.Address.String())
		}
	}
	slices.SortFunc(all, strings.Compare)
	return all
}
