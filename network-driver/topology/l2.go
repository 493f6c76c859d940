package topology

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Attach is how containers of an l2 network hang on the physical one.
type Attach string

const (
	// Bridged: a veth each, on a bridge that the parent is a port of. The host reaches its containers.
	Bridged Attach = "bridge"
	// Macvlan: an interface each that the parent itself carries. The fastest, but no packet passes between the host and
	// its own containers, and no firewall of the node sees them.
	Macvlan Attach = "macvlan"
)

// Segment is a physical network that containers are attached to. Networks with the same parent share it.
type Segment struct {
	Parent string `json:"parent"` // IF or IF.VLAN
	Attach Attach `json:"attach"`
}

// IsZero says that there is none: the network is routed.
func (s Segment) IsZero() bool { return s == Segment{} }

const (
	longestInterface = 15   // IFNAMSIZ, less its end
	lastVLAN         = 4094 // IEEE 802.1Q reserves 4095
)

// bridges begins the names of our bridges.
const bridges = "rb-"

// Bridge names the segment's bridge: by its parent, so that people know it, or by a sum of it where that is too long.
func (s Segment) Bridge() string {
	if name := bridges + s.Parent; len(name) <= longestInterface {
		return name
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(s.Parent)) // a hash takes everything
	return fmt.Sprintf("%s%08x", bridges, sum.Sum32())
}

// VLAN splits the parent into an interface and a tag, if it has one.
func (s Segment) VLAN() (lower string, id int, tagged bool) {
	dot := strings.LastIndexByte(s.Parent, '.')
	if dot <= 0 {
		return s.Parent, 0, false
	}
	id, err := strconv.Atoi(s.Parent[dot+1:])
	if err != nil {
		return s.Parent, 0, false
	}
	return s.Parent[:dot], id, true
}

// segmentMark and vlanMark begin the aliases of bridges and tagged interfaces that are ours.
const (
	segmentMark = aliasMark + "segment parent="
	vlanMark    = aliasMark + "vlan parent="
)

// Alias is what the bridge carries in the kernel: enough to give the parent back when all else is lost.
func (s Segment) Alias() string { return segmentMark + s.Parent }

// VLANAlias is what a tagged interface carries that was made for the segment.
func (s Segment) VLANAlias() string { return vlanMark + s.Parent }

// SegmentOf reads an alias of a bridge of ours.
func SegmentOf(alias string) (Segment, bool) {
	parent, ours := strings.CutPrefix(alias, segmentMark)
	return Segment{Parent: parent, Attach: Bridged}, ours && parent != ""
}

// VLANOf reads an alias of a tagged interface of ours.
func VLANOf(alias string) (parent string, ours bool) {
	parent, ours = strings.CutPrefix(alias, vlanMark)
	return parent, ours && parent != ""
}

// OwnBridge says that a name is one that Bridge gives.
func OwnBridge(name string) bool { return strings.HasPrefix(name, bridges) }

func checkParent(value string) (string, error) {
	s := Segment{Parent: value}
	lower, id, tagged := s.VLAN()
	bad := lower == "" || len(value) > longestInterface || strings.ContainsAny(value, "/: \t\n=") || lower == "." || lower == ".."
	if bad || tagged && (id < 1 || id > lastVLAN) {
		return "", fmt.Errorf("%q is not an interface, with or without a VLAN of 1 to %d, such as eth1 or eth1.100, of %d characters at most", value, lastVLAN, longestInterface)
	}
	return value, nil
}

func checkRouter(value string) (netip.Addr, error) {
	a, err := netip.ParseAddr(value)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is not the IPv4 address of a router", value)
	}
	return a, nil
}

// agree refuses options that contradict one another.
func (o Options) agree(given map[string]string) error {
	l2 := given[contract.Mode] == "l2"
	var problems []error
	bad := func(key, format string, args ...any) {
		problems = append(problems, fmt.Errorf("driver_opts.%s: %w", key, fmt.Errorf(format, args...)))
	}
	if l2 && given[contract.Parent] == "" {
		bad(contract.Parent, "mode l2 needs it: the interface that each node has in that network, such as eth1 or eth1.100")
	}
	if l2 && o.Attach == Macvlan && o.Closed() {
		bad(contract.Attach, "no firewall of a node sees what a macvlan carries, so projects cannot be kept apart there: attach by %s, or let everybody in with %s=open", Bridged, contract.Isolation)
	}
	if l2 && o.IPv6.IsValid() {
		bad(contract.IPv6, "no IPv6 address is derived on the physical network: its routers give them there, and nothing asks whether one is free: leave the key out; a routed network beside it can have IPv6")
	}
	if l2 && o.Aggregate {
		bad(contract.Announce, "no address of mode l2 is announced: leave the key out")
	}
	for _, key := range []string{contract.Parent, contract.Gateway, contract.Attach} {
		if _, said := given[key]; said && !l2 {
			bad(key, "belongs to mode l2: leave the key out, or set %s=l2", contract.Mode)
		}
	}
	return errors.Join(problems...)
}

