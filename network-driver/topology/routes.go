package topology

import (
	"net/netip"
	"slices"
)

// Route sends a prefix to a node. Without a next hop it is a withdrawal.
type Route struct {
	Prefix netip.Prefix
	Via    netip.Addr
}

// Learnt is what the speaker told of other nodes' addresses.
type Learnt map[netip.Prefix]netip.Addr

// Take keeps what the speaker said.
func (l Learnt) Take(changes []Route) {
	for _, r := range changes {
		if r.Via.IsValid() {
			l[r.Prefix] = r.Via
		} else {
			delete(l, r.Prefix)
		}
	}
}

// Guard is what no learnt route may ever take away: addresses of containers on this node, and of the Swarm's nodes and
// the site's routers, on which BGP itself stands.
type Guard struct {
	own     map[netip.Addr]bool
	members map[netip.Addr]bool
}

// NewGuard guards the addresses of the state, of the membership and of the routers.
func NewGuard(s State, m Membership, routers []Router) Guard {
	g := Guard{own: map[netip.Addr]bool{}, members: map[netip.Addr]bool{m.Self: true}}
	for _, a := range s.Addresses() {
		g.own[a] = true
	}
	for _, a := range slices.Concat(m.Managers, m.Nodes) {
		g.members[a] = true
	}
	for _, r := range routers {
		g.members[r.Address] = true
	}
	return g
}

// Installs says that the kernel may have the route: one host's address, not guarded, by way of another node.
func (g Guard) Installs(r Route) bool {
	a := r.Prefix.Addr()
	return r.Prefix.IsSingleIP() && a.Is4() && !g.own[a] && !g.members[a] && r.Via.Is4() && r.Via != a && !unroutable(a)
}

func unroutable(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// Routes are the learnt ones that the kernel should have, sorted.
func (l Learnt) Routes(g Guard) []Route {
	var all []Route
	for p, via := range l {
		if r := (Route{p, via}); g.Installs(r) {
			all = append(all, r)
		}
	}
	SortRoutes(all)
	return all
}

// SortRoutes orders by prefix.
func SortRoutes(routes []Route) {
	slices.SortFunc(routes, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
}

// String is the route as the kernel shows it.
func (r Route) String() string { return r.Prefix.String() + " via " + r.Via.String() }
