package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Publication is a port of the host that leads to a container's port (ports: {mode: host}).
type Publication struct {
	Proto    string     `json:"proto"`           // tcp or udp
	HostIP   netip.Addr `json:"hostIP,omitzero"` // zero: all addresses of the node
	HostPort uint16     `json:"hostPort"`
	Port     uint16     `json:"port"`
}

// String is the host's side, as people write it.
func (p Publication) String() string {
	if p.HostIP.IsValid() {
		return fmt.Sprintf("%s:%d/%s", p.HostIP, p.HostPort, p.Proto)
	}
	return fmt.Sprintf("%d/%s", p.HostPort, p.Proto)
}

// Check refuses what cannot be published.
func (p Publication) Check() error {
	switch {
	case p.Proto != "tcp" && p.Proto != "udp":
		return fmt.Errorf("port %s: only tcp and udp are published", p)
	case p.HostPort == 0:
		return fmt.Errorf("port %d/%s of the container: name the host's port (published): one chosen by itself could be told to nobody", p.Port, p.Proto)
	case p.Port == 0:
		return fmt.Errorf("port %s: leads to no port of the container", p)
	case p.HostIP.IsValid() && !p.HostIP.Is4():
		return fmt.Errorf("port %s: only IPv4 addresses of the node are published", p)
	}
	return nil
}

// Doorway is a publication and where it leads.
type Doorway struct {
	Publication
	To netip.Addr
}

// Doorways are those of all joined endpoints, sorted.
func (s State) Doorways() []Doorway {
	var all []Doorway
	for _, e := range s.Endpoints {
		if e.Phase != Joined {
			continue
		}
		for _, p := range e.Published {
			all = append(all, Doorway{p, e.Address})
		}
	}
	slices.SortFunc(all, func(a, b Doorway) int {
		return cmp.Or(cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Proto, b.Proto), a.HostIP.Compare(b.HostIP), a.To.Compare(b.To))
	})
	return all
}

// CanPublish refuses ports of the host for containers of a physical network: they answer clients there directly, past
// the node's translation.
func (n Network) CanPublish() error {
	if g := n.Options.Segment(); !g.IsZero() {
		return fmt.Errorf("network %s is of mode l2: its containers have addresses of the physical network, and no ports of the host: remove the published ports, or publish by another network of the service", n.ID.Short())
	}
	return nil
}
