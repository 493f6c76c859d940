package topology

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Uplink is how this node stands in its own network.
type Uplink struct {
	MTU      int            `json:"mtu"`
	Names    []string       `json:"names"`        // of all interfaces by which other nodes may send, sorted
	Prefixes []netip.Prefix `json:"prefixes"`     // those that the uplink is connected to, masked
	Host     []netip.Addr   `json:"host"`         // all addresses of the node itself, not only the uplink's
	Six      netip.Addr     `json:"six,omitzero"` // by which other nodes send IPv6 here: link-local if it has no other
}

// Guard is what neither a pool, nor a container, nor a learnt route may ever take away: the addresses of this node, of
// the Swarm's other nodes and of the site's routers, on which BGP itself stands, and the networks that this node's
// uplink is connected to. Learnt routes leave the addresses of this node's containers alone, too.
type Guard struct {
	containers map[netip.Addr]bool
	holders    map[netip.Addr]string // who has an address, in words
	connected  []netip.Prefix
}

// NewGuard guards the addresses of the state, of the membership and of the routers, and those of the uplink.
func NewGuard(s State, m Membership, routers []Router, u Uplink) Guard {
	g := Guard{containers: map[netip.Addr]bool{}, holders: map[netip.Addr]string{}, connected: u.Prefixes}
	for _, e := range s.Endpoints {
		if e.Phase == Joined {
			g.containers[e.Address], g.containers[e.Address6] = true, true
		}
	}
	for _, a := range slices.Concat(m.Managers, m.Nodes) {
		g.holders[a] = "another node's"
	}
	for _, r := range routers {
		g.holders[r.Address] = "a router's"
	}
	for _, a := range append(slices.Clone(u.Host), m.Self) {
		g.holders[a] = "this node's own"
	}
	return g
}

// Installs says that the kernel may have the route: one host's address, not guarded, by way of another node.
func (g Guard) Installs(r Route) bool {
	a := r.Prefix.Addr()
	return !r.Near && r.Prefix.IsSingleIP() && (a.Is4() || usable(a)) && !g.containers[a] && r.Via.IsValid() && r.Via.Is4() == a.Is4() && r.Via != a && g.Wires(a) == nil
}

// Attaches refuses an address that no container may have on a physical network, which may well be the nodes' own.
func (g Guard) Attaches(a netip.Addr) error {
	if who, held := g.holders[a]; held {
		return fmt.Errorf("address %s is %s: keep it out of the network's choice with --ipam-opt %s=FIRST-LAST", a, who, contract.Range)
	}
	if other, what, reserved := contract.Reserved(netip.PrefixFrom(a, a.BitLen())); reserved {
		return fmt.Errorf("address %s lies in %s (%s): no container can have it", a, other, what)
	}
	return nil
}

// Wires refuses an address that no container may have.
func (g Guard) Wires(a netip.Addr) error {
	if err := g.Holds(a); err != nil {
		return err
	}
	if other, what, reserved := contract.Reserved(netip.PrefixFrom(a, a.BitLen())); reserved {
		return fmt.Errorf("address %s lies in %s (%s): no container can have it", a, other, what)
	}
	for _, p := range g.connected {
		if p.Contains(a) {
			return fmt.Errorf("address %s lies in %s, which this node's uplink is connected to: the pool must not overlap the nodes' own network: make the network anew with another subnet", a, p)
		}
	}
	return nil
}

// Holds refuses an address that somebody has who is no container: with a route to a container it would be cut off.
func (g Guard) Holds(a netip.Addr) error {
	if who, held := g.holders[a]; held {
		return fmt.Errorf("address %s is %s: the pool must not overlap the nodes' own network: make the network anew with another subnet", a, who)
	}
	return nil
}

// Allows refuses a pool that reaches into the nodes' own network.
func (g Guard) Allows(pool netip.Prefix) error {
	for _, p := range g.connected {
		if p.Overlaps(pool) {
			return fmt.Errorf("its subnet %s overlaps %s, which this node's uplink is connected to: containers would take the addresses of nodes and routers: choose another", pool, p)
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(g.holders), netip.Addr.Compare) {
		if pool.Contains(a) {
			return fmt.Errorf("its subnet %s holds %s, which is %s: a container would cut it off: choose another", pool, a, g.holders[a])
		}
	}
	return nil
}
