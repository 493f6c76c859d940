package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Wires are the veth pairs between the node and its containers.
type Wires struct{ nl *listing.Handle }

// OpenWires works in the network namespace of the calling thread, also when other threads call later.
func OpenWires() (*Wires, error) {
	nl, err := open()
	if err != nil {
		return nil, err
	}
	return &Wires{nl}, nil
}

// Close gives the netlink socket back; the links stay.
func (w *Wires) Close() { w.nl.Close() }

// Plug makes one link true, whatever of it is there already. A pair whose container's end some namespace holds is kept.
func (w *Wires) Plug(l topology.Link) error {
	if err := w.plug(l); err != nil {
		return fmt.Errorf("link %s for %s (endpoint %s): %w", l.Name, l.Address, l.Endpoint.Short(), err)
	}
	return nil
}

func (w *Wires) plug(l topology.Link) error {
	if l.Segment.Attach == topology.Macvlan {
		return w.ride(l)
	}
	end, err := w.nl.LinkByName(l.Name)
	switch {
	case err == nil && end.Type() != "veth":
		return fmt.Errorf("an interface of that name exists and is a %s: rename or remove it", end.Type())
	case err == nil && end.Attrs().Alias != l.Alias():
		if end, err = w.replace(end, l); err != nil {
			return err
		}
	case missing(err):
		if end, err = w.create(l); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("look it up: %w", err)
	}
	return w.clothe(end, l)
}

// replace makes a pair of another endpoint anew. One of this endpoint is kept, whatever its alias says of it: a
// container may hold its other end.
func (w *Wires) replace(end netlink.Link, l topology.Link) (netlink.Link, error) {
	if old, err := topology.ParseAlias(end.Attrs().Alias); err != nil || old.Endpoint == l.Endpoint {
		if err := w.strip(end, l); err != nil {
			return nil, err
		}
		return end, w.name(end, l)
	}
	if err := w.nl.LinkDel(end); err != nil && !missing(err) {
		return nil, fmt.Errorf("remove the one that %q left: %w", end.Attrs().Alias, err)
	}
	return w.create(l)
}

// strip takes off a gateway that the network no longer has.
func (w *Wires) strip(end netlink.Link, l topology.Link) error {
	addrs, err := w.nl.AddrList(end, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list its addresses: %w", err)
	}
	for i := range addrs {
		if a := addrOf(addrs[i].IP); a != l.Gateway && a != l.Gateway6 && (a.Is4() || prefixOf(addrs[i].IPNet).IsSingleIP()) {
			if err := w.nl.AddrDel(end, &addrs[i]); err != nil && !missing(err) {
				return fmt.Errorf("take off %s: %w", addrs[i].IPNet, err)
			}
		}
	}
	return nil
}

func (w *Wires) create(l topology.Link) (netlink.Link, error) {
	mac, err := net.ParseMAC(l.MAC)
	if err != nil {
		return nil, fmt.Errorf("MAC: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = l.Name, l.MTU
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerHardwareAddr, pair.PeerMTU = l.Peer, mac, uint32(l.MTU)
	if err := w.nl.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("make the veth pair with %s: %w", l.Peer, err)
	}
	end, err := w.nl.LinkByName(l.Name)
	if err != nil {
		return nil, fmt.Errorf("find the new pair: %w", err)
	}
	return end, w.name(end, l)
}

func (w *Wires) name(end netlink.Link, l topology.Link) error {
	if err := w.nl.LinkSetAlias(end, l.Alias()); err != nil {
		return fmt.Errorf("set its alias: %w", err)
	}
	return nil
}

// clothe gives the host end the gateway's address, the state up and the route. The address has link scope and no
// broadcast: it is ours on every one of these links, and never a source for the node's own traffic.
func (w *Wires) clothe(end netlink.Link, l topology.Link) error {
	if end.Attrs().Flags&net.FlagUp == 0 {
		if err := w.nl.LinkSetUp(end); err != nil {
			return fmt.Errorf("set it up: %w", err)
		}
	}
	if !l.Segment.IsZero() {
		return w.bridge(end, l.Segment)
	}
	gateway := &netlink.Addr{IPNet: host(l.Gateway), Scope: unix.RT_SCOPE_LINK}
	if err := w.nl.AddrAdd(end, gateway); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("give it the gateway %s: %w", l.Gateway, err)
	}
	route := &netlink.Route{
		LinkIndex: end.Attrs().Index, Dst: host(l.Address), Scope: netlink.SCOPE_LINK, Protocol: protocol, Table: unix.RT_TABLE_MAIN,
	}
	if err := w.nl.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s to it: %w", l.Address, err)
	}
	return w.clotheSix(end, l)
}

// Unplug removes one link, and with it its address and route. One that is not there is no error.
func (w *Wires) Unplug(name string) error {
	end, err := w.end(name)
	if missing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("link %s: look it up: %w", name, err)
	}
	if !ours(end) {
		return fmt.Errorf("link %s: is not one of ours (%s, alias %q): left alone", name, end.Type(), end.Attrs().Alias)
	}
	if err := w.nl.LinkDel(end); err != nil && !missing(err) {
		return fmt.Errorf("link %s: remove it: %w", name, err)
	}
	return nil
}

