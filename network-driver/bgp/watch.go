package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Session is how it stands with one neighbour.
type Session struct {
	Address  netip.Addr `json:"address"`
	ASN      uint32     `json:"asn"`
	Port     int        `json:"port"`
	Passive  bool       `json:"passive"`
	Client   bool       `json:"client"`
	Router   bool       `json:"router"`
	State    string     `json:"state"`
	Since    time.Time  `json:"since,omitzero"`
	Received uint64     `json:"received"`
	Accepted uint64     `json:"accepted"`
	Flaps    int        `json:"flaps"`
	Heard    bool       `json:"endOfRIB"`
	CutOff   bool       `json:"cutOff"` // it sent too many prefixes, and waits for its pardon
	Silent   bool       `json:"silent"` // its node's kernel does not answer
}

// Established is the state of a session that works.
const Established = "established"

// watch turns the server's events into what was learnt.
func (r *run) watch(ctx context.Context) error {
	err := r.server.WatchEvent(ctx, server.WatchEventMessageCallbacks{
		OnBestPath:   func(paths []*apiutil.Path, _ time.Time) { r.onBest(paths) },
		OnPathEor:    func(p *apiutil.Path, _ time.Time) { r.onEnd(p.PeerAddress, p.Family) },
		OnPeerUpdate: func(e *apiutil.WatchEventMessage_PeerEvent, t time.Time) { r.onPeer(e, t) },
	}, server.WatchBestPath(true), server.WatchPeer(), server.WatchEor(true))
	if err != nil {
		return fmt.Errorf("watch its events: %w", err)
	}
	return nil
}

func (r *run) onBest(paths []*apiutil.Path) {
	var changes []topology.Route
	turned := false
	r.mu.Lock()
	for _, p := range paths {
		prefix, err := netip.ParsePrefix(p.Nlri.String())
		if p.Family != bgp.RF_IPv4_UC && p.Family != bgp.RF_IPv6_UC || err != nil {
			continue
		}
		home := r.homeOf(p)
		t := topology.Route{Prefix: prefix, Via: r.via(p, home)}
		if t.Via.IsValid() {
			marks := marksOf(p)
			t.Mark, t.Near = fabric.OwnerOf(r.settings.ASN, marks), fabric.IsNear(r.settings.ASN, marks)
		}
		if !t.Via.IsValid() && r.keeps(prefix) {
			continue
		}
		r.lull.told(prefix)
		if delete(r.nearby, prefix); t.Near {
			r.nearby[prefix] = true
		}
		if t.Via.IsValid() {
			r.held[prefix] = home
			r.back.there(prefix, false)
			r.measure(home, p)
		} else {
			r.takeBack(prefix)
		}
		turned = r.remember(prefix, t.Via, p) || turned
		changes = append(changes, t)
	}
	r.compare = r.compare || len(changes) > 0
	r.mu.Unlock()
	if len(changes) > 0 {
		r.told.Learn(changes)
	}
	if turned {
		r.nudge()
	}
}

// takeBack notes that a route of another node's was withdrawn. The caller holds the lock.
func (r *run) takeBack(p netip.Prefix) {
	if _, held := r.held[p]; held {
		delete(r.held, p)
		r.back.since[p] = time.Now()
	}
}

// keeps says that a route stays although the server withdrew it: nobody is left who could know better, and its node is
// not known to be gone. The caller holds the lock.
func (r *run) keeps(p netip.Prefix) bool {
	via, held := r.held[p]
	if !held || r.reflected() {
		return false
	}
	if s, ok := r.seen[via]; ok && s.silent {
		return false
	}
	r.lull.keep(p, via)
	return true
}

// remember notes to which pool a learnt route belongs, and says that this changed. The caller holds the lock.
func (r *run) remember(p netip.Prefix, via netip.Addr, path *apiutil.Path) bool {
	before, had := r.pools[p]
	pool, has := netip.Prefix{}, false
	if via.IsValid() {
		pool, has = r.poolOf(p, path)
	}
	switch {
	case has:
		r.pools[p] = pool
	case had:
		delete(r.pools, p)
	}
	return had != has || before != pool
}

// homeOf is the node that a route comes from, by its IPv4 address: the next hop itself, or, where that is an IPv6
// address, who told it first.
func (r *run) homeOf(p *apiutil.Path) netip.Addr {
	if p.Family == bgp.RF_IPv4_UC {
		return nextHop(p)
	}
	for _, a := range p.Attrs {
		if o, ok := a.(*bgp.PathAttributeOriginatorId); ok {
			return o.Value
		}
	}
	return p.PeerAddress.Unmap()
}

