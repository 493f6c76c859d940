package pool

import (
	"net/netip"
	"time"
)

// View is what Swarm (global space) or this node's engine (local space) holds, as asked at one moment.
type View struct {
	Space    Space
	Began    time.Time // before the first question was sent
	Networks []Network
	Holdings []Holding
	Nodes    map[string]Node // by id
}

// Network is a network that the view lists, with its gateway.
type Network struct {
	Name    string
	Key     Key
	Gateway netip.Addr
	Opaque  bool // Swarm gives addresses of it to things that no question shows (an overlay's load balancers)
}

// Holding is an address that something holds, or held until it ended.
type Holding struct {
	Key   Key // zero: the network is not known, so the address counts in every pool that has it
	Addr  netip.Addr
	Owner Owner
	Ended time.Time // zero: it lives
	Lost  bool      // ended because its node was removed, not because it stopped
}

// Node is a machine of the Swarm.
type Node struct {
	Name  string
	Ready bool
}

// Seen sums up what a view changed.
type Seen struct {
	Adopted, Freed, Kept int
	Twice                map[netip.Addr][]string // addresses that two live owners hold
}

// observation is a view on its way through the book.
type observation struct {
	View
	now     int64
	began   int64
	held    map[*pool]map[uint32]bool
	opaque  map[*pool]bool
	routers map[Key]map[netip.Addr]bool
	change  Change
	seen    Seen
}

// Observe compares the book with what Swarm holds. What Swarm holds is confirmed, or adopted when the book lacks it.
// What two views with a pause between them lack, and no call named meanwhile, rests from now on.
func (b *Book) Observe(at time.Time, v View) (Change, Seen) {
	o := &observation{View: v, now: millis(at), began: millis(v.Began), held: map[*pool]map[uint32]bool{}, opaque: map[*pool]bool{}, routers: map[Key]map[netip.Addr]bool{}}
	if v.Space == Global {
		b.noticeLoss(o)
		b.nodes, b.lastView = v.Nodes, o.began
		for id, n := range v.Nodes {
			b.called[id] = n.Name
		}
		b.settled.call(v.Networks)
	}
	b.countNetworks(o)
	owners := map[netip.Addr][]string{}
	for _, h := range v.Holdings {
		if !h.Addr.Is4() || !h.Ended.IsZero() {
			continue
		}
		b.confirm(o, h)
		if v.Space == Global && len(b.poolsWith(o, h)) > 0 {
			owners[h.Addr] = append(owners[h.Addr], b.named(&h.Owner).String())
		}
	}
	if b.blind != 0 && v.Space == Global && o.began-b.blind >= b.policy.Pause.Milliseconds() {
		b.blind = 0
		o.change.Meta = b.meta()
	}
	b.sweep(o)
	for _, h := range v.Holdings {
		if h.Addr.Is4() && !h.Ended.IsZero() {
			b.remember(o, h)
		}
	}
	b.sweepShares(o)
	o.seen.Twice = map[netip.Addr][]string{}
	for a, who := range owners {
		if len(who) > 1 {
			o.seen.Twice[a] = who
		}
	}
	if v.Space == Global {
		b.twice = o.seen.Twice
	}
	return o.change, o.seen
}

// Unheard reports whether Swarm was not seen since the pool was last asked for. A new leader's plugin is told of nothing that
// containers of a removed network hold, nor those of a removed node, and an address that nobody named could be one of theirs.
func (b *Book) Unheard(key Key) bool {
	s := b.shares[key]
	return s != nil && s.terms.Space == Global && b.lastView < s.Asked
}

// noticeLoss: the Swarm keeps no network whose pool was not requested before. A book that knows none of them is that of
// a ledger that is gone without a trace, so an answer of just before may be missing in this view, as in one after a
// ledger that was torn.
func (b *Book) noticeLoss(o *observation) {
	if b.blind != 0 || len(o.Networks) == 0 || b.Has(Global) {
		return
	}
	b.blind = o.began
	o.change.Meta = b.meta()
}

// poolsWith are the pools that a holding counts in.
func (b *Book) poolsWith(o *observation, h Holding) []*pool {
	if s := b.shares[h.Key]; s != nil && s.pool.prefix.Contains(h.Addr) {
		return []*pool{s.pool}
	}
	var found []*pool
	for _, p := range b.pools {
		if p.space == o.Space && p.prefix.Contains(h.Addr) {
			found = append(found, p)
		}
	}
	return found
}

