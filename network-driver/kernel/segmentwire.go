package kernel

import "github.com/vishvananda/netlink"

// segmentWire is what segments take of netlink, as it names it: a test lets it end after any of its effects.
type segmentWire interface {
	links
	LinkByIndex(index int) (netlink.Link, error)
	LinkList() ([]netlink.Link, error)
	LinkSetMTU(l netlink.Link, mtu int) error
	LinkSetMaster(l, master netlink.Link) error
	LinkSetNoMaster(netlink.Link) error
	AddrList(l netlink.Link, family int) ([]netlink.Addr, error)
	AddrAdd(netlink.Link, *netlink.Addr) error
	AddrDel(netlink.Link, *netlink.Addr) error
	RuleList(family int) ([]netlink.Rule, error)
	RouteListFiltered(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error)
	RouteReplace(*netlink.Route) error
	NeighList(index, family int) ([]netlink.Neigh, error)
	NeighSet(*netlink.Neigh) error
	Close()
}