// Segment is where the network's containers hang; zero for a routed one.
func (o Options) Segment() Segment {
	if o.Parent == "" {
		return Segment{}
	}
	return Segment{Parent: o.Parent, Attach: cmp.Or(o.Attach, Bridged)}
}

// CheckGateway judges the gateway that the IPAM driver chose: link-local where packets are routed by the node, the real
// router, inside the subnet, where the network is the physical one.
func (o Options) CheckGateway(pool netip.Prefix, gateway netip.Addr) error {
	switch {
	case o.Parent == "" && !gateway.IsLinkLocalUnicast():
		return fmt.Errorf("its gateway %s is not link-local, such as 169.254.1.1", gateway)
	case o.Parent != "" && !pool.Contains(gateway):
		return fmt.Errorf("its gateway %s is not inside %s: name the router with --ipam-opt %s=ADDRESS", gateway, pool, contract.Gateway)
	case o.Router.IsValid() && o.Router != gateway:
		return fmt.Errorf("its gateway is %s for containers' addresses, and %s by driver_opts.%s: name the same router to both", gateway, o.Router, contract.Gateway)
	}
	return nil
}

// Fits judges the length of an endpoint's prefix: alone where packets are routed, the subnet's on the physical network.
func (n Network) Fits(e Endpoint) error {
	want := n.Pool.Addr().BitLen()
	if !n.Options.Segment().IsZero() {
		want = n.Pool.Bits()
	}
	if e.Bits != 0 && e.Bits != want {
		return fmt.Errorf("address %s/%d is not a /%d: the network does not use rolling/ipam: make it with --ipam-driver %s, and without --gateway", e.Address, e.Bits, want, contract.PluginIPAM)
	}
	return nil
}

// Segments are those that joined endpoints hang on, sorted.
func (s State) Segments() []Segment {
	var all []Segment
	for _, e := range s.Endpoints {
		if g := s.Networks[e.Network].Options.Segment(); e.Phase == Joined && !g.IsZero() {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Attach, b.Attach))
	})
	return slices.Compact(all)
}

// bridges are the segments' that have one; a parent that is itself a bridge goes by its own name.
func (s State) bridges() []string {
	var all []string
	for _, g := range s.Segments() {
		if g.Attach == Bridged {
			all = append(all, g.Bridge())
		}
	}
	return all
}

// Clashes refuses a network whose parent carries another kind of attachment: an interface is a bridge's port, or has
// macvlans, never both.
func (s State) Clashes(w Network) error {
	for _, n := range s.Networks {
		if a, b := n.Options.Segment(), w.Options.Segment(); n.ID != w.ID && !b.IsZero() && a.Parent == b.Parent && a.Attach != b.Attach {
			return fmt.Errorf("network %s: its parent %s is used by network %s with %s=%s: an interface carries one kind only: choose that, or another parent",
				w.ID.Short(), b.Parent, n.ID.Short(), contract.Attach, a.Attach)
		}
	}
	return nil
}

// OnSegment says whether an endpoint is on the physical network, and where.
func (s State) OnSegment(e Endpoint) (Segment, bool) {
	g := s.Networks[e.Network].Options.Segment()
	return g, !g.IsZero()
}

// Port is a container's place on a bridge: what may come from there.
type Port struct {
	Name    string // of the host end
	MAC     string
	Sources []netip.Addr
}

// Ports are those of all containers on bridges, sorted by name. Whoever judges which projects may talk on a segment
// finds their legs here.
func (s State) Ports() []Port {
	sources := s.sources()
	var all []Port
	for _, l := range s.Links() {
		if l.Segment.Attach != Bridged {
			continue
		}
		own := []netip.Addr{l.Address}
		if box := BoxOf(s.Endpoints[l.Endpoint].Sandbox); box != "" {
			own = sources[box]
		}
		all = append(all, Port{Name: l.Name, MAC: l.MAC, Sources: own})
	}
	return all
}

// Ground is what a segment stands on at this node.
type Ground struct {
	Device string // by which packets of the segment go
	MTU    int
}

// Compare orders segments.
func (s Segment) Compare(o Segment) int {
	return cmp.Or(cmp.Compare(s.Parent, o.Parent), cmp.Compare(s.Attach, o.Attach))
}