// via is the next hop of a route of another node, or none.
func (r *run) via(p *apiutil.Path, home netip.Addr) netip.Addr {
	hop := nextHop(p)
	switch {
	case p.Withdrawal, !hop.IsValid(), hop.IsUnspecified(), !home.IsValid(), home.IsUnspecified(), home == r.self:
		return netip.Addr{}
	case hop.IsLinkLocalUnicast() && hop.Is6():
		return hop.WithZone(home.String())
	}
	return hop
}

func nextHop(p *apiutil.Path) netip.Addr {
	for _, a := range p.Attrs {
		switch v := a.(type) {
		case *bgp.PathAttributeNextHop:
			return v.Value
		case *bgp.PathAttributeMpReachNLRI:
			return v.Nexthop
		}
	}
	return netip.Addr{}
}

func (r *run) at(a netip.Addr) *seen {
	s, ok := r.seen[a.Unmap()]
	if !ok {
		s = &seen{}
		r.seen[a.Unmap()] = s
	}
	return s
}

// onEnd counts a neighbour as heard with the last End-of-RIB of the families that it speaks.
func (r *run) onEnd(from netip.Addr, family bgp.Family) {
	r.mu.Lock()
	s := r.at(from)
	delete(s.awaits, family)
	if len(s.awaits) > 0 {
		r.mu.Unlock()
		return
	}
	if !s.heard && s.up {
		r.converged = time.Since(s.since)
	}
	s.heard = true
	r.mu.Unlock()
	r.nudge()
}

func (r *run) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *run) onPeer(e *apiutil.WatchEventMessage_PeerEvent, now time.Time) {
	if e.Type != apiutil.PEER_EVENT_STATE && e.Type != apiutil.PEER_EVENT_INIT {
		return
	}
	r.mu.Lock()
	s := r.at(e.Peer.State.NeighborAddress)
	was, up := s.up, e.Peer.State.SessionState == bgp.BGP_FSM_ESTABLISHED
	s.up = up
	switch {
	case was && !up:
		s.heard, s.stale = false, true
		s.flaps++
	case up:
		s.stale, s.silent, s.since = false, false, now
		if !was {
			s.awaits = spoken(e.Peer.State.RemoteCap)
		}
	}
	if e.Peer.State.AdminState == api.PeerState_ADMIN_STATE_PFX_CT && s.cutOff.IsZero() {
		s.cutOff = now
	}
	r.mu.Unlock()
	if was == up {
		return
	}
	if up {
		r.log.Info("session up", "neighbour", e.Peer.State.NeighborAddress)
		r.deadlines.joined(now)
	} else {
		r.log.Warn("session down", "neighbour", e.Peer.State.NeighborAddress, "cause", e.Peer.State.DisconnectMessage)
	}
	r.nudge()
}

// spoken are those families of ours that the neighbour speaks, too.
func spoken(capabilities []bgp.ParameterCapabilityInterface) map[bgp.Family]bool {
	all := map[bgp.Family]bool{}
	for _, c := range capabilities {
		if m, ok := c.(*bgp.CapMultiProtocol); ok && (m.CapValue == bgp.RF_IPv4_UC || m.CapValue == bgp.RF_IPv6_UC) {
			all[m.CapValue] = true
		}
	}
	return all
}

func (r *run) standing() Standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Standing{
		Held: len(r.held) - len(r.nearby), Kept: len(r.lull.kept), Own: len(r.own), Border: r.border, Drained: r.drained,
		Lost: r.lost, Settled: r.settledIn, Converged: r.converged, MTUs: r.strangers(), Outside: r.outside,
	}
}

// sessions asks the server, whose answer is in one piece with no lock of ours held.
func (r *run) sessions(ctx context.Context) ([]Session, error) {
	var all []Session
	err := r.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		a, err := netip.ParseAddr(p.GetState().GetNeighborAddress())
		if err != nil {
			return
		}
		s := Session{Address: a, State: strings.ToLower(strings.TrimPrefix(p.GetState().GetSessionState().String(), "SESSION_STATE_"))}
		if up := p.GetTimers().GetState().GetUptime(); s.State == Established && up != nil {
			s.Since = up.AsTime()
		}
		for _, f := range p.GetAfiSafis() {
			s.Received += f.GetState().GetReceived()
			s.Accepted += f.GetState().GetAccepted()
		}
		all = append(all, s)
	})
	if err != nil {
		return nil, fmt.Errorf("ask the BGP server for its sessions: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range all {
		s := &all[i]
		n := r.neighbours[s.Address]
		s.ASN, s.Port, s.Passive, s.Client, s.Router = n.ASN, n.Port, n.Passive, n.Client, n.Router
		if e, ok := r.seen[s.Address]; ok {
			s.Flaps, s.Heard, s.CutOff, s.Silent = e.flaps, e.heard, !e.cutOff.IsZero(), e.silent
		}
	}
	slices.SortFunc(all, func(a, b Session) int { return a.Address.Compare(b.Address) })
	return all, nil
}