// countNetworks makes shares that only Swarm remembers, and corrects how many networks each has.
func (b *Book) countNetworks(o *observation) {
	networks := map[Key]int{}
	for _, n := range o.Networks {
		t, err := ParseKey(n.Key)
		if err != nil || t.Space != o.Space {
			continue
		}
		networks[n.Key]++
		s := b.shares[n.Key]
		if s == nil && o.Space == Local {
			continue // a manager's engine lists every network of the Swarm
		}
		if s == nil {
			s = b.open(t, ShareRecord{Term: 1, Epoch: b.epoch, Networks: 1, Asked: o.began, ByName: true})
			s.Unsure = o.began + s.rest(b.policy) // which addresses rest was lost with the ledger
		}
		if n.Opaque {
			o.opaque[s.pool] = true
		}
		if n.Gateway.IsValid() {
			b.confirmGateway(o, s, n.Gateway)
		}
	}
	for key, s := range b.shares {
		if n := networks[key]; n > 0 && s.terms.Space == o.Space {
			s.missed, s.listed = 0, o.began
			made := s.ByName && s.Asked == o.began // of this view
			if o.Space == Global && s.Networks != n && (made || s.Asked+b.policy.Grace.Milliseconds() < o.began) {
				s.Networks = n
				o.change.Shares = append(o.change.Shares, s.record())
			}
		}
	}
}

func (b *Book) confirmGateway(o *observation, s *share, a netip.Addr) {
	if o.routers[s.Key] == nil {
		o.routers[s.Key] = map[netip.Addr]bool{}
	}
	o.routers[s.Key][a] = true
	switch {
	case a == s.terms.Gateway:
	case s.pool.prefix.Contains(a):
		s.Inside = true
		b.confirm(o, Holding{Key: s.Key, Addr: a, Owner: Owner{Kind: "gateway"}})
	case linkLocal(a) && s.gatewayAt(a) < 0:
		b.gate(s, a, o.began)
		o.change.Shares = append(o.change.Shares, s.record())
	}
}

// confirm notes that an address is held, and leases it if the book lacks it.
func (b *Book) confirm(o *observation, h Holding) {
	s := b.shares[h.Key]
	if s == nil {
		s = b.openNamed(o, h.Key) // its network is gone and its tasks are not: a removed stack on its way down
	}
	for _, p := range b.poolsWith(o, h) {
		a := number(h.Addr)
		if o.held[p] == nil {
			o.held[p] = map[uint32]bool{}
		}
		o.held[p][a] = true
		l := p.leases[a]
		if s != nil && s.pool == p && b.adoptable(o, s, l) {
			l = b.take(s, a, o.now, claim{gateway: h.Owner.Kind == "gateway"})
			l.touched, l.term = o.began, 0
			o.change.Leases = append(o.change.Leases, l.record())
			o.seen.Adopted++
		}
		if l != nil && l.state == held {
			l.missed, l.viewed = 0, max(l.viewed, o.began)
			if l.seen != l.share.Term || l.node != h.Owner.Node {
				l.seen, l.node = l.share.Term, h.Owner.Node
				o.change.Leases = append(o.change.Leases, l.record())
			}
			if l.owner == nil || *l.owner != h.Owner {
				owner := h.Owner
				l.owner = &owner
			}
		}
	}
}

// openNamed makes a share that only its addresses remember; nil if the key is not one.
func (b *Book) openNamed(o *observation, key Key) *share {
	t, err := ParseKey(key)
	if err != nil || t.Space != o.Space {
		return nil
	}
	return b.open(t, ShareRecord{Term: 1, Epoch: b.epoch, Asked: o.began, ByName: true})
}

// adoptable reports whether a held address is missing from the book, and was not freed after the view began.
func (b *Book) adoptable(o *observation, s *share, l *lease) bool {
	switch {
	case l == nil:
		return true
	case l.state == resting:
		return l.freed < o.began
	}
	return l.share != s && !l.current() && l.touched < o.began
}

// remember lets an address rest that ended under an earlier leader, or that a removed node may still use.
func (b *Book) remember(o *observation, h Holding) {
	s := b.shares[h.Key]
	if s == nil && b.mayRest(o, h) { // its network is gone, and a ledger that knew it was lost
		s = b.openNamed(o, h.Key)
	}
	if s == nil || !s.pool.prefix.Contains(h.Addr) || o.Space != Global {
		return
	}
	p, a := s.pool, number(h.Addr)
	ended := min(millis(h.Ended), o.now)
	wait := s.rest(b.policy)
	lost := h.Lost && !b.nodes[h.Owner.Node].Ready
	if lost {
		wait = b.policy.LostRest.Milliseconds()
	}
	if ended+wait <= o.now || o.held[p][a] {
		return
	}
	l := p.leases[a]
	if l != nil && (l.state == held || l.until >= ended+wait || l.dead || !lost && l.touched > ended) {
		return
	}
	if l == nil {
		l = &lease{share: s, addr: a, since: ended}
		p.enter(l)
	}
	l.freed, l.until, l.node, l.lost = ended, ended+wait, h.Owner.Node, lost
	p.lay(l)
	o.change.Leases = append(o.change.Leases, l.record())
	o.seen.Kept++
}

// mayRest reports whether an address of a network that the book does not know would still rest.
func (b *Book) mayRest(o *observation, h Holding) bool {
	t, err := ParseKey(h.Key)
	if err != nil || t.Space != Global || o.Space != Global {
		return false
	}
	wait := (&share{terms: t}).rest(b.policy)
	if h.Lost {
		wait = max(wait, b.policy.LostRest.Milliseconds())
	}
	return min(millis(h.Ended), o.now)+wait > o.now
}
