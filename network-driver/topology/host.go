package topology

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Link is one container's veth pair: the kernel edge makes it, with the gateway's address on the host end, so that
// the kernel answers the container's ARP without any sysctl, and a /32 route to the container's address.
type Link struct {
	Name     string // of the host end
	Peer     string // of the container's end, until the engine moves and renames it
	Endpoint EndpointID
	Network  NetworkID
	Pool     netip.Prefix
	Gateway  netip.Addr
	Address  netip.Addr
	MAC      string
	MTU      int
	Address6 netip.Addr // none in a network without IPv6
	Gateway6 netip.Addr
	Box      string // the container's sandbox, shortened: what links of one container have in common
	Segment  Segment
}

// Present is a link of ours that the kernel has.
type Present struct {
	Link
	PeerHome bool // the container's end is (still) in the node's namespace: no container has it
	// Asleep, of a bridge's port: a container has it, and the kernel does not yet send by it: the other end is down, or
	// was so a moment ago.
	Asleep bool
}

// Interface names have 15 characters at most.
const idInName = 11

var ownName = regexp.MustCompile(`^rl[0-9a-f]{11}$`)

// HostEnds begins the names of all host ends.
const HostEnds = "rl"

// HostEnd and ContainerEnd name an endpoint's two interfaces.
func HostEnd(id EndpointID) string {
	return HostEnds + strings.ToLower(string(id[:min(len(id), idInName)]))
}

// ContainerEnd names the end that the engine moves into the container.
func ContainerEnd(id EndpointID) string {
	return "rc" + strings.ToLower(string(id[:min(len(id), idInName)]))
}

// HostEndOf is the name that HostEnd gives to the endpoint whose container's end has that name, or nothing.
func HostEndOf(containerEnd string) string {
	id, ours := strings.CutPrefix(containerEnd, "rc")
	if name := HostEnds + id; ours && OwnName(name) {
		return name
	}
	return ""
}

// OwnName says that an interface's name is one that HostEnd gives.
func OwnName(name string) bool { return ownName.MatchString(name) }

// Alias is the text that the host end carries in the kernel: enough to rebuild the state when its file is lost.
func (l Link) Alias() string {
	text := fmt.Sprintf(aliasMark+"e=%s n=%s p=%s g=%s a=%s m=%s t=%d", l.Endpoint, l.Network, l.Pool, l.Gateway, l.Address, l.MAC, l.MTU)
	if l.Address6.IsValid() {
		text += " 6=" + l.Address6.String()
	}
	if l.Box != "" {
		text += " s=" + l.Box
	}
	if !l.Segment.IsZero() {
		text += " l=" + l.Segment.Parent + "/" + string(l.Segment.Attach)
	}
	return text
}

// BoxOf is the end of a sandbox's path, by which one container's endpoints know each other.
func BoxOf(sandbox string) string { return sandbox[strings.LastIndexByte(sandbox, '/')+1:] }

// longestBox keeps an alias, of which the kernel takes 255 bytes, below that. The engine's have 12.
const longestBox = 24

// aliasBox is what an alias tells of a sandbox, if it can.
func aliasBox(sandbox string) string {
	if name := BoxOf(sandbox); len(name) <= longestBox && !strings.ContainsAny(name, " =") {
		return name
	}
	return ""
}

// ParseAlias reads what Alias wrote. Fields that it does not know are another version's, and are passed over: a plugin
// that was upgraded and went back must know its links again.
func ParseAlias(alias string) (Link, error) {
	var l Link
	rest, ours := strings.CutPrefix(alias, aliasMark)
	if !ours {
		return l, fmt.Errorf("alias %q is not one of ours", alias)
	}
	for _, f := range strings.Fields(rest) {
		key, value, _ := strings.Cut(f, "=")
		if err := l.setField(key, value); err != nil {
			return Link{}, fmt.Errorf("alias %q: %w", alias, err)
		}
	}
	if l.Endpoint == "" || l.Network == "" || !l.Pool.IsValid() || !l.Gateway.Is4() || !l.Address.Is4() {
		return Link{}, fmt.Errorf("alias %q lacks a field", alias)
	}
	l.Name, l.Peer = HostEnd(l.Endpoint), ContainerEnd(l.Endpoint)
	if l.Address6.IsValid() {
		l.Gateway6 = SixGateway(l.Gateway)
	}
	return l, nil
}

// aliasMark begins every alias of ours.
const aliasMark = "rolling "

// OwnAlias says that an interface carries a text of ours.
func OwnAlias(alias string) bool { return strings.HasPrefix(alias, aliasMark) }

