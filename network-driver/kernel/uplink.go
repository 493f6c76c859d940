package kernel

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// defaultMTU is Ethernet's, for a node whose uplink cannot be told.
const defaultMTU = 1500

// Uplink is the interface that has the node's address, else the default route's. With it come all addresses of the
// node but loopback's and link-local ones, which no pool has and our own links do.
func (r *Roads) Uplink(node netip.Addr) (topology.Uplink, error) {
	addrs, err := r.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return topology.Uplink{}, fmt.Errorf("find the uplink: list addresses: %w", err)
	}
	index, err := r.uplink(node, addrs)
	if err != nil {
		return topology.Uplink{}, fmt.Errorf("find the uplink: %w", err)
	}
	u := topology.Uplink{MTU: defaultMTU}
	for _, a := range addrs {
		own := addrOf(a.IP)
		if own.IsLinkLocalUnicast() && own.Is6() || own.IsLoopback() {
			continue
		}
		if !own.IsLinkLocalUnicast() {
			u.Host = append(u.Host, own)
		}
		// The peer's is the same prefix, but on a point-to-point link.
		if p := prefixOf(cmp.Or(a.Peer, a.IPNet)).Masked(); a.LinkIndex == index && p.Bits() > 0 {
			u.Prefixes = append(u.Prefixes, p)
		}
	}
	u.Six = six(addrs, index)
	ways, err := r.ways(index)
	if err != nil {
		return u, err
	}
	links, err := r.nl.LinkList()
	if err != nil {
		return u, fmt.Errorf("find the uplink: list links: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		if a.Index == index {
			u.MTU = a.MTU
		}
		if ways[a.Index] && a.EncapType == ethernet && !ours(l) {
			u.Names = append(u.Names, a.Name)
		}
	}
	slices.Sort(u.Names)
	return u, nil
}

// ethernet is how the kernel calls interfaces whose packets have Ethernet headers.
const ethernet = "ether"

// ways are the interfaces by which other nodes may send to this one: the uplink, those of the default routes, and those
// of the routes to other nodes' containers.
func (r *Roads) ways(uplink int) (map[int]bool, error) {
	routes, err := r.nl.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	all := map[int]bool{uplink: true}
	for _, t := range routes {
		p := prefixOf(t.Dst)
		if everywhere := !p.IsValid() || p.Bits() == 0; !everywhere && (t.Protocol != protocol || t.Gw == nil) {
			continue
		}
		all[t.LinkIndex] = true
		for _, hop := range t.MultiPath {
			all[hop.LinkIndex] = true
		}
	}
	return all, nil
}

func (r *Roads) uplink(node netip.Addr, addrs []netlink.Addr) (int, error) {
	for _, a := range addrs {
		if node.IsValid() && addrOf(a.IP) == node {
			return a.LinkIndex, nil
		}
	}
	routes, err := r.nl.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return 0, fmt.Errorf("list routes: %w", err)
	}
	for _, t := range routes {
		if p := prefixOf(t.Dst); (!p.IsValid() || p.Bits() == 0) && t.LinkIndex > 0 {
			return t.LinkIndex, nil
		}
	}
	return 0, nil
}

// six is the address by which other nodes send IPv6 here: of the uplink's lasting ones the lowest, and a link-local one
// only if there is no other.
func six(addrs []netlink.Addr, uplink int) netip.Addr {
	const passing = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED | unix.IFA_F_TEMPORARY
	var best netip.Addr
	for _, a := range addrs {
		own := addrOf(a.IP)
		if a.LinkIndex != uplink || !own.Is6() || a.Flags&passing != 0 {
			continue
		}
		if own.IsLinkLocalUnicast() == best.IsLinkLocalUnicast() && (!best.IsValid() || own.Less(best)) || best.IsLinkLocalUnicast() && !own.IsLinkLocalUnicast() ||
			!best.IsValid() {
			best = own
		}
	}
	return best
}
