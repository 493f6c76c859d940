package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// gobgp (v4.8.0) sends a neighbour all routes when its session begins, and takes the session for one to send changes on a
// moment later: a route that is withdrawn in that moment stays with the neighbour for good. Sending all again does not
// heal it, since what is no longer there is not sent. But it does take back what it had sent and what the filters refuse
// now: so, while all is sent again, a shadow stands where a route was withdrawn lately, which no filter lets out.

const (
	// rememberFor is longer than a repair can be put off behind the session that made it needful.
	rememberFor = longestBurst + longestSending + deferral + repairAfter + 20*time.Second
	shadowSet   = "shadows"
)

// takenBack is what was withdrawn lately, and the shadows of it.
type takenBack struct {
	since   map[netip.Prefix]time.Time
	shadows map[netip.Prefix]*apiutil.Path // in the server's table at present
}

func newTakenBack() takenBack {
	return takenBack{since: map[netip.Prefix]time.Time{}, shadows: map[netip.Prefix]*apiutil.Path{}}
}

// forget drops what is too old to matter.
func (b *takenBack) forget(now time.Time) {
	maps.DeleteFunc(b.since, func(_ netip.Prefix, at time.Time) bool { return now.Sub(at) > rememberFor })
}

// there says that a route is there again. Of our own it takes the shadow's place in the server's table.
func (b *takenBack) there(p netip.Prefix, own bool) {
	delete(b.since, p)
	if own {
		delete(b.shadows, p)
	}
}

// shade lays the shadows. Whatever is there again is better than its shadow.
func (r *run) shade(now time.Time) error {
	r.mu.Lock()
	r.back.forget(now)
	var all []*apiutil.Path
	for p := range r.back.since {
		if s, err := shadow(p, r.self); err == nil {
			r.back.shadows[p] = s
			all = append(all, s)
		}
	}
	r.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	if _, err := r.server.AddPath(apiutil.AddPathRequest{Paths: all}); err != nil {
		return fmt.Errorf("mark %d prefixes as taken back: %w", len(all), err)
	}
	return nil
}

// lift takes the shadows away.
func (r *run) lift() error {
	r.mu.Lock()
	var all []*apiutil.Path
	for _, s := range r.back.shadows {
		all = append(all, s)
	}
	r.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	if err := r.server.DeletePath(apiutil.DeletePathRequest{Paths: all}); err != nil {
		return fmt.Errorf("no longer mark %d prefixes as taken back: %w", len(all), err)
	}
	r.mu.Lock()
	clear(r.back.shadows)
	r.mu.Unlock()
	return nil
}

// shadow is a path that is worse than any other to its prefix: stale for long comes first in gobgp's comparison.
func shadow(p netip.Prefix, self netip.Addr) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(p)
	if err != nil {
		return nil, err
	}
	hop := self
	if p.Addr().Is6() {
		hop = netip.IPv6Loopback() // it is told nobody
	}
	family, reached, err := reach(nlri, p, hop)
	if err != nil {
		return nil, err
	}
	return &apiutil.Path{Family: family, Nlri: nlri, Attrs: []bgp.PathAttributeInterface{
		bgp.NewPathAttributeOrigin(0), reached, bgp.NewPathAttributeLocalPref(0), bgp.NewPathAttributeCommunities([]uint32{uint32(bgp.COMMUNITY_LLGR_STALE)}),
	}}, nil
}

// shadows is how the filters know them. Nodes keep nothing stale for long of each other, and routers tell us nothing.
func shadows() *api.DefinedSet {
	stale := uint32(bgp.COMMUNITY_LLGR_STALE)
	return &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_COMMUNITY, Name: shadowSet, List: []string{fmt.Sprintf("^%d:%d$", stale>>16, stale&0xffff)}}
}

func noShadows() *api.Statement {
	return statement(shadowSet, &api.Conditions{CommunitySet: among(shadowSet)}, api.RouteAction_ROUTE_ACTION_REJECT)
}
