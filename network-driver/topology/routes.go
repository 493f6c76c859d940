package topology

import (
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// Route sends a prefix to a node. Without a next hop it is a withdrawal. A link-local next hop is good on one link alone:
// its zone is the IPv4 address of the node that it belongs to, on whose link it is.
// The mark says whose the address is; the kernel knows none.
type Route struct {
	Prefix netip.Prefix
	Via    netip.Addr
	Mark   isolation.Number
	Near   bool // it lies on a physical network: only its mark counts, and nobody routes to it
}

// Learnt is what the speaker told of other nodes' addresses.
type Learnt map[netip.Prefix]netip.Addr

// Take keeps what the speaker said.
func (l Learnt) Take(changes []Route) {
	for _, r := range changes {
		if r.Via.IsValid() && !r.Near {
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
		if r := (Route{Prefix: p, Via: via}); g.Installs(r) {
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

// Marks are what came with the routes to single addresses.
type Marks map[netip.Addr]isolation.Number

// Take keeps what the speaker said, and tells the addresses of which that is news.
func (m Marks) Take(changes []Route) []netip.Addr {
	var news []netip.Addr
	for _, r := range changes {
		a := r.Prefix.Addr()
		before, known := m[a]
		switch {
		case !r.Prefix.IsSingleIP():
			continue
		case r.Via.IsValid():
			m[a] = r.Mark
		default:
			delete(m, a)
		}
		if after, knows := m[a]; knows != known || after != before {
			news = append(news, a)
		}
	}
	return news
}
