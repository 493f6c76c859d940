// Package kernel makes the node's kernel equal to what topology says: veth pairs and their routes (Wires), the accept
// rules for routed traffic (Gate), and routes to other nodes' containers (Roads). It touches only what is its own: links
// that carry our alias, routes of protocol 82, one iptables chain. It knows no Swarm, no BGP and no file, and decides nothing.
package kernel

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/listing"
)

// protocol marks our routes.
const protocol = netlink.RouteProtocol(contract.RouteProtocol)

// open gives a handle in the namespace of the calling thread.
func open() (*listing.Handle, error) {
	return listing.Open()
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func host(a netip.Addr) *net.IPNet { return ipNet(netip.PrefixFrom(a, a.BitLen())) }

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func missing(err error) bool {
	var gone netlink.LinkNotFoundError
	return errors.As(err, &gone) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}
