package kernel

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A parent that becomes a port of a bridge no longer receives for itself: its addresses and routes have to be the
// bridge's. The order lets the node keep its connections, and lets an unfinished move be finished by doing it again: an
// address is on the new interface before the cable is, a route leads by the new one in the very step that it leaves the
// old one, and only then goes the address from the old one. A port's own routes still send, but what is asked by ARP
// there is answered at its bridge: each interface is told first whom the other one knows.

// move gives a bridge its port, and with it all that the port has.
func (s *Segments) move(parent, bridge netlink.Link) error {
	addrs, err := s.addresses(parent)
	if err != nil {
		return err
	}
	if parent.Attrs().MasterIndex == bridge.Attrs().Index && len(addrs) == 0 {
		return nil
	}
	if err := errors.Join(s.put(addrs, bridge), s.acquaint(parent, bridge)); err != nil {
		return err
	}
	if parent.Attrs().MasterIndex != bridge.Attrs().Index {
		err := s.nl.LinkSetMaster(parent, bridge)
		if errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("%w: macvlans or the like sit on it: remove them, or name another parent", err)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("make it a port of %s: %w", bridge.Attrs().Name, err), s.take(addrs, bridge))
		}
		if err := s.awaken(parent, bridge); err != nil {
			return err
		}
	}
	if err := s.lead(parent, bridge); err != nil {
		return err
	}
	return s.take(addrs, parent)
}

// moveBack is move, the other way. The cable comes last: a bridge without it sends nothing, while its port does. Its
// own addresses are local until then, on whichever interface packets for them come.
func (s *Segments) moveBack(bridge, parent netlink.Link) error {
	addrs, err := s.addresses(bridge)
	if err != nil {
		return err
	}
	if err := errors.Join(s.put(addrs, parent), s.acquaint(bridge, parent)); err != nil {
		return err
	}
	if err := s.lead(bridge, parent); err != nil {
		return err
	}
	if err := s.take(addrs, bridge); err != nil {
		return err
	}
	if parent.Attrs().MasterIndex == bridge.Attrs().Index {
		if err := s.nl.LinkSetNoMaster(parent); err != nil {
			return fmt.Errorf("let it be no port of %s: %w", bridge.Attrs().Name, err)
		}
	}
	return nil
}

// awaken waits until a bridge that has just got its first port sends. The kernel drops what it is given until its own
// background work has seen the carrier, which on a busy machine takes seconds: ARP probes and the node's own packets
// would be lost. To ask for the link is to have that work done (since Linux 6.8); before, it is waited for.
func (s *Segments) awaken(parent, bridge netlink.Link) error {
	for begun := time.Now(); parent.Attrs().OperState == netlink.OperUp && time.Since(begun) < awakenWithin; time.Sleep(awakenEvery) {
		b, err := s.nl.LinkByName(bridge.Attrs().Name)
		if err != nil {
			return fmt.Errorf("look up %s: %w", bridge.Attrs().Name, err)
		}
		if b.Attrs().OperState == netlink.OperUp {
			return nil
		}
	}
	return nil // without a cable there is nothing to wait for, and the rest of the move must not be missing
}

const (
	awakenEvery  = 2 * time.Millisecond
	awakenWithin = 500 * time.Millisecond // of the engine's two seconds
)

// acquaint tells an interface of the neighbours that another one knows, to be used at once and asked again later.
func (s *Segments) acquaint(from, to netlink.Link) error {
	const known = unix.NUD_REACHABLE | unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	for _, family := range families() {
		all, err := s.nl.NeighList(from.Attrs().Index, family)
		if err != nil {
			return fmt.Errorf("list the neighbours of %s: %w", from.Attrs().Name, err)
		}
		for _, n := range all {
			if n.State&known == 0 || len(n.HardwareAddr) == 0 {
				continue
			}
			same := netlink.Neigh{LinkIndex: to.Attrs().Index, Family: family, State: unix.NUD_STALE, IP: n.IP, HardwareAddr: n.HardwareAddr, Flags: n.Flags & netlink.NTF_ROUTER}
			if err := s.nl.NeighSet(&same); err != nil {
				return fmt.Errorf("tell %s of its neighbour %s: %w", to.Attrs().Name, n.IP, err)
			}
		}
	}
	return nil
}

