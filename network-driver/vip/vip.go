// Package vip decides which virtual addresses this node serves, and by which containers: what each container's own
// network namespace should rewrite, what the node should rewrite for clients outside, and which of these addresses the
// fabric should be told. It knows what Swarm says of services, what the engine says of containers here, and what is
// announced of those elsewhere. It knows no Docker, no netlink, no file and no clock: time comes in as a value.
package vip

import (
	"cmp"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Task is one of a service's containers, as Swarm tells every node that runs one of the network.
type Task struct {
	Endpoint topology.EndpointID `json:"endpoint"`
	Address  netip.Addr          `json:"address"`
	// Leaving: Swarm took it out of the service's name, since it decided to stop it, or since it is not healthy.
	Leaving bool `json:"leaving,omitempty"`
}

// Service is a name with a virtual address in one network.
type Service struct {
	Network topology.NetworkID `json:"network"`
	Name    string             `json:"name"`
	VIP     netip.Addr         `json:"vip"`
	Tasks   []Task             `json:"tasks"`
}

// Endpoint is a container's leg here.
type Endpoint struct {
	ID      topology.EndpointID
	Network topology.NetworkID
	Address netip.Addr
	Box     string // the container's sandbox
}

// Place is what the node itself knows.
type Place struct {
	Ready     bool       // the node serves; before, nothing here says what should be
	Endpoints []Endpoint // joined ones
	Pools     []netip.Prefix
	Watched   map[netip.Addr]bool       // what was asked for
	Far       map[netip.Addr]bool       // of them those that are announced elsewhere
	Nodes     map[netip.Addr]netip.Addr // by which node each of them is reached, as far as that is known
}

// Covers says that the place tells of all these addresses: a plan made of less would take living backends for dead.
func (p Place) Covers(watched map[netip.Addr]bool) bool {
	for a := range watched {
		if !p.Watched[a] {
			return false
		}
	}
	return true
}

// Balance spreads new flows to a virtual address over its backends. Without any, clients are refused at once.
type Balance struct {
	VIP      netip.Addr   `json:"vip"`
	Backends []netip.Addr `json:"backends"`
}

// Plan is what should be.
type Plan struct {
	Boxes    map[string][]Balance              // by sandbox: for clients inside
	Node     []Balance                         // for clients outside: containers of this node only, so that the client's address is kept
	Ways     []Way                             // for flows from outside that began on another node
	Pools    []netip.Prefix                    // containers' addresses: one that comes to the node as a client must get its answer by the node, too
	Announce []netip.Addr                      // virtual addresses that have a backend here, sorted
	Networks map[netip.Addr]topology.NetworkID // of those
}

// Make is the plan for these services. What the engine does not say of containers here, fit, is taken for well.
func Make(services []Service, p Place, fit map[topology.EndpointID]bool) Plan {
	plan := Plan{Boxes: map[string][]Balance{}, Pools: p.Pools, Networks: map[netip.Addr]topology.NetworkID{}}
	local := map[netip.Addr]topology.EndpointID{}
	boxes := map[topology.NetworkID][]string{}
	for _, e := range p.Endpoints {
		local[e.Address] = e.ID
		if e.Box != "" {
			boxes[e.Network] = append(boxes[e.Network], e.Box)
		}
	}
	node := map[netip.Addr][]netip.Addr{}
	for _, s := range services {
		all := takers(s, p, local, fit)
		for _, box := range boxes[s.Network] {
			plan.Boxes[box] = append(plan.Boxes[box], Balance{s.VIP, turn(all, box, s.VIP)})
		}
		for _, a := range all {
			if _, here := local[a]; here {
				node[s.VIP] = append(node[s.VIP], a)
				plan.Networks[s.VIP] = s.Network
			}
		}
	}
	for box, all := range plan.Boxes {
		slices.SortFunc(all, byVIP)
		plan.Boxes[box] = slices.CompactFunc(all, func(a, b Balance) bool { return a.VIP == b.VIP })
	}
	for _, v := range slices.SortedFunc(maps.Keys(node), netip.Addr.Compare) {
		plan.Node = append(plan.Node, Balance{v, node[v]})
		plan.Announce = append(plan.Announce, v)
	}
	plan.Ways = ways(services, p, local, fit)
	return plan
}

// takers are the addresses that take new flows, sorted: the living ones that stay, and if there are none, those that are
// about to go, which serve until they are stopped.
func takers(s Service, p Place, local map[netip.Addr]topology.EndpointID, fit map[topology.EndpointID]bool) []netip.Addr {
	alive := func(t Task) bool {
		if id, here := local[t.Address]; here {
			well, said := fit[id]
			return well || !said
		}
		return p.Far[t.Address]
	}
	if stay := addresses(s, func(t Task) bool { return alive(t) && !t.Leaving }); len(stay) > 0 {
		return stay
	}
	return addresses(s, alive)
}

// addresses are those of the tasks for which it holds, sorted.
func addresses(s Service, holds func(Task) bool) []netip.Addr {
	var all []netip.Addr
	for _, t := range s.Tasks {
		if holds(t) {
			all = append(all, t.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

func byVIP(a, b Balance) int { return a.VIP.Compare(b.VIP) }

// turn begins the list elsewhere for each client: a hundred clients that ask once must not all ask the same backend.
func turn(all []netip.Addr, box string, v netip.Addr) []netip.Addr {
	if len(all) < 2 {
		return all
	}
	h := fnv.New32a()
	_, _ = h.Write(append([]byte(box), v.AsSlice()...)) // it never fails
	at := int(h.Sum32() % uint32(len(all)))
	return slices.Concat(all[at:], all[:at])
}

// Watched are the addresses of which the plan wants to know whether they are announced elsewhere: backends, and virtual
// ones.
func Watched(services []Service) map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, s := range services {
		all[s.VIP] = true
		for _, t := range s.Tasks {
			all[t.Address] = true
		}
	}
	return all
}

// Question is a network to ask the engine about, and the sandboxes here whose name server knows its services, those that
// know no other network first.
type Question struct {
	Network topology.NetworkID
	Boxes   []string
}

// Questions are what this node has to ask: only of networks that a container here is on.
func Questions(endpoints []Endpoint) []Question {
	legs, boxes := map[string]int{}, map[topology.NetworkID][]string{}
	for _, e := range endpoints {
		legs[e.Box]++
		boxes[e.Network] = append(boxes[e.Network], e.Box)
	}
	var all []Question
	for _, n := range slices.Sorted(maps.Keys(boxes)) {
		q := Question{Network: n}
		for _, b := range boxes[n] {
			if b != "" {
				q.Boxes = append(q.Boxes, b)
			}
		}
		slices.SortFunc(q.Boxes, func(a, b string) int { return cmp.Or(cmp.Compare(legs[a], legs[b]), cmp.Compare(a, b)) })
		all = append(all, q)
	}
	return all
}
