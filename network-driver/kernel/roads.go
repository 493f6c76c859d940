package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Roads are the routes to other nodes' containers: protocol 82 with a next hop, in the main table. The routes of Wires
// have the same protocol and no next hop, so neither touches the other's. A node behind a router is reached by way of
// that router, which the fabric has told the same.
type Roads struct{ nl *netlink.Handle }

// OpenRoads works in the network namespace of the calling thread, also when other threads call later.
func OpenRoads() (*Roads, error) {
	nl, err := open()
	if err != nil {
		return nil, err
	}
	return &Roads{nl}, nil
}

// Close gives the netlink socket back; the routes stay.
func (r *Roads) Close() { r.nl.Close() }

// hops remembers, for the length of one step, by way of which neighbour each node is reached.
type hops map[netip.Addr]netip.Addr

// resolve finds the neighbour: the node itself on a shared network, else the router that the kernel would ask.
func (r *Roads) resolve(via netip.Addr, known hops) (netip.Addr, error) {
	if hop, ok := known[via]; ok {
		return hop, nil
	}
	found, err := r.nl.RouteGet(via.AsSlice())
	if err != nil {
		return via, fmt.Errorf("reach node %s: %w", via, err)
	}
	hop := via
	for _, f := range found {
		if f.Gw != nil {
			hop = addrOf(f.Gw)
		}
	}
	known[via] = hop
	return hop, nil
}

// Add makes one route true, over any other road to the prefix.
func (r *Roads) Add(t topology.Route) error {
	hop, err := r.resolve(t.Via, hops{})
	if err != nil {
		return fmt.Errorf("route %s: %w", t, err)
	}
	return r.add(topology.Route{Prefix: t.Prefix, Via: hop})
}

func (r *Roads) add(t topology.Route) error {
	route := &netlink.Route{Dst: ipNet(t.Prefix), Gw: t.Via.AsSlice(), Protocol: protocol, Table: unix.RT_TABLE_MAIN}
	if err := r.nl.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s: %w", t, err)
	}
	return nil
}

// Remove takes away the road to a prefix, whatever its next hop. A road has universe scope and a container's route on
// this node link scope, and the kernel removes only what matches, so the latter stays.
func (r *Roads) Remove(p netip.Prefix) error {
	gone := &netlink.Route{Dst: ipNet(p), Scope: netlink.SCOPE_UNIVERSE, Protocol: protocol, Table: unix.RT_TABLE_MAIN}
	if err := r.nl.RouteDel(gone); err != nil && !missing(err) {
		return fmt.Errorf("route %s: remove it: %w", p, err)
	}
	return nil
}

// List tells the roads that the kernel has, sorted, each by the neighbour that it goes by.
func (r *Roads) List() ([]topology.Route, error) {
	have, err := r.nl.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_MAIN},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes of protocol %d: %w", protocol, err)
	}
	var all []topology.Route
	for _, h := range have {
		if h.Gw != nil && h.Dst != nil {
			all = append(all, topology.Route{Prefix: prefixOf(h.Dst), Via: addrOf(h.Gw)})
		}
	}
	topology.SortRoutes(all)
	return all, nil
}

// Set makes the roads exactly these; without sweep those that are not named stay.
func (r *Roads) Set(wanted []topology.Route, sweep bool) error {
	have, err := r.List()
	if err != nil {
		return err
	}
	kernel := map[netip.Prefix]netip.Addr{}
	for _, h := range have {
		kernel[h.Prefix] = h.Via
	}
	var problems []error
	known := hops{}
	for _, t := range wanted { // sorted, so that the same trouble has the same text
		hop, err := r.resolve(t.Via, known)
		if err == nil && kernel[t.Prefix] != hop {
			err = r.add(topology.Route{Prefix: t.Prefix, Via: hop})
		}
		problems = append(problems, err)
		delete(kernel, t.Prefix)
	}
	if sweep {
		for p := range kernel {
			problems = append(problems, r.Remove(p))
		}
	}
	return few(problems)
}

// few keeps the text of ten thousand like errors readable.
func few(problems []error) error {
	problems = slices.DeleteFunc(problems, func(err error) bool { return err == nil })
	const shown = 3
	if n := len(problems) - shown; n > 0 {
		problems = append(problems[:shown:shown], fmt.Errorf("and %d more like these", n))
	}
	return errors.Join(problems...)
}