// Set makes the host's links exactly these: missing parts are made, links of ours that are not named are removed, and
// what is right already is not touched, so that nobody who watches the kernel is told of a change that is none.
func (w *Wires) Set(links []topology.Link) error {
	ends, err := w.all()
	if err != nil {
		return err
	}
	family := unix.AF_INET
	if slices.ContainsFunc(links, func(l topology.Link) bool { return l.Address6.IsValid() }) {
		family = netlink.FAMILY_ALL // each link has several routes of IPv6 that are not ours
	}
	dressed, err := w.dressed(family)
	if err != nil {
		return err
	}
	var problems []error
	wanted, right := map[string]bool{}, map[string]bool{}
	for _, l := range links {
		wanted[l.Name] = true
	}
	for _, end := range ends {
		a := end.Attrs()
		if name := present(end).Name; !wanted[name] {
			problems = append(problems, w.Unplug(name))
		}
		if d := dressed[a.Index]; a.Flags&net.FlagUp != 0 && d.gateway.IsValid() && d.address.IsValid() {
			right[a.Alias+" "+d.String()] = true
		}
	}
	bridged := w.bridged(ends)
	for _, l := range links {
		if !l.Segment.IsZero() {
			if l.Segment.Attach == topology.Bridged && !bridged[l.Alias()] {
				problems = append(problems, w.Plug(l))
			}
			continue // a macvlan is in its container, and cannot be made again
		}
		if !right[l.Alias()+" "+dress{l.Gateway, l.Address, l.Gateway6, l.Address6}.String()] {
			problems = append(problems, w.Plug(l))
		}
	}
	return errors.Join(problems...)
}

// dress is what a host end wears.
type dress struct{ gateway, address, gateway6, address6 netip.Addr }

func (d dress) String() string {
	return fmt.Sprint(d.gateway, d.address, d.gateway6, d.address6)
}

// dressed tells, by interface index, the gateways' addresses and the routed addresses of all host ends, in two questions.
func (w *Wires) dressed(family int) (map[int]dress, error) {
	addrs, err := w.nl.AddrList(nil, family)
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	routes, err := w.nl.RouteListFiltered(family, &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_MAIN},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes of protocol %d: %w", protocol, err)
	}
	all := map[int]dress{}
	for _, a := range addrs {
		d, ip := all[a.LinkIndex], addrOf(a.IP)
		switch {
		case a.Scope != unix.RT_SCOPE_LINK:
		case ip.Is4():
			d.gateway = ip
		case prefixOf(a.IPNet).IsSingleIP(): // the one that the kernel made is a /64
			d.gateway6 = ip
		}
		all[a.LinkIndex] = d
	}
	for _, r := range routes {
		d, to := all[r.LinkIndex], prefixOf(r.Dst).Addr()
		switch {
		case r.Gw != nil:
		case to.Is4():
			d.address = to
		case to.Is6():
			d.address6 = to
		}
		all[r.LinkIndex] = d
	}
	return all, nil
}

// List tells which links of ours the kernel has, sorted by name. One without a readable alias (a plugin died between
// two steps) has only its names.
func (w *Wires) List() ([]topology.Present, error) {
	ends, err := w.all()
	if err != nil {
		return nil, err
	}
	all := make([]topology.Present, 0, len(ends))
	for _, end := range ends {
		all = append(all, present(end))
	}
	slices.SortFunc(all, func(a, b topology.Present) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Find tells of one link of ours.
func (w *Wires) Find(name string) (topology.Present, bool, error) {
	end, err := w.end(name)
	if missing(err) {
		return topology.Present{}, false, nil
	}
	if err != nil {
		return topology.Present{}, false, fmt.Errorf("link %s: look it up: %w", name, err)
	}
	return present(end), ours(end), nil
}

func present(end netlink.Link) topology.Present {
	name := end.Attrs().Name
	l, err := topology.ParseAlias(end.Attrs().Alias)
	if end.Type() == macvlan {
		return topology.Present{Link: cmp.Or(l, topology.Link{Name: topology.HostEndOf(name)}), PeerHome: true}
	}
	if err != nil || l.Name != name {
		l = topology.Link{Name: name}
	}
	// A peer in another namespace has that namespace's number in the answer; one at home has none.
	home := end.Attrs().NetNsID < 0
	return topology.Present{Link: l, PeerHome: home, Asleep: !home && l.Segment.Attach == topology.Bridged && end.Attrs().OperState != netlink.OperUp}
}

func (w *Wires) all() ([]netlink.Link, error) {
	links, err := w.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the host's links: %w", err)
	}
	return slices.DeleteFunc(links, func(l netlink.Link) bool { return !ours(l) }), nil
}

// ours is a veth with a name that we give, and with our alias or, when a plugin died before it could set one, none; or a
// macvlan that no container has.
func ours(l netlink.Link) bool {
	a := l.Attrs()
	if l.Type() == macvlan {
		return topology.HostEndOf(a.Name) != "" && (a.Alias == "" || topology.OwnAlias(a.Alias))
	}
	return l.Type() == "veth" && topology.OwnName(a.Name) && (a.Alias == "" || topology.OwnAlias(a.Alias))
}
