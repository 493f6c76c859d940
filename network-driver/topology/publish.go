package topology

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Publication is a port of the host that leads to a container's port (ports: {mode: host}).
type Publication struct {
	Proto    string     `json:"proto"`           // tcp or udp
	HostIP   netip.Addr `json:"hostIP,omitzero"` // zero: all addresses of the node; 0.0.0.0 or ::: all of one family
	HostPort uint16     `json:"hostPort"`
	Port     uint16     `json:"port"`
}

// String is the host's side, as people write it.
func (p Publication) String() string {
	if p.HostIP.IsValid() {
		return netip.AddrPortFrom(p.HostIP, p.HostPort).String() + "/" + p.Proto
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
	case p.HostIP == netip.IPv6Loopback():
		return fmt.Errorf("port %s: the kernel translates nothing that is asked of ::1: publish on 127.0.0.1, or on all addresses", p)
	case p.HostIP.IsValid() && p.HostIP.Is6() && (p.HostIP.Zone() != "" || p.HostIP.Is4In6() || p.HostIP.IsLinkLocalUnicast()):
		return fmt.Errorf("port %s: no link-local or mapped address is published: name a global one, or none", p)
	}
	return nil
}

// in says whether it is asked of one family's addresses.
func (p Publication) in(six bool) bool { return !p.HostIP.IsValid() || p.HostIP.Is6() == six }

// meets says that no two containers can have both.
func (p Publication) meets(o Publication) bool {
	every := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
	if p.Proto != o.Proto || p.HostPort != o.HostPort {
		return false
	}
	if p.HostIP.IsValid() && o.HostIP.IsValid() && p.HostIP.Is4() != o.HostIP.Is4() {
		return false
	}
	return every(p.HostIP) || every(o.HostIP) || p.HostIP == o.HostIP
}

// Doorway is a publication of one family, and where it leads.
type Doorway struct {
	Publication
	To   netip.Addr
	Link string // the host end of the container's link
}

// Six says that it is one of IPv6.
func (w Doorway) Six() bool { return w.To.Is6() }

// DoorwaysOf are those of one endpoint: each publication leads to the container's address of each family that it has.
func DoorwaysOf(e Endpoint, published []Publication) []Doorway {
	var all []Doorway
	for _, p := range published {
		if p.in(false) {
			all = append(all, Doorway{p, e.Address, HostEnd(e.ID)})
		}
		if p.in(true) && e.Address6.IsValid() {
			all = append(all, Doorway{p, e.Address6, HostEnd(e.ID)})
		}
	}
	return all
}

// Doorways are those of all joined endpoints, sorted.
func (s State) Doorways() []Doorway {
	var all []Doorway
	for _, e := range s.Endpoints {
		if e.Phase == Joined {
			all = append(all, DoorwaysOf(e, e.Published)...)
		}
	}
	slices.SortFunc(all, func(a, b Doorway) int {
		return cmp.Or(cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Proto, b.Proto), a.HostIP.Compare(b.HostIP), a.To.Compare(b.To))
	})
	return all
}

// CanPublish refuses ports of the host that could not lead to an endpoint, all problems at once.
func (s State) CanPublish(e Endpoint, ports []Publication) error {
	problems := []error{s.Networks[e.Network].canPublish()}
	for _, p := range ports {
		if err := p.Check(); err != nil {
			problems = append(problems, err)
			continue
		}
		if p.HostIP.IsValid() && p.HostIP.Is6() && !e.Address6.IsValid() {
			problems = append(problems, fmt.Errorf("port %s: the container has no IPv6 address: give its network one (rolling.ipv6), or publish on IPv4 addresses", p))
		}
		for _, w := range s.Doorways() {
			if w.To != e.Address && w.To != e.Address6 && w.meets(p) {
				problems = append(problems, fmt.Errorf("port %s of the node is taken: it leads to %s already, the container of endpoint %s: publish another", p, w.To, s.ownerOf(w)))
				break
			}
		}
	}
	return errors.Join(problems...)
}

// ownerOf names the endpoint that a doorway leads to, and its project.
func (s State) ownerOf(w Doorway) string {
	for id, e := range s.Endpoints {
		if HostEnd(id) == w.Link {
			return id.Short() + " of " + s.Networks[e.Network].Options.Class().String()
		}
	}
	return w.Link
}

// canPublish refuses ports of the host for containers of a physical network: they answer clients there directly, past
// the node's translation.
func (n Network) canPublish() error {
	if g := n.Options.Segment(); !g.IsZero() {
		return fmt.Errorf("network %s is of mode l2: its containers have addresses of the physical network, by which they are reached at their own ports, and no ports of the host: remove the published ports, or publish by another network of the service", n.ID.Short())
	}
	return nil
}
