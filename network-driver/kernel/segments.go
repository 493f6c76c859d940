package kernel

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Segments are the physical networks that containers are attached to: a bridge that the parent is a port of, which has
// then the parent's addresses and routes; or the parent itself, for macvlan and where it is a bridge of the node's own
// administrators. All that it needs to give a parent back is in the kernel, and every step may be repeated.
type Segments struct {
	nl  segmentWire
	raw *nl.NetlinkSocket // for what the handle has no words for
	run string            // the node's /run
}

// OpenSegments works in the network namespace of the calling thread, also when other threads call later. It is told
// where the node's /run is.
func OpenSegments(run string) (*Segments, error) {
	handle, err := open()
	if err != nil {
		return nil, err
	}
	raw, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		handle.Close()
		return nil, fmt.Errorf("open netlink: %w: the plugin needs CAP_NET_ADMIN on the host's network", err)
	}
	return &Segments{handle, raw, run}, nil
}

// Close gives the netlink socket back; the segments stay.
func (s *Segments) Close() {
	s.nl.Close()
	s.raw.Close()
}

// Lay makes one segment true, and tells by which interface its packets go, and its MTU.
func (s *Segments) Lay(g topology.Segment) (topology.Ground, error) {
	ground, err := s.lay(g)
	if err != nil {
		return topology.Ground{}, fmt.Errorf("parent %s: %w", g.Parent, err)
	}
	return ground, nil
}

func (s *Segments) lay(g topology.Segment) (topology.Ground, error) {
	parent, err := s.parent(g)
	if err != nil {
		return topology.Ground{}, err
	}
	ground := topology.Ground{Device: g.Parent, MTU: parent.Attrs().MTU}
	switch {
	case parent.Attrs().Flags&net.FlagUp == 0:
		return ground, errors.New("it is down: set it up on this node")
	case g.Attach == topology.Macvlan:
		return ground, errors.Join(fit(sysNet, parent), s.alone(parent, nil))
	case parent.Type() == "bridge": // of the administrators: it is used as it is
		return ground, nil
	}
	ground.Device = g.Bridge()
	bridge, err := s.bridge(g, parent)
	if err != nil {
		return ground, err
	}
	if err := s.move(parent, bridge); err != nil {
		return ground, errors.Join(err, s.spare(g))
	}
	return ground, nil
}

// spare removes a bridge that did not get its port.
func (s *Segments) spare(g topology.Segment) error {
	parent, err := s.nl.LinkByName(g.Parent)
	if err != nil {
		return fmt.Errorf("look it up: %w", err)
	}
	bridge, err := s.nl.LinkByName(g.Bridge())
	if err != nil {
		return fmt.Errorf("look up %s: %w", g.Bridge(), err)
	}
	if parent.Attrs().MasterIndex == bridge.Attrs().Index {
		return nil
	}
	return s.nl.LinkDel(bridge)
}

// parent finds the interface, and makes it if it is a VLAN's.
func (s *Segments) parent(g topology.Segment) (netlink.Link, error) {
	parent, err := s.nl.LinkByName(g.Parent)
	if missing(err) {
		if _, _, tagged := g.VLAN(); !tagged {
			return nil, errors.New("this node has no such interface")
		}
		return tag(s.nl, g)
	}
	if err != nil {
		return nil, fmt.Errorf("look it up: %w", err)
	}
	if _, ours := topology.VLANOf(parent.Attrs().Alias); ours && parent.Attrs().Flags&net.FlagUp == 0 {
		if err := s.nl.LinkSetUp(parent); err != nil { // an earlier run died before it did
			return nil, fmt.Errorf("set it up: %w", err)
		}
		return s.nl.LinkByName(g.Parent)
	}
	return parent, nil
}

// bridge finds or makes the segment's bridge, with the parent's MAC: what others know of this node stays true.
func (s *Segments) bridge(g topology.Segment, parent netlink.Link) (netlink.Link, error) {
	bridge, err := s.nl.LinkByName(g.Bridge())
	switch {
	case err == nil && !ownBridge(bridge):
		return nil, fmt.Errorf("an interface %s exists (%s, alias %q), and is not ours: rename or remove it", g.Bridge(), bridge.Type(), bridge.Attrs().Alias)
	case err != nil && !missing(err):
		return nil, fmt.Errorf("look up %s: %w", g.Bridge(), err)
	case err == nil && parent.Attrs().MasterIndex == bridge.Attrs().Index && bridge.Attrs().Alias != "" && bridge.Attrs().Flags&net.FlagUp != 0:
		return bridge, nil
	}
	if err := s.alone(parent, bridge); err != nil {
		return nil, err
	}
	if err := errors.Join(s.movable(parent), fit(sysNet, parent)); err != nil {
		return nil, err
	}
	if bridge == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr, attrs.MTU = g.Bridge(), parent.Attrs().HardwareAddr, parent.Attrs().MTU
		snoop := false // a physical network's groups are its switches' affair
		if err := s.nl.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snoop}); err != nil {
			return nil, fmt.Errorf("make the bridge %s: %w", g.Bridge(), err)
		}
		if bridge, err = s.nl.LinkByName(g.Bridge()); err != nil {
			return nil, fmt.Errorf("find the new bridge: %w", err)
		}
	}
	// The MTU is said once more: only then does the bridge keep it whatever its ports have.
	return bridge, errors.Join(s.nl.LinkSetAlias(bridge, g.Alias()), s.nl.LinkSetMTU(bridge, parent.Attrs().MTU), s.show(bridge), s.nl.LinkSetUp(bridge))
}