// movable refuses a parent whose addresses or routes somebody else would put back, or that cannot be moved in one step.
func (s *Segments) movable(parent netlink.Link) error {
	addrs, err := s.addresses(parent)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_PERMANENT == 0 {
			return fmt.Errorf("its address %s is leased by DHCP or a router's advertisement, whose client would put it back: give the node a fixed one, or make a bridge yourself and name that as the parent", a.IPNet)
		}
	}
	if len(addrs) > 0 && managed(s.run, parent.Attrs().Index) {
		return fmt.Errorf("NetworkManager manages it, and would put its addresses back: make a bridge of it there (nmcli connection add type bridge) and name that as the parent, or let it alone (nmcli device set %s managed no)", parent.Attrs().Name)
	}
	rules, err := s.nl.RuleList(unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	for _, r := range rules {
		if r.IifName == parent.Attrs().Name || r.OifName == parent.Attrs().Name {
			return fmt.Errorf("a routing rule names it (%s): make a bridge yourself and name that as the parent", r)
		}
	}
	routes, err := s.nl.RouteListFiltered(unix.AF_INET, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.LinkIndex == parent.Attrs().Index && (r.Protocol == unix.RTPROT_DHCP || r.Protocol == unix.RTPROT_RA) {
			return fmt.Errorf("its route %s came by DHCP or a router's advertisement, whose client would put it back: give the node a fixed one, or make a bridge yourself and name that as the parent", r.Dst)
		}
		if slices.ContainsFunc(r.MultiPath, func(h *netlink.NexthopInfo) bool { return h.LinkIndex == parent.Attrs().Index }) {
			return fmt.Errorf("route %s goes by it and by others: make a bridge yourself and name that as the parent", r.Dst)
		}
	}
	return nil
}

// addresses are those that people gave to the interface, the first one first.
func (s *Segments) addresses(l netlink.Link) ([]netlink.Addr, error) {
	var all []netlink.Addr
	for _, family := range families() {
		got, err := s.nl.AddrList(l, family)
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", l.Attrs().Name, err)
		}
		all = append(all, got...)
	}
	return slices.DeleteFunc(all, func(a netlink.Addr) bool { return a.IP.To4() == nil && a.IP.IsLinkLocalUnicast() }), nil
}

// put gives addresses to an interface, as they were.
func (s *Segments) put(addrs []netlink.Addr, to netlink.Link) error {
	for _, a := range addrs {
		fresh := netlink.Addr{IPNet: a.IPNet, Peer: a.Peer, Scope: a.Scope, Broadcast: a.Broadcast, Flags: a.Flags &^ (unix.IFA_F_SECONDARY | unix.IFA_F_TENTATIVE)}
		if a.IP.To4() == nil {
			fresh.Flags |= unix.IFA_F_NODAD // it was ours a moment ago
		} else if fresh.Broadcast == nil {
			fresh.Broadcast = net.IPv4zero // else one is made up
		}
		if err := s.nl.AddrAdd(to, &fresh); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("give %s the address %s: %w", to.Attrs().Name, a.IPNet, err)
		}
	}
	return nil
}

func (s *Segments) take(addrs []netlink.Addr, from netlink.Link) error {
	var problems []error
	for _, a := range addrs {
		gone := netlink.Addr{IPNet: a.IPNet, Peer: a.Peer}
		if err := s.nl.AddrDel(from, &gone); err != nil && !missing(err) {
			problems = append(problems, fmt.Errorf("take %s off %s: %w", a.IPNet, from.Attrs().Name, err))
		}
	}
	return errors.Join(problems...)
}

// lead sends by the one interface what went by the other. A replaced route is never missing in between.
func (s *Segments) lead(from, to netlink.Link) error {
	for _, family := range families() {
		routes, err := s.nl.RouteListFiltered(family, &netlink.Route{LinkIndex: from.Attrs().Index}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("list the routes by %s: %w", from.Attrs().Name, err)
		}
		routes = slices.DeleteFunc(routes, madeByKernel)
		slices.SortStableFunc(routes, func(a, b netlink.Route) int { // a next hop is to be reached first
			return byNextHop(a) - byNextHop(b)
		})
		for _, r := range routes {
			r.LinkIndex, r.Flags = to.Attrs().Index, r.Flags&int(netlink.FLAG_ONLINK)
			if err := s.nl.RouteReplace(&r); err != nil {
				return fmt.Errorf("lead %s by %s: %w", r.Dst, to.Attrs().Name, err)
			}
		}
	}
	return nil
}

// madeByKernel are routes that come and go with an address.
func madeByKernel(r netlink.Route) bool {
	return r.Protocol == unix.RTPROT_KERNEL || r.Table == unix.RT_TABLE_LOCAL || r.Type != unix.RTN_UNICAST
}

func byNextHop(r netlink.Route) int {
	if r.Gw == nil && r.Via == nil {
		return 0
	}
	return 1
}
