// Package fabric decides with whom this node speaks BGP and what it says to whom. It knows the settings of the site's
// routers, the Swarm's members and the marks that routes carry; it knows no BGP library, no socket and no file.
package fabric

import (
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Router is one of the site's routers, with all that a setting may say of it.
type Router struct {
	topology.Router
	From        []string // who dials it: managers, nodes, a node's address, or an engine label KEY=VALUE
	Own         bool     // it is told only this node's own addresses, not those of all others
	BFD         bool     // single hop: whether we are there is told within half a second
	Password    string   // names a file with the key of TCP MD5 (RFC 2385)
	Communities []Community
	Hops        uint8         // how far away an eBGP router may be; 0: a few
	Security    uint8         // TTL security (RFC 5082): it is at most so many hops away; 0: off
	Hold        time.Duration // 0: as inside the Swarm
	Keep        time.Duration // long-lived graceful restart (RFC 9494): how long it may keep our routes; 0: not
	Forgetful   bool          // no graceful restart: it forgets us as soon as the session ends
}

const (
	fromManagers = "managers"
	fromNodes    = "nodes"
)

// Plain are the routers without what only BGP wants to know.
func Plain(routers []Router) []topology.Router {
	var all []topology.Router
	for _, r := range routers {
		all = append(all, r.Router)
	}
	return all
}

// Dialled says that a member peers with the router.
func (r Router) Dialled(m topology.Membership) bool {
	return m.Self.IsValid() && slices.ContainsFunc(r.From, func(who string) bool {
		switch who {
		case fromManagers:
			return m.Manager
		case fromNodes:
			return true
		}
		return who == m.Self.String() || slices.Contains(m.Labels, who)
	})
}

// Neighbours are the sessions that a member keeps: those inside the Swarm, and those with the routers that it dials.
// A router that has become a member of the Swarm is one.
func Neighbours(m topology.Membership, routers []Router, asn uint32, port int) []topology.Neighbour {
	all := topology.Neighbours(m, nil, asn, port)
	for _, r := range routers {
		if r.Dialled(m) && !m.Has(r.Address) {
			all = append(all, topology.Neighbour{Address: r.Address, ASN: r.ASN, Port: r.Port, Client: r.ASN == asn && !r.Own, Router: true})
		}
	}
	slices.SortFunc(all, func(a, b topology.Neighbour) int { return a.Address.Compare(b.Address) })
	return all
}

// Nodes are the addresses of those neighbours whose kernels are asked whether they are there: the Swarm's.
func Nodes(all []topology.Neighbour) []netip.Addr {
	var found []netip.Addr
	for _, n := range all {
		if !n.Router {
			found = append(found, n.Address)
		}
	}
	return found
}

// WithBFD are the routers that this member dials and that BFD is wanted with.
func WithBFD(m topology.Membership, routers []Router) []netip.Addr {
	var found []netip.Addr
	for _, r := range routers {
		if r.BFD && r.Dialled(m) && !m.Has(r.Address) {
			found = append(found, r.Address)
		}
	}
	return found
}

// Announcement is an address of a container here.
type Announcement struct {
	Address netip.Addr
	Pool    netip.Prefix // routers are told it in the address's stead; invalid: they are told the address
	Mark    isolation.Number
	Near    bool // on a physical network: its neighbours find it by ARP, and only whose it is need be told
}