func (l *Link) setField(key, value string) (err error) {
	switch key {
	case "e":
		l.Endpoint = EndpointID(value)
	case "n":
		l.Network = NetworkID(value)
	case "p":
		l.Pool, err = netip.ParsePrefix(value)
	case "g":
		l.Gateway, err = netip.ParseAddr(value)
	case "a":
		l.Address, err = netip.ParseAddr(value)
	case "m":
		l.MAC = value
	case "t":
		l.MTU, err = strconv.Atoi(value)
	case "6":
		l.Address6, err = netip.ParseAddr(value)
	case "s":
		l.Box = value
	case "l":
		parent, attach, _ := strings.Cut(value, "/")
		l.Segment = Segment{Parent: parent, Attach: Attach(attach)}
	}
	return err
}

// LinkOf is the link that a joined endpoint has.
func (s State) LinkOf(e Endpoint) Link {
	n := s.Networks[e.Network]
	l := Link{
		Name: HostEnd(e.ID), Peer: ContainerEnd(e.ID), Endpoint: e.ID, Network: e.Network,
		Pool: n.Pool, Gateway: n.Gateway, Address: e.Address, MAC: e.MAC, MTU: e.MTU, Box: aliasBox(e.Sandbox),
		Address6: e.Address6,
		Segment:  n.Options.Segment(),
	}
	if l.Address6.IsValid() && l.Gateway.Is4() {
		l.Gateway6 = SixGateway(l.Gateway)
	}
	return l
}

// Links are those that the kernel should have, sorted by name. Lost ones are not among them: making them again would
// give the host an interface that no container holds.
func (s State) Links() []Link {
	var all []Link
	for _, e := range s.Endpoints {
		if _, known := s.Networks[e.Network]; known && e.Phase == Joined {
			all = append(all, s.LinkOf(e))
		}
	}
	slices.SortFunc(all, func(a, b Link) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Pools are the prefixes whose forwarding the host's firewall must accept, sorted. Those of l2 networks are not among
// them: their packets are bridged, and whatever of the same subnet is routed is none of ours.
func (s State) Pools() []netip.Prefix {
	var all []netip.Prefix
	for _, n := range s.Networks {
		if n.Options.Segment().IsZero() {
			all = append(all, n.Pool.Masked())
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// Graces are how long an endpoint may look abandoned.
type Graces struct {
	Lost time.Duration // its link has gone: a late Leave is understood
	Home time.Duration // no container has its link's other end: the engine is about to move it, or took it back
}

// Observe compares the state with the links that the kernel has. A joined endpoint without a link lost it to an
// engine or a machine that went down without a word: no Leave will come. It stays for a grace, and is then dropped. One
// whose link no container takes, or that was put back when a Leave went unanswered, is lost after a longer one.
func (s State) Observe(present []Present, now time.Time, g Graces) Change {
	has := map[string]Present{}
	for _, p := range present {
		has[p.Name] = p
	}
	var c Change
	for _, id := range slices.Sorted(maps.Keys(s.Endpoints)) {
		e := s.Endpoints[id]
		p, there := has[HostEnd(id)]
		switch {
		case e.Phase == Lost && now.Sub(e.LostAt) >= g.Lost:
			c.DropEndpoints = append(c.DropEndpoints, id)
		case e.Phase != Joined:
		case !there, p.PeerHome && !e.HomeAt.IsZero() && now.Sub(e.HomeAt) >= g.Home:
			c.PutEndpoints = append(c.PutEndpoints, e.lost(now))
		case p.PeerHome && e.HomeAt.IsZero():
			e.HomeAt = now
			c.PutEndpoints = append(c.PutEndpoints, e)
		case !p.PeerHome && !e.HomeAt.IsZero():
			e.HomeAt = time.Time{}
			c.PutEndpoints = append(c.PutEndpoints, e)
		}
	}
	return c
}

func (e Endpoint) lost(now time.Time) Endpoint {
	e.Phase, e.LostAt, e.HomeAt = Lost, now, time.Time{}
	return e
}

// Lose is the change by which an endpoint is lost at once.
func (s State) Lose(id EndpointID, now time.Time) Change {
	return Change{PutEndpoints: []Endpoint{s.Endpoints[id].lost(now)}}
}

// Adopt rebuilds a state from the kernel alone, for a node whose file is lost: every link whose other end some
// container holds was joined. What else their options say comes back with the engine's next CreateNetwork.
func Adopt(present []Present) State {
	s := NewState()
	for _, p := range present {
		if p.PeerHome || p.Endpoint == "" {
			continue
		}
		n := Network{ID: p.Network, Pool: p.Pool, Gateway: p.Gateway, Options: Options{Parent: p.Segment.Parent, Attach: p.Segment.Attach}}
		if p.Address6.IsValid() {
			n.Options.IPv6 = netip.PrefixFrom(p.Address6, sixBits).Masked()
		}
		s.Networks[p.Network] = n
		s.Endpoints[p.Endpoint] = Endpoint{
			ID: p.Endpoint, Network: p.Network, Address: p.Address, MAC: p.MAC, Phase: Joined, MTU: p.MTU, Sandbox: p.Box,
			Address6: p.Address6,
		}
	}
	return s
}
