package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Roads are the routes to other nodes' containers: protocol 82 with a next hop, in the main table. The routes of Wires
// have the same protocol and no next hop, so neither touches the other's. A node behind a router is reached by way of
// that router, which the fabric has told the same.
type Roads struct{ nl *listing.Handle }

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

// hop is the neighbour that a node is reached by. IPv6 needs its link, too.
type hop struct {
	gateway netip.Addr
	link    int
}

// hops remembers, for the length of one step, by way of which neighbour each node is reached.
type hops map[netip.Addr]hop

// resolve finds the neighbour: the node itself on a shared network, else the router that the kernel would ask.
func (r *Roads) resolve(via netip.Addr, known hops) (hop, error) {
	if h, ok := known[via]; ok {
		return h, nil
	}
	h, err := r.ask(via)
	if err != nil {
		return h, err
	}
	known[via] = h
	return h, nil
}

func (r *Roads) ask(via netip.Addr) (hop, error) {
	if via.Zone() != "" {
		return r.linkLocal(via)
	}
	found, err := r.nl.RouteGet(via.AsSlice())
	if err != nil && via.Is6() {
		return hop{}, fmt.Errorf("reach node %s: %w: give this node's uplink an IPv6 address of the nodes' own network", via, err)
	}
	if err != nil {
		return hop{}, fmt.Errorf("reach node %s: %w", via, err)
	}
	h := hop{gateway: via}
	for _, f := range found {
		if via.Is6() {
			h.link = f.LinkIndex
		}
		if f.Gw != nil {
			h.gateway = addrOf(f.Gw)
		}
	}
	return h, nil
}

// linkLocal finds the link that such a next hop is on: the one by which its node is reached by IPv4.
func (r *Roads) linkLocal(via netip.Addr) (hop, error) {
	node, err := netip.ParseAddr(via.Zone())
	if err != nil {
		return hop{}, fmt.Errorf("next hop %s: its zone is no node: %w", via, err)
	}
	found, err := r.nl.RouteGet(node.AsSlice())
	if err != nil || len(found) == 0 {
		return hop{}, fmt.Errorf("reach node %s: %w", node, err)
	}
	if found[0].Gw != nil {
		return hop{}, fmt.Errorf("node %s is behind router %s, and its uplink has only a link-local IPv6 address, which reaches nobody there: give it another", node, addrOf(found[0].Gw))
	}
	return hop{via.WithZone(""), found[0].LinkIndex}, nil
}

// Add makes one route true, over any other road to the prefix.
func (r *Roads) Add(t topology.Route) error {
	h, err := r.resolve(t.Via, hops{})
	if err != nil {
		return fmt.Errorf("route %s: %w", t, err)
	}
	return r.add(t, h)
}

func (r *Roads) add(t topology.Route, h hop) error {
	route := &netlink.Route{Dst: ipNet(t.Prefix), Gw: h.gateway.AsSlice(), LinkIndex: h.link, Protocol: protocol, Table: unix.RT_TABLE_MAIN}
	if t.Prefix.Addr().Is6() {
		route.Priority = roadMetric
	}
	if err := r.nl.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s: %w", t, err)
	}
	return nil
}

// road is what Remove takes away: any road to a single address.
func road(a netip.Addr) *netlink.Route {
	return &netlink.Route{Dst: host(a), Scope: netlink.SCOPE_UNIVERSE, Protocol: protocol, Table: unix.RT_TABLE_MAIN, Priority: roadMetric}
}

// Remove takes away the road to a prefix, whatever its next hop. A road has universe scope and a container's route on
// this node link scope, and the kernel removes only what matches, so the latter stays.
func (r *Roads) Remove(p netip.Prefix) error {
	gone := &netlink.Route{Dst: ipNet(p), Scope: netlink.SCOPE_UNIVERSE, Protocol: protocol, Table: unix.RT_TABLE_MAIN}
	if p.Addr().Is6() { // where there are no scopes
		gone.Priority = roadMetric
	}
	if err := r.nl.RouteDel(gone); err != nil && !missing(err) {
		return fmt.Errorf("route %s: remove it: %w", p, err)
	}
	return nil
}

// List tells the roads that the kernel has, sorted, each by the neighbour that it goes by.
func (r *Roads) List() ([]topology.Route, error) {
	have, err := r.list()
	if err != nil {
		return nil, err
	}
	var all []topology.Route
	for p, h := range have {
		all = append(all, topology.Route{Prefix: p, Via: h.gateway})
	}
	topology.SortRoutes(all)
	return all, nil
}

func (r *Roads) list() (map[netip.Prefix]hop, error) {
	have, err := r.nl.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_MAIN},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes of protocol %d: %w", protocol, err)
	}
	all := map[netip.Prefix]hop{}
	for _, h := range have {
		if h.Gw == nil || h.Dst == nil {
			continue
		}
		to := hop{gateway: addrOf(h.Gw)}
		if to.gateway.Is6() {
			to.link = h.LinkIndex
		}
		all[prefixOf(h.Dst)] = to
	}
	return all, nil
}

// Set makes the roads exactly these; without sweep those that are not named stay.
func (r *Roads) Set(wanted []topology.Route, sweep bool) error {
	kernel, err := r.list()
	if err != nil {
		return err
	}
	var problems []error
	known := hops{}
	for _, t := range wanted { // sorted, so that the same trouble has the same text
		h, err := r.resolve(t.Via, known)
		switch {
		case err != nil:
			err = fmt.Errorf("route %s: %w", t, err)
		case kernel[t.Prefix] != h:
			err = r.add(t, h)
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
