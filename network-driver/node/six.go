package node

import (
	"fmt"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// six makes all that IPv6 needs so.
func (n *Node) six() {
	if n.parts.Six != nil {
		n.note("ipv6", n.parts.Six.Set(topology.SixOf(n.state, n.guard(), n.borders)))
	}
}

// sixCheck follows a container that comes or goes.
func (n *Node) sixCheck() {
	if n.parts.Six != nil {
		n.note("ipv6 sources", n.parts.Six.Check(topology.SixOf(n.state, n.guard(), nil).Legs))
	}
}

// announceSix is how an endpoint's IPv6 address is announced, if it has one.
func (n *Node) announceSix(e topology.Endpoint, w topology.Network, g topology.Guard) (fabric.Announcement, error) {
	none := fabric.Announcement{}
	if !e.Address6.IsValid() {
		return none, nil
	}
	if err := g.Holds(e.Address6); err != nil {
		return none, err
	}
	if why := n.uplink.NoSix(); why != "" {
		return none, fmt.Errorf("%s is not announced: %s", e.Address6, why)
	}
	a := fabric.Announcement{Address: e.Address6}
	if w.Options.Aggregate {
		a.Pool = w.SixPool()
	}
	return a, nil
}
