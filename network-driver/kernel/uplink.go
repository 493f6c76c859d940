package kernel

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// defaultMTU is Ethernet's, for a node whose uplink cannot be told.
const defaultMTU = 1500

// Uplink is the interface that has the node's address, else the default route's. With it come all addresses of the
// node but loopback's and link-local ones, which no pool has and our own links do.
func (r *Roads) Uplink(node netip.Addr) (topology.Uplink, error) {
	addrs, err := r.nl.AddrList(nil, unix.AF_INET)
	if err != nil {
		return topology.Uplink{}, fmt.Errorf("find the uplink: list addresses: %w", err)
	}
	index, err := r.uplink(node, addrs)
	if err != nil {
		return topology.Uplink{}, fmt.Errorf("find the uplink: %w", err)
	}
	u := topology.Uplink{MTU: defaultMTU}
	for _, a := range addrs {
		if own := addrOf(a.IP); !own.IsLinkLocalUnicast() && !own.IsLoopback() {
			u.Host = append(u.Host, own)
		}
		// The peer's is the same prefix, but on a point-to-point link.
		if p := prefixOf(cmp.Or(a.Peer, a.IPNet)).Masked(); a.LinkIndex == index && p.Bits() > 0 {
			u.Prefixes = append(u.Prefixes, p)
		}
	}
	if index == 0 {
		return u, nil
	}
	l, err := r.nl.LinkByIndex(index)
	if err != nil && !missing(err) {
		return u, fmt.Errorf("find the uplink: interface %d: %w", index, err)
	}
	if err == nil {
		u.MTU = l.Attrs().MTU
	}
	return u, nil
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
