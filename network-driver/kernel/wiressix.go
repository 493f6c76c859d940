package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// boxMetric of the route to a container here, roadMetric of one to another node's: the kernel takes the lower, and
	// removes what has the metric that it is told. IPv6 routes have no scope to tell the two apart by.
	boxMetric  = 512
	roadMetric = 1024
)

// clotheSix gives the host end the IPv6 gateway's address and route, in a network with IPv6. The address needs no look
// for duplicates: nobody else is on the link but the container.
func (w *Wires) clotheSix(end netlink.Link, l topology.Link) error {
	if !l.Address6.IsValid() {
		return nil
	}
	if err := enableSix(l.Name); err != nil {
		return err
	}
	gateway := &netlink.Addr{IPNet: host(l.Gateway6), Scope: unix.RT_SCOPE_LINK, Flags: unix.IFA_F_NODAD}
	if err := w.nl.AddrAdd(end, gateway); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("give it the gateway %s: %w", l.Gateway6, err)
	}
	if err := w.nl.RouteDel(road(l.Address6)); err != nil && !missing(err) {
		return fmt.Errorf("remove the road to %s: %w", l.Address6, err)
	}
	route := &netlink.Route{LinkIndex: end.Attrs().Index, Dst: host(l.Address6), Protocol: protocol, Table: unix.RT_TABLE_MAIN, Priority: boxMetric}
	if err := w.nl.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s to it: %w", l.Address6, err)
	}
	return nil
}

// enableSix turns IPv6 on for one host end of ours, on a node where it is off for new interfaces.
func enableSix(link string) error {
	key := "net/ipv6/conf/" + link + "/disable_ipv6"
	off, err := readSwitch(key)
	switch {
	case errors.Is(err, unix.ENOENT):
		return errors.New("this node's kernel has no IPv6: start it without ipv6.disable=1, or make the network without rolling.ipv6")
	case err != nil:
		return fmt.Errorf("read %s: %w", key, err)
	case off == "0":
		return nil
	}
	return writeSwitch(key, "0")
}
