package doctor

import "github.com/rolling-swarm/rolling/internal/wire"

// Coverage is how far a node's routes are what the Swarm's tasks imply, in figures. They are counts: a stale route and a
// missing one even out, which Examine tells apart.
type Coverage struct {
	Node      string
	Own       int // addresses of tasks on the node
	Announced int
	Implied   int // addresses of tasks on the other nodes that announce theirs
	Held      int // routes to other nodes' containers
	Peers     int
	PeersUp   int
	Drained   bool
}

// Cover counts on every node whose network plugin answered. Addresses on nodes that tell nothing are implied nowhere.
func Cover(p Picture) []Coverage {
	var all []Coverage
	own, total := map[string]int{}, 0
	for _, n := range p.driven() {
		waits := map[string]bool{}
		for _, e := range n.Facts.Driver.Endpoints {
			if e.Awaited {
				waits[e.Address.String()] = true
			}
		}
		for _, a := range p.Addresses {
			if a.Node == n.Name && !waits[a.Address.String()] {
				own[n.Name]++
				total++
			}
		}
	}
	for _, n := range p.driven() {
		d := n.Facts.Driver
		c := Coverage{Node: n.Name, Own: own[n.Name], Implied: total - own[n.Name], Held: d.Held, Peers: len(d.Neighbours), Drained: d.Drained}
		for _, e := range d.Endpoints {
			if !e.Awaited {
				c.Announced++
			}
		}
		for _, x := range d.Neighbours {
			if x.State == wire.Established {
				c.PeersUp++
			}
		}
		all = append(all, c)
	}
	return all
}
