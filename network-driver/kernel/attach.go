package kernel

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// macvlan is how the kernel calls the type.
const macvlan = "macvlan"

// end is a link's host end, or the one end that a macvlan has, while no container has it.
func (w *Wires) end(name string) (netlink.Link, error) {
	end, err := w.nl.LinkByName(name)
	if missing(err) {
		rider, err := w.nl.LinkByName("rc" + strings.TrimPrefix(name, topology.HostEnds))
		if err == nil && rider.Type() != macvlan {
			return nil, netlink.LinkNotFoundError{}
		}
		return rider, err
	}
	return end, err
}

// bridge makes the host end a port of its segment's bridge.
func (w *Wires) bridge(end netlink.Link, g topology.Segment) error {
	bridge, err := device(w.nl, g)
	if err != nil {
		return err
	}
	if end.Attrs().MasterIndex == bridge.Attrs().Index {
		return nil
	}
	if err := w.nl.LinkSetMaster(end, bridge); err != nil {
		return fmt.Errorf("make it a port of %s: %w", bridge.Attrs().Name, err)
	}
	return nil
}

// bridged tells which host ends are up and ports of their bridges, by alias.
func (w *Wires) bridged(ends []netlink.Link) map[string]bool {
	right := map[string]bool{}
	known := map[topology.Segment]int{}
	for _, end := range ends {
		a := end.Attrs()
		g := present(end).Segment
		if g.Attach != topology.Bridged {
			continue
		}
		if _, looked := known[g]; !looked {
			known[g] = -1
			if bridge, err := device(w.nl, g); err == nil { // else each link says what is wrong
				known[g] = bridge.Attrs().Index
			}
		}
		right[a.Alias] = a.Flags&net.FlagUp != 0 && a.MasterIndex == known[g]
	}
	return right
}

// ride makes a macvlan on the parent, for the engine to move.
func (w *Wires) ride(l topology.Link) error {
	parent, err := w.nl.LinkByName(l.Segment.Parent)
	if err != nil {
		return fmt.Errorf("look up %s: %w", l.Segment.Parent, err)
	}
	mac, err := net.ParseMAC(l.MAC)
	if err != nil {
		return fmt.Errorf("MAC: %w", err)
	}
	if old, err := w.nl.LinkByName(l.Peer); err == nil {
		if old.Type() == macvlan && old.Attrs().Alias == l.Alias() {
			return nil
		}
		if !ours(old) {
			return fmt.Errorf("an interface %s exists and is not ours (%s): rename or remove it", l.Peer, old.Type())
		}
		if err := w.nl.LinkDel(old); err != nil && !missing(err) {
			return fmt.Errorf("remove the one that %q left: %w", old.Attrs().Alias, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr, attrs.MTU = l.Peer, parent.Attrs().Index, mac, l.MTU
	if err := w.nl.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return fmt.Errorf("make a macvlan on %s: %w", l.Segment.Parent, err)
	}
	made, err := w.nl.LinkByName(l.Peer)
	if err != nil {
		return fmt.Errorf("find the new macvlan: %w", err)
	}
	if err := w.nl.LinkSetAlias(made, l.Alias()); err != nil {
		return errors.Join(fmt.Errorf("set its alias: %w", err), w.nl.LinkDel(made))
	}
	return nil
}
