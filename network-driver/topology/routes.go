package topology

import (
	"net/netip"
	"slices"
)

// Route sends a prefix to a node. Without a next hop it is a withdrawal. A link-local next hop is good on one link alone:
// its zone is the IPv4 address of the node that it belongs to, on whose link it is.
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
