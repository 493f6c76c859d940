package kernel

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
)

// Fence is what a border node has around the pools that it announces as a whole: an address in them that no container
// has is unreachable here, and does not go back to the router that sent it, and come again, until its TTL ends.
type Fence struct{ nl *listing.Handle }

// lastMetric: any other route to the same prefix is better.
const lastMetric = 0xffffffff

// OpenFence works in the network namespace of the calling thread, also when other threads call later.
func OpenFence() (*Fence, error) {
	nl, err := open()
	if err != nil {
		return nil, err
	}
	return &Fence{nl}, nil
}

// Close gives the netlink socket back; the fences stay.
func (f *Fence) Close() { f.nl.Close() }

func fence(p netip.Prefix) *netlink.Route {
	return &netlink.Route{Dst: ipNet(p), Type: unix.RTN_UNREACHABLE, Protocol: protocol, Table: unix.RT_TABLE_MAIN, Priority: lastMetric}
}

// Set makes the fenced pools exactly these.
func (f *Fence) Set(pools []netip.Prefix) error {
	have, err := f.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNREACHABLE},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	if err != nil {
		return fmt.Errorf("list the fences of pools: %w", err)
	}
	stays := map[netip.Prefix]bool{}
	for _, p := range pools {
		stays[p] = true
	}
	var problems []error
	for _, h := range have {
		p := prefixOf(h.Dst)
		if stays[p] {
			delete(stays, p)
			continue
		}
		if err := f.nl.RouteDel(fence(p)); err != nil && !missing(err) {
			problems = append(problems, fmt.Errorf("fence of pool %s: remove it: %w", p, err))
		}
	}
	for p := range stays {
		if err := f.nl.RouteReplace(fence(p)); err != nil {
			problems = append(problems, fmt.Errorf("fence of pool %s: %w", p, err))
		}
	}
	return errors.Join(problems...)
}
