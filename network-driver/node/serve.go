package node

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// Balancer serves virtual addresses. It is told what this node has, and does not keep it waiting.
type Balancer interface {
	Place(vip.Place)
}

// serving is what the balancer asks of the node.
type serving struct {
	announce map[netip.Addr]topology.NetworkID // virtual addresses with a backend here
	watch    map[netip.Addr]bool               // backends anywhere
}

// Serve announces virtual addresses beside the containers' own, and tells the balancer when one of the watched addresses
// comes or goes.
func (n *Node) Serve(ctx context.Context, announce map[netip.Addr]topology.NetworkID, watch map[netip.Addr]bool) {
	select {
	case n.serve <- serving{announce, watch}:
	case <-ctx.Done():
	}
}

func (n *Node) served(s serving) {
	n.serving = s
	if n.refused == nil {
		n.announce()
	}
}

// place tells the balancer. Addresses elsewhere are those of learnt routes, which go within tenths of a second of a node's
// loss of power.
func (n *Node) place() {
	if n.parts.Balancer == nil || n.refused != nil {
		return
	}
	p := vip.Place{Ready: true, Pools: n.pools(), Watched: n.serving.watch, Far: map[netip.Addr]bool{}, Nodes: map[netip.Addr]netip.Addr{}}
	for _, id := range slices.Sorted(maps.Keys(n.state.Endpoints)) {
		if e := n.state.Endpoints[id]; e.Phase == topology.Joined {
			p.Endpoints = append(p.Endpoints, vip.Endpoint{ID: id, Network: e.Network, Address: e.Address, Box: topology.BoxOf(e.Sandbox)})
		}
	}
	far := n.far()
	for a := range n.serving.watch {
		via := far[netip.PrefixFrom(a, a.BitLen())]
		if _, told := n.apart.marks[a]; told || via.IsValid() { // what is only told of is on a physical network
			p.Far[a] = true
		}
		if via.IsValid() {
			p.Nodes[a] = via
		}
	}
	n.parts.Balancer.Place(p)
}

// pools are those of all containers anywhere: the fast path may carry the answer to any of them past the node.
func (n *Node) pools() []netip.Prefix {
	all := topology.OfOneFamily(slices.Concat(n.state.Pools(), n.apart.document.Pools), false)
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// concerns says that one of the routes is to a watched address.
func (n *Node) concerns(routes []topology.Route) bool {
	return slices.ContainsFunc(routes, func(r topology.Route) bool { return n.serving.watch[r.Prefix.Addr()] })
}
