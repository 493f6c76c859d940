package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Membership is what the engine says of the Swarm, as far as a speaker must know it. It is kept on disk, so that a
// node whose engine is still starting peers with whom it peered before.
type Membership struct {
	Self     netip.Addr   `json:"self"`
	Manager  bool         `json:"manager"`
	Managers []netip.Addr `json:"managers"`         // others than Self
	Nodes    []netip.Addr `json:"nodes"`            // others than Self; only a manager is told them
	Labels   []string     `json:"labels,omitempty"` // of this node's engine, KEY=VALUE
}

// Equal compares two memberships whose lists are sorted.
func (m Membership) Equal(o Membership) bool {
	return m.Self == o.Self && m.Manager == o.Manager && slices.Equal(m.Managers, o.Managers) && slices.Equal(m.Nodes, o.Nodes) &&
		slices.Equal(m.Labels, o.Labels)
}

// Has says that the address belongs to a member of the Swarm, as far as this node knows.
func (m Membership) Has(a netip.Addr) bool {
	return a.IsValid() && (m.Self == a || slices.Contains(m.Managers, a) || slices.Contains(m.Nodes, a))
}

// Router is one of the site's routers, from the settings.
type Router struct {
	Address netip.Addr
	Port    int
	ASN     uint32
}

// String is the router as a setting names it.
func (r Router) String() string { return fmt.Sprintf("%s:%d@%d", r.Address, r.Port, r.ASN) }

// standardPort is where a site's router listens unless the setting says otherwise (RFC 4271).
const standardPort = 179

// ParseRouters reads `addr[:port][@asn]` words, separated by commas or spaces. Routers without an AS number share ours.
func ParseRouters(text string, asn uint32) ([]Router, error) {
	var routers []Router
	for _, word := range words(text) {
		r, err := parseRouter(word, asn)
		if err != nil {
			return nil, fmt.Errorf("router %q: %w: want addr[:port][@asn], such as 10.0.0.1:179@64512", word, err)
		}
		if slices.ContainsFunc(routers, func(o Router) bool { return o.Address == r.Address }) {
			return nil, fmt.Errorf("router %q: %s is named twice", word, r.Address)
		}
		routers = append(routers, r)
	}
	return routers, nil
}

func parseRouter(word string, asn uint32) (Router, error) {
	r := Router{Port: standardPort, ASN: asn}
	rest, as, hasAS := strings.Cut(word, "@")
	if hasAS {
		n, err := strconv.ParseUint(as, 10, 32)
		if err != nil || n == 0 {
			return r, fmt.Errorf("%q is not an AS number", as)
		}
		r.ASN = uint32(n)
	}
	host, port, hasPort := strings.Cut(rest, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return r, fmt.Errorf("%q is not a port", port)
		}
		r.Port = int(n)
	}
	a, err := netip.ParseAddr(host)
	if err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast() {
		return r, fmt.Errorf("%q is not the IPv4 address of a router", host)
	}
	r.Address = a
	return r, nil
}

// Neighbour is one BGP session that the speaker should keep.
type Neighbour struct {
	Address netip.Addr
	ASN     uint32
	Port    int
	Passive bool // the other side dials
	Client  bool // we reflect to it, and its routes to all others
	Router  bool // of the site: it learns from us, and we learn nothing from it
}

// String is the neighbour in one line.
func (n Neighbour) String() string {
	words := []string{fmt.Sprintf("%s:%d@%d", n.Address, n.Port, n.ASN), "dial"}
	if n.Passive {
		words[1] = "wait"
	}
	if n.Client {
		words = append(words, "client")
	}
	if n.Router {
		words = append(words, "router")
	}
	return strings.Join(words, " ")
}

// Neighbours are the sessions that a member keeps: every node with the managers, who reflect to all other nodes and to
// the site's routers. Of two members the one with the lower address dials, whatever their roles: when both dial, gobgp's
// speakers can each keep another of the two connections and wait for the hold time (seen on a busy machine), and when
// it depended on roles, a promotion would need a new session, and cost the routes of the node meanwhile.
func Neighbours(m Membership, routers []Router, asn uint32, port int) []Neighbour {
	if !m.Self.IsValid() {
		return nil
	}
	var all []Neighbour
	for _, a := range m.Managers {
		if a != m.Self {
			all = append(all, Neighbour{Address: a, ASN: asn, Port: port, Passive: a.Less(m.Self)})
		}
	}
	if m.Manager {
		for _, a := range m.Nodes {
			if a != m.Self && !slices.Contains(m.Managers, a) {
				all = append(all, Neighbour{Address: a, ASN: asn, Port: port, Passive: a.Less(m.Self), Client: true})
			}
		}
		for _, r := range routers {
			if !m.Has(r.Address) {
				all = append(all, Neighbour{Address: r.Address, ASN: r.ASN, Port: r.Port, Client: r.ASN == asn, Router: true})
			}
		}
	}
	slices.SortFunc(all, func(a, b Neighbour) int { return a.Address.Compare(b.Address) })
	return slices.CompactFunc(all, func(a, b Neighbour) bool { return a.Address == b.Address })
}

// ParsePools reads prefixes, separated by commas or spaces.
func ParsePools(text string) ([]netip.Prefix, error) {
	var pools []netip.Prefix
	for _, word := range words(text) {
		p, err := netip.ParsePrefix(word)
		if err != nil || p.Addr().Is4In6() || p.Bits() == 0 || p != p.Masked() {
			return nil, fmt.Errorf("pool %q: want a prefix such as 10.210.0.0/16 or fd00:10:201::/96, without bits behind its length", word)
		}
		pools = append(pools, p)
	}
	return pools, nil
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' })
}
