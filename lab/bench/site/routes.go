package site

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A RouteChange is one host route that came or went in a kernel, at the moment that the kernel told it.
type RouteChange struct {
	Address netip.Addr
	Gone    bool
	At      time.Time
}

// Routes tells each /32 that comes or goes in the kernel of the node or the router, until ctx ends.
func (s *Site) Routes(ctx context.Context, node string) (<-chan RouteChange, error) {
	raw := make(chan netlink.RouteUpdate, 1024)
	err := s.Lab.InNetwork(node, func() error { return netlink.RouteSubscribe(raw, ctx.Done()) })
	if err != nil {
		return nil, fmt.Errorf("watch the routes of %s: %w", node, err)
	}
	out := make(chan RouteChange, 1024)
	go func() {
		defer close(out)
		for u := range raw {
			if c, ok := routeChange(u, time.Now()); ok {
				select {
				case out <- c:
				case <-ctx.Done():
				}
			}
		}
	}()
	return out, nil
}

func routeChange(u netlink.RouteUpdate, now time.Time) (RouteChange, bool) {
	if u.Dst == nil || u.Table != unix.RT_TABLE_MAIN {
		return RouteChange{}, false
	}
	a, ok := netip.AddrFromSlice(u.Dst.IP.To4())
	if ones, bits := u.Dst.Mask.Size(); !ok || ones != 32 || bits != 32 {
		return RouteChange{}, false
	}
	return RouteChange{Address: a, Gone: u.Type == unix.RTM_DELROUTE, At: now}, true
}

// Addresses are those to which the kernel of the node or the router has a /32, in any of its tables.
func (s *Site) Addresses(node string) (map[netip.Addr]bool, error) {
	var all []netlink.Route
	err := s.Lab.InNetwork(node, func() (err error) {
		all, err = netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("routes of %s: %w", node, err)
	}
	found := map[netip.Addr]bool{}
	for _, r := range all {
		if r.Dst == nil || r.Type != unix.RTN_UNICAST {
			continue
		}
		if ones, _ := r.Dst.Mask.Size(); ones == 32 {
			a, _ := netip.AddrFromSlice(r.Dst.IP.To4())
			found[a] = true
		}
	}
	return found, nil
}

// Await takes changes from the channel until one is wanted.
func Await(ctx context.Context, from <-chan RouteChange, within time.Duration, what string, wanted func(RouteChange) bool) (RouteChange, error) {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case c, open := <-from:
			if !open {
				return RouteChange{}, fmt.Errorf("%s: the kernel tells no more", what)
			}
			if wanted(c) {
				return c, nil
			}
		case <-late.C:
			return RouteChange{}, fmt.Errorf("%s: not within %s", what, within)
		case <-ctx.Done():
			return RouteChange{}, fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}