// alone refuses a parent that something else has already.
func (s *Segments) alone(parent, bridge netlink.Link) error {
	if m := parent.Attrs().MasterIndex; m != 0 && (bridge == nil || m != bridge.Attrs().Index) {
		name := fmt.Sprint(m)
		if master, err := s.nl.LinkByIndex(m); err == nil {
			name = master.Attrs().Name
		}
		return fmt.Errorf("it is a part of %s: name that as the parent", name)
	}
	return nil
}

// Set makes the segments exactly these: what is no longer named is given back.
func (s *Segments) Set(segments []topology.Segment) error {
	var problems []error
	bridges, parents := map[string]bool{}, map[string]bool{}
	for _, g := range segments {
		parents[g.Parent] = true
		if g.Attach == topology.Bridged {
			bridges[g.Bridge()] = true
		}
		_, err := s.Lay(g)
		problems = append(problems, err)
	}
	links, err := s.nl.LinkList()
	if err != nil {
		return errors.Join(append(problems, fmt.Errorf("list the host's links: %w", err))...)
	}
	for _, l := range links {
		if ownBridge(l) && !bridges[l.Attrs().Name] {
			problems = append(problems, s.giveBack(l))
		}
	}
	for _, l := range links { // only now: one may have been a port
		if parent, ours := topology.VLANOf(l.Attrs().Alias); ours && !parents[parent] {
			problems = append(problems, untag(s.nl, l))
		}
	}
	return errors.Join(problems...)
}

// giveBack moves what the bridge has to the parent, and takes the bridge away.
func (s *Segments) giveBack(bridge netlink.Link) error {
	g, known := topology.SegmentOf(bridge.Attrs().Alias)
	if known {
		parent, err := s.nl.LinkByName(g.Parent)
		if err == nil {
			err = s.moveBack(bridge, parent)
		}
		if err != nil && !missing(err) { // with the interface its addresses have gone
			return fmt.Errorf("parent %s: give back what %s has: %w", g.Parent, bridge.Attrs().Name, err)
		}
	}
	if err := s.nl.LinkDel(bridge); err != nil && !missing(err) {
		return fmt.Errorf("remove the bridge %s: %w", bridge.Attrs().Name, err)
	}
	return nil
}

// Riders are the MACs of the macvlans that the parent carries, wherever their other ends are.
func (s *Segments) Riders(parent string) (map[string]bool, error) {
	l, err := s.nl.LinkByName(parent)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("parent %s: look it up: %w", parent, err)
	}
	known, err := s.nl.NeighList(l.Attrs().Index, unix.AF_BRIDGE)
	if err != nil {
		return nil, fmt.Errorf("parent %s: list the MACs that it takes: %w", parent, err)
	}
	all := map[string]bool{}
	for _, n := range known {
		if n.Flags&netlink.NTF_SELF != 0 {
			all[n.HardwareAddr.String()] = true
		}
	}
	return all, nil
}

// ownBridge is a bridge with a name that we give, and with our alias or, when a plugin died before it could set one, none.
func ownBridge(l netlink.Link) bool {
	a := l.Attrs()
	_, ours := topology.SegmentOf(a.Alias)
	return l.Type() == "bridge" && topology.OwnBridge(a.Name) && (ours || a.Alias == "")
}

// device is the bridge that a link's host end is a port of.
func device(nl *listing.Handle, g topology.Segment) (netlink.Link, error) {
	for _, name := range []string{g.Bridge(), g.Parent} {
		l, err := nl.LinkByName(name)
		if err == nil && l.Type() == "bridge" {
			return l, nil
		}
		if err != nil && !missing(err) {
			return nil, fmt.Errorf("look up %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("no bridge on %s", g.Parent)
}

// families are those whose addresses and routes a parent may have.
func families() []int { return slices.Clone([]int{unix.AF_INET, unix.AF_INET6}) }
