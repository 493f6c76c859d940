package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// saying is how a prefix is announced; one that differs is announced anew.
type saying struct {
	pool    int // length of the pool that routers are told in its stead; 0: the address itself
	drained bool
	hop     netip.Addr
	mtu     int
	mark    isolation.Number // of a container's address
	near    bool             // nobody routes to it
}

// announce makes what this node tells equal to what it has, and to the pools that it stands for.
func (r *run) announce(want wish) error {
	wanted := map[netip.Prefix]saying{}
	for _, a := range want.own {
		s := r.saying(want, a.Address)
		s.mark, s.near = a.Mark, a.Near
		if a.Pool.IsValid() {
			s.pool = a.Pool.Bits()
		}
		if s.hop.IsValid() {
			wanted[netip.PrefixFrom(a.Address, a.Address.BitLen())] = s
		}
	}
	border := r.borders(want)
	for _, p := range border {
		if s := r.saying(want, p.Addr()); s.hop.IsValid() {
			wanted[p] = s
		}
	}
	var add, drop []*apiutil.Path
	for p, s := range wanted {
		if have, told := r.own[p]; told && have == s {
			continue
		}
		path, err := r.path(p, s)
		if err != nil {
			return err
		}
		add = append(add, path)
	}
	for p, s := range r.own {
		if _, stays := wanted[p]; stays {
			continue
		}
		path, err := r.path(p, s)
		if err != nil {
			return err
		}
		drop = append(drop, path)
	}
	r.mu.Lock()
	for p := range wanted {
		r.back.there(p, true)
	}
	r.mu.Unlock()
	if err := r.tell(add, drop); err != nil {
		return err
	}
	r.mu.Lock()
	for p := range r.own {
		if _, stays := wanted[p]; !stays {
			r.back.since[p] = time.Now()
		}
	}
	turned := !slices.Equal(border, r.border)
	r.outside = 0
	for p := range wanted {
		if !r.allows(p) {
			r.outside++
		}
	}
	r.compare = r.compare || r.mtu != want.mtu
	r.own, r.border, r.drained, r.mtu = wanted, border, want.drained, want.mtu
	r.mu.Unlock()
	if turned {
		r.log.Info("announces whole pools to routers", "pools", border)
		r.told.Border(border)
	}
	return nil
}

// saying is how this node tells of an address of its own. Without a next hop it does not.
func (r *run) saying(want wish, a netip.Addr) saying {
	s := saying{drained: want.drained, hop: r.self, mtu: want.mtu}
	if a.Is6() {
		s.hop = want.six
	}
	return s
}

func (r *run) tell(add, drop []*apiutil.Path) error {
	if len(drop) > 0 {
		if err := r.server.DeletePath(apiutil.DeletePathRequest{Paths: drop}); err != nil {
			return fmt.Errorf("withdraw %d prefixes: %w", len(drop), err)
		}
	}
	if len(add) > 0 {
		if _, err := r.server.AddPath(apiutil.AddPathRequest{Paths: add}); err != nil {
			return fmt.Errorf("announce %d prefixes: %w", len(add), err)
		}
	}
	return nil
}

// borders are the pools that a node with a router among its neighbours announces as a whole, sorted: while any address
// in them is known to be somewhere.
func (r *run) borders(want wish) []netip.Prefix {
	if !slices.ContainsFunc(want.neighbours, func(n topology.Neighbour) bool { return n.Router }) {
		return nil
	}
	found := map[netip.Prefix]bool{}
	for _, a := range want.own {
		if a.Pool.IsValid() && r.allows(a.Pool) {
			found[a.Pool] = true
		}
	}
	r.mu.Lock()
	for _, p := range r.pools {
		found[p] = true
	}
	r.mu.Unlock()
	return sorted(found)
}

func sorted(set map[netip.Prefix]bool) []netip.Prefix {
	var all []netip.Prefix
	for p := range set {
		all = append(all, p)
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// allows keeps pools within those of the settings, where there are any.
func (r *run) allows(p netip.Prefix) bool {
	return len(r.settings.Pools) == 0 || slices.ContainsFunc(r.settings.Pools, func(o netip.Prefix) bool {
		return o.Contains(p.Addr()) && o.Bits() <= p.Bits()
	})
}

func (r *run) path(p netip.Prefix, s saying) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, fmt.Errorf("announce %s: %w", p, err)
	}
	family, hop, err := reach(nlri, p, s.hop)
	if err != nil {
		return nil, fmt.Errorf("announce %s by %s: %w", p, s.hop, err)
	}
	attributes := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(0), hop}
	if s.drained {
		attributes = append(attributes, bgp.NewPathAttributeLocalPref(0), bgp.NewPathAttributeCommunities([]uint32{fabric.Shutdown().Number()}))
	}
	var marks []*bgp.LargeCommunity
	for _, m := range s.marks(r.settings.ASN) {
		marks = append(marks, &bgp.LargeCommunity{ASN: m.A, LocalData1: m.B, LocalData2: m.C})
	}
	if len(marks) > 0 {
		attributes = append(attributes, bgp.NewPathAttributeLargeCommunities(marks))
	}
	return &apiutil.Path{Family: family, Nlri: nlri, Attrs: attributes}, nil
}

// marks are the large communities that say what a route alone does not.
func (s saying) marks(asn uint32) []fabric.Community {
	var all []fabric.Community
	if s.pool > 0 {
		all = append(all, fabric.Aggregated(asn, s.pool))
	}
	if s.mark != isolation.None {
		all = append(all, fabric.Owned(asn, s.mark))
	}
	if s.near {
		all = append(all, fabric.Near(asn))
	}
	if s.mtu > 0 {
		all = append(all, fabric.MTU(asn, s.mtu))
	}
	return all
}

// reach is the next hop as the family wants it.
func reach(nlri bgp.NLRI, p netip.Prefix, hop netip.Addr) (bgp.Family, bgp.PathAttributeInterface, error) {
	if p.Addr().Is4() {
		a, err := bgp.NewPathAttributeNextHop(hop)
		return bgp.RF_IPv4_UC, a, err
	}
	a, err := bgp.NewPathAttributeMpReachNLRI(bgp.RF_IPv6_UC, []bgp.PathNLRI{{NLRI: nlri}}, hop)
	return bgp.RF_IPv6_UC, a, err
}

// marksOf are the large communities of a learnt route.
func marksOf(path *apiutil.Path) []fabric.Community {
	var marks []fabric.Community
	for _, a := range path.Attrs {
		if large, ok := a.(*bgp.PathAttributeLargeCommunities); ok {
			for _, c := range large.Values {
				marks = append(marks, fabric.Community{A: c.ASN, B: c.LocalData1, C: c.LocalData2, Large: true})
			}
		}
	}
	return marks
}

// poolOf is the pool that a learnt route belongs to, if it is announced as a whole.
func (r *run) poolOf(p netip.Prefix, path *apiutil.Path) (netip.Prefix, bool) {
	pool, ok := fabric.PoolOf(r.settings.ASN, p.Addr(), marksOf(path))
	return pool, ok && r.allows(pool)
}
