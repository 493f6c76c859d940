// Package listing lists what the kernel has of links, addresses, routes and queue disciplines, and never a part of it: where
// containers come and go all the time, a listing is cut short by the next change every so often. It knows netlink's
// sockets, and nothing of what is listed.
package listing

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tries are far more than a busy node needs: a change every ten milliseconds cuts a listing of one short rarely.
const tries = 20

// Handle is a socket whose listings are whole.
type Handle struct{ *netlink.Handle }

// Open works in the network namespace of the calling thread, also when other threads call later.
func Open() (*Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w: the plugin needs CAP_NET_ADMIN on the host's network", err)
	}
	return &Handle{h}, nil
}

// LinkList lists all links.
func (h *Handle) LinkList() ([]netlink.Link, error) { return whole(h.Handle.LinkList) }

// AddrList lists a link's addresses, or, with nil, those of all.
func (h *Handle) AddrList(l netlink.Link, family int) ([]netlink.Addr, error) {
	return whole(func() ([]netlink.Addr, error) { return h.Handle.AddrList(l, family) })
}

// RouteListFiltered lists the routes that are like the given one.
func (h *Handle) RouteListFiltered(family int, like *netlink.Route, by uint64) ([]netlink.Route, error) {
	return whole(func() ([]netlink.Route, error) { return h.Handle.RouteListFiltered(family, like, by) })
}

// QdiscList lists a link's queue disciplines, or, with nil, those of all.
func (h *Handle) QdiscList(l netlink.Link) ([]netlink.Qdisc, error) {
	return whole(func() ([]netlink.Qdisc, error) { return h.Handle.QdiscList(l) })
}

// whole asks again when a change came between.
func whole[T any](list func() ([]T, error)) (all []T, err error) {
	for range tries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}
