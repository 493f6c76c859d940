// Package host reads how the node's own network stands: interfaces, routes, and what the kernel does with packets. It knows
// rtnetlink and /proc/sys of the network namespace that it runs in, which is the host's; it judges nothing and changes
// nothing.
package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
)

// ofContainers begins the names of rolling/net's host ends, one a container.
const ofContainers = "rl"

// Kernel is the one of this node.
type Kernel struct{ sysctls string }

// New reads sysctls below a folder: /proc/sys.
func New(sysctls string) *Kernel { return &Kernel{sysctls} }

// Look reads all. What cannot be read is missing, and Fault says why.
func (k *Kernel) Look() wire.Host {
	var h wire.Host
	var faults []error
	forwarding, err := k.number("net/ipv4/ip_forward")
	h.Forwarding = forwarding > 0
	faults = append(faults, err)
	names, err := k.links(&h)
	faults = append(faults, err, routes(&h, names))
	if err := errors.Join(faults...); err != nil {
		h.Fault = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return h
}

func (k *Kernel) number(name string) (int, error) {
	text, err := os.ReadFile(k.sysctls + "/" + name)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", strings.ReplaceAll(name, "/", "."), err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// links gives the names of all interfaces, by index.
func (k *Kernel) links(h *wire.Host) (map[int]string, error) {
	names := map[int]string{}
	links, err := netlink.LinkList()
	if err != nil {
		return names, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addresses, err := netlink.AddrList(nil, unix.AF_INET)
	if err != nil {
		return names, fmt.Errorf("list addresses: %w", err)
	}
	of := map[int][]netip.Prefix{}
	for _, a := range addresses {
		if p, ok := prefixOf(a.IPNet); ok {
			of[a.LinkIndex] = append(of[a.LinkIndex], p)
		}
	}
	all, err := k.number("net/ipv4/conf/all/rp_filter")
	if err != nil {
		return names, err
	}
	for _, l := range links {
		a := l.Attrs()
		if l.Type() == "veth" && (strings.HasPrefix(a.Name, ofContainers) || strings.HasPrefix(a.Name, "veth")) {
			continue // the other end is a container's
		}
		if len(h.Links) == wire.MaxLinks {
			h.Cut = true
			break
		}
		own, err := k.number("net/ipv4/conf/" + strings.ReplaceAll(a.Name, "/", ".") + "/rp_filter")
		if err != nil {
			own = 0 // it has gone since
		}
		up := a.Flags&net.FlagUp != 0 && a.OperState != netlink.OperDown
		h.Links = append(h.Links, wire.Link{Name: a.Name, MTU: a.MTU, Up: up, Addresses: of[a.Index], Source: max(all, own)})
	}
	return names, nil
}

// routes reads the main table, but for what Rolling itself has put there.
func routes(h *wire.Host, names map[int]string) error {
	have, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range have {
		if r.Protocol == contract.RouteProtocol || strings.HasPrefix(names[r.LinkIndex], ofContainers) {
			continue
		}
		p, ok := prefixOf(r.Dst)
		if !ok {
			p = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		if len(h.Routes) == wire.MaxRoutes {
			h.Cut = true
			break
		}
		hop := wire.HostRoute{Prefix: p.Masked(), Link: names[r.LinkIndex]}
		if via, ok := netip.AddrFromSlice(r.Gw); ok {
			hop.Via = via.Unmap()
		}
		h.Routes = append(h.Routes, hop)
	}
	slices.SortStableFunc(h.Routes, func(a, b wire.HostRoute) int { return a.Prefix.Compare(b.Prefix) })
	return nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}
