package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// links is what making an interface takes of netlink.
type links interface {
	LinkByName(name string) (netlink.Link, error)
	LinkAdd(netlink.Link) error
	LinkDel(netlink.Link) error
	LinkSetAlias(l netlink.Link, text string) error
	LinkSetUp(netlink.Link) error
}

// tag makes the interface of a VLAN, with an alias by which it is known again when nobody needs it.
func tag(nl links, g topology.Segment) (netlink.Link, error) {
	name, id, _ := g.VLAN()
	lower, err := nl.LinkByName(name)
	if missing(err) {
		return nil, fmt.Errorf("this node has no interface %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.MTU = g.Parent, lower.Attrs().Index, lower.Attrs().MTU
	err = nl.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("make VLAN %d on %s: %w: this kernel has no 8021q: load it", id, name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make VLAN %d on %s: %w", id, name, err)
	}
	made, err := nl.LinkByName(g.Parent)
	if err != nil {
		return nil, fmt.Errorf("find the new VLAN: %w", err)
	}
	if err := errors.Join(nl.LinkSetAlias(made, g.VLANAlias()), nl.LinkSetUp(made)); err != nil {
		return nil, errors.Join(err, nl.LinkDel(made))
	}
	return nl.LinkByName(g.Parent)
}

// untag takes the interface of a VLAN away that was made by tag.
func untag(nl links, l netlink.Link) error {
	if err := nl.LinkDel(l); err != nil && !missing(err) {
		return fmt.Errorf("remove VLAN %s: %w", l.Attrs().Name, err)
	}
	return nil
}
