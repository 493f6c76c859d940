// Package topology decides what this node's kernel and its BGP speaker should hold. It knows networks, endpoints, the
// Swarm's members and the routers of the settings. It knows no netlink, no BGP, no file and no clock: time comes in as
// a value, and what should be true goes out for the edges to make true.
package topology

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// NetworkID and EndpointID are the engine's 64 hexadecimal digits.
type (
	NetworkID  string
	EndpointID string
)

// Short is what people and interface names see of an id.
func (id EndpointID) Short() string { return string(id[:min(len(id), 12)]) }

// Short is what people see of an id.
func (id NetworkID) Short() string { return string(id[:min(len(id), 12)]) }

// Network is what CreateNetwork told this node of a Swarm network.
type Network struct {
	ID      NetworkID    `json:"id"`
	Pool    netip.Prefix `json:"pool"`
	Gateway netip.Addr   `json:"gateway"`
	Options Options      `json:"options"`
}

// Phase is how far an endpoint has come.
type Phase string

const (
	Created Phase = "created" // the engine named it; nothing is in the kernel
	Joined  Phase = "joined"  // its link is in the kernel
	Lost    Phase = "lost"    // it was joined, and its link has gone without a Leave
)

// Endpoint is one container's leg in one network.
type Endpoint struct {
	ID      EndpointID `json:"id"`
	Network NetworkID  `json:"network"`
	Address netip.Addr `json:"address"`
	// Address6 is derived, in networks with IPv6.
	Address6 netip.Addr `json:"address6,omitzero"`
	MAC      string     `json:"mac"`
	Phase    Phase      `json:"phase"`
	Bits     int        `json:"bits,omitempty"` // of the address's prefix; 0: not said
	MTU      int        `json:"mtu,omitempty"`
	Sandbox  string     `json:"sandbox,omitempty"`
	LostAt   time.Time  `json:"lostAt,omitzero"`
	JoinedAt time.Time  `json:"joinedAt,omitzero"` // its link was made
	// HealthyAt: somebody said that its container's check had passed. Only networks that ask for it have it.
	HealthyAt time.Time `json:"healthyAt,omitzero"`
	// Published are the ports of the host that lead to it.
	Published []Publication `json:"published,omitempty"`
	// HomeAt: since when its link's other end has been in no container.
	HomeAt time.Time `json:"homeAt,omitzero"`
}

// State is all that the engine has told this node and not yet taken back.
type State struct {
	Networks  map[NetworkID]Network
	Endpoints map[EndpointID]Endpoint
}

// NewState is a node that was told nothing yet.
func NewState() State {
	return State{Networks: map[NetworkID]Network{}, Endpoints: map[EndpointID]Endpoint{}}
}

// Change is what a call does to the state: the store writes it in one transaction, and Apply makes it true in memory.
type Change struct {
	PutNetworks   []Network
	DropNetworks  []NetworkID
	PutEndpoints  []Endpoint
	DropEndpoints []EndpointID
}

// Empty says that there is nothing to write.
func (c Change) Empty() bool {
	return len(c.PutNetworks)+len(c.DropNetworks)+len(c.PutEndpoints)+len(c.DropEndpoints) == 0
}

// Apply makes the change true.
func (s State) Apply(c Change) {
	for _, n := range c.PutNetworks {
		s.Networks[n.ID] = n
	}
	for _, id := range c.DropNetworks {
		delete(s.Networks, id)
	}
	for _, e := range c.PutEndpoints {
		s.Endpoints[e.ID] = e
	}
	for _, id := range c.DropEndpoints {
		delete(s.Endpoints, id)
	}
}

// Clone is a copy that later changes do not reach.
func (s State) Clone() State {
	return State{Networks: maps.Clone(s.Networks), Endpoints: maps.Clone(s.Endpoints)}
}

// Network returns the network, or an error that says what to do about it.
func (s State) Network(id NetworkID) (Network, error) {
	n, ok := s.Networks[id]
	if !ok {
		return Network{}, fmt.Errorf("network %s is not known on this node: the engine sends CreateNetwork before it uses one; if it did, restart the task", id.Short())
	}
	return n, nil
}

// Endpoint returns the endpoint, or an error that says what to do about it.
func (s State) Endpoint(network NetworkID, id EndpointID) (Endpoint, error) {
	e, ok := s.Endpoints[id]
	if !ok || e.Network != network {
		return Endpoint{}, fmt.Errorf("endpoint %s of network %s is not known on this node: the engine sends CreateEndpoint first; if it did, restart the container", id.Short(), network.Short())
	}
	return e, nil
}

// In returns the endpoints of a network, sorted.
func (s State) In(network NetworkID) []Endpoint {
	var found []Endpoint
	for _, id := range slices.Sorted(maps.Keys(s.Endpoints)) {
		if e := s.Endpoints[id]; e.Network == network {
			found = append(found, e)
		}
	}
	return found
}

// Holder returns the joined endpoint, other than except, that has the address.
func (s State) Holder(address netip.Addr, except EndpointID) (Endpoint, bool) {
	for _, e := range s.Endpoints {
		if e.Address == address && e.ID != except && e.Phase == Joined {
			return e, true
		}
	}
	return Endpoint{}, false
}

// Addresses are those that this node answers for, sorted: what it announces, and never routes elsewhere.
func (s State) Addresses() []netip.Addr {
	var all []netip.Addr
	for _, e := range s.Endpoints {
		if e.Phase == Joined {
			all = append(all, e.Address)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// MACOf is 02:42 and the address: a container that moves keeps its neighbours' ARP entries true.
func MACOf(address netip.Addr) string {
	b := address.As4()
	return fmt.Sprintf("02:42:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}
