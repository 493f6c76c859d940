package kernel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultMTU is Ethernet's, for a node whose uplink cannot be told.
const defaultMTU = 1500

// MTU is the uplink's: of the interface that has the node's address, else of the default route's.
func (r *Roads) MTU(node netip.Addr) (int, error) {
	links, err := r.nl.LinkList()
	if err != nil {
		return 0, fmt.Errorf("find the uplink: list links: %w", err)
	}
	uplink, err := r.uplink(node)
	if err != nil {
		return 0, fmt.Errorf("find the uplink: %w", err)
	}
	for _, l := range links {
		if l.Attrs().Index == uplink {
			return l.Attrs().MTU, nil
		}
	}
	return defaultMTU, nil
}

func (r *Roads) uplink(node netip.Addr) (int, error) {
	addrs, err := r.nl.AddrList(nil, unix.AF_INET)
	if err != nil {
		return 0, fmt.Errorf("list addresses: %w", err)
	}
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
