package pool

import (
	"net/netip"
	"time"
)

// RequestAddress leases an address: the named one, or the next free one when none is named.
func (b *Book) RequestAddress(at time.Time, key Key, named netip.Addr) (netip.Prefix, Change, error) {
	now := millis(at)
	s, c, err := b.recall(key, named, now)
	if err != nil {
		return netip.Prefix{}, c, err
	}
	b.between = b.between || s.terms.Space == Global
	var l *lease
	if named.IsValid() {
		l, err = b.lease(s, named, now, &c)
	} else {
		l, err = b.next(s, now, &c)
	}
	if err != nil {
		return netip.Prefix{}, c, err
	}
	if s.Offer != "" { // what a replay names, it names right after its RequestPool: the offer was accepted
		s.Offer = ""
		c.Shares = append(c.Shares, s.record())
	}
	c.Leases = append(c.Leases, l.record())
	return netip.PrefixFrom(fromNumber(l.addr), s.bits()), c, nil
}

// bits is the length of the prefix in answers. A routed address stands alone; behind a router inside the subnet (l2,
// Docker's own drivers) a container must know its neighbours.
func (s *share) bits() int {
	if s.Inside {
		return s.terms.Subnet.Bits()
	}
	return 32
}

// next leases the next free address.
func (b *Book) next(s *share, now int64, c *Change) (*lease, error) {
	replayed := s.Reign == s.Term && s.Asked >= b.blind
	if s.ByName || b.blind != 0 && s.terms.Space == Global && !replayed {
		return nil, &WaitError{s.terms.String(), "its ledger was lost, and Swarm has not said yet which addresses it holds"}
	}
	if s.Quota > 0 && s.leased >= s.Quota {
		return nil, b.full(s, now)
	}
	a, ok := b.choose(s, now, c)
	if !ok {
		return nil, b.full(s, now)
	}
	return b.take(s, a, now, claim{}), nil
}

// choose picks an address in the share's zone, and gives a share that holds blocks one more when its own are full.
func (b *Book) choose(s *share, now int64, c *Change) (uint32, bool) {
	p := s.pool
	how := pick{
		now: now, unsure: now < s.Unsure, soft: s.soft(),
		fits: func(a uint32) bool { return b.fits(s, a) },
		lease: func(a uint32) *lease {
			if !p.in(s.zone, a) {
				return nil
			}
			return p.leases[a]
		},
	}
	for {
		if a, ok := s.zone.choose(how); ok {
			return a, true
		}
		if !b.claimBlock(s, now) {
			return 0, false
		}
		c.Shares = append(c.Shares, s.record())
	}
}

// fits excludes addresses that are free and still not this share's to use.
func (b *Book) fits(s *share, a uint32) bool {
	p := s.pool
	if s.Inside && p.prefix.Bits() < 31 && (a == p.first || a == p.last) {
		return false // network and broadcast address: usable only where every address is routed alone
	}
	if len(p.routers) > 0 && p.routers[a] > 0 || b.settled.keeps(a) {
		return false
	}
	for _, q := range p.overlaps {
		if l := q.leases[a]; l != nil && l.state == held {
			return false
		}
	}
	return p.space == Global || !b.globallyHeld(a)
}

// globallyHeld: a node's own networks keep off what the Swarm has leased.
func (b *Book) globallyHeld(a uint32) bool {
	for _, q := range b.pools {
		if q.space == Global && q.has(a) {
			if l := q.leases[a]; l != nil && l.state == held {
				return true
			}
		}
	}
	return false
}

// claim says how a lease came to be.
type claim struct {
	gateway bool
	asked   bool // the call named the address
}

func (b *Book) take(s *share, a uint32, now int64, how claim) *lease {
	p := s.pool
	if p.space == Global {
		b.seq++
	}
	l := p.leases[a]
	if l == nil {
		l = &lease{addr: a, since: now}
	} else if l.state == held && !l.gateway {
		l.share.leased--
	}
	if l.share != s || l.state == resting {
		l.since, l.owner, l.seen, l.viewed = now, nil, 0, 0
	}
	l.share, l.term, l.state, l.gateway, l.asked = s, s.Term, held, how.gateway, how.asked
	l.seq = b.seq
	l.touched, l.missed, l.freed, l.until = now, 0, 0, 0
	l.old, l.again, l.lost, l.dead, l.node = false, false, false, false, ""
	if !l.gateway {
		s.leased++
	}
	p.enter(l)
	return l
}

// lease gives a share the address that was named. A replay must succeed: a refusal would hand a running task's
// address to somebody else (moby#33795). Refused is only what somebody else holds for certain.
func (b *Book) lease(s *share, named netip.Addr, now int64, c *Change) (*lease, error) {
	if !s.terms.Subnet.Contains(named) {
		return nil, outside(s.terms, named)
	}
	a := number(named)
	l := s.pool.leases[a]
	if l != nil && b.taken(s, l, now) {
		return nil, b.inUse(s, l, now)
	}
	if err := b.keptFrom(s, l, a, now); err != nil {
		return nil, err
	}
	if err := b.barred(s, l, a, now); err != nil {
		return nil, err
	}
	if s.Block != 0 && b.claimAround(s, a) {
		c.Shares = append(c.Shares, s.record())
	}
	again := l != nil && (!l.current() || l.state == held && l.again)
	if l != nil && l.state == held && !l.current() {
		s.replay = now
	}
	gateway := l != nil && l.state == held && l.gateway && l.share == s
	l = b.take(s, a, now, claim{asked: true, gateway: gateway})
	l.again = again
	return l, nil
}

// taken reports whether a call that names the address of this lease must be refused.
func (b *Book) taken(s *share, l *lease, now int64) bool {
	if s.terms.Space == Local && !s.Own {
		return false // the leader has decided
	}
	switch {
	case l.state == resting:
		return l.lost && l.until > now && l.current() && (l.share == s || !b.gone(l, s, now))
	case l.share != s:
		return !b.gone(l, s, now) && (l.current() || l.known())
	case !l.current():
		return l.known() && !b.replaying(s, now)
	}
	return !b.repeated(s, l, now)
}

// barred refuses a named address that nobody may have: the router's, and behind a router the subnet's first and last. What
// a replay names was given by somebody, so it stands.
func (b *Book) barred(s *share, l *lease, a uint32, now int64) error {
	if l != nil && l.state == held || s.terms.Space == Local && !s.Own || b.replaying(s, now) {
		return nil
	}
	p, why := s.pool, ""
	switch {
	case p.routers[a] > 0:
		why = "is a router's"
	case s.Inside && p.prefix.Bits() < 31 && a == p.first:
		why = "is the network's own, and it has a router inside"
	case s.Inside && p.prefix.Bits() < 31 && a == p.last:
		why = "is the broadcast address, and the network has a router inside"
	default:
		return nil
	}
	return &RefusedError{s.terms.String(), "address " + fromNumber(a).String() + " " + why + ": choose another, or none"}
}

// replayLasts: a new leader asks for all its networks and then for all their addresses in one burst, so a minute of
// silence ends a replay.
const replayLasts = int64(time.Minute / time.Millisecond)

// gone reports whether the network of another share's lease is gone: the new leader whose replay is under way did not
// ask for it, and Swarm was not seen to hold the address since.
func (b *Book) gone(l *lease, s *share, now int64) bool {
	return b.replaying(s, now) && l.share.Burst < s.Burst && l.viewed < s.Asked
}

// replaying reports whether a new leader's replay may still be under way.
func (b *Book) replaying(s *share, now int64) bool {
	return s.Reign == s.Term && now-s.replay <= replayLasts
}

// repeated reports whether a call that names an address may be the same call as the one before: the engine repeats a
// call whose reply it did not get. Once Swarm was seen to hold the address it got the reply, unless that call came to
// a plugin that crashed since: then it is one of the last that the ledger took, whatever the clock did meanwhile.
func (b *Book) repeated(s *share, l *lease, now int64) bool {
	window := b.policy.Repeat.Milliseconds()
	if l.old {
		return l.asked && now-b.began < window && b.loaded-l.seq < lastCalls
	}
	told := b.informed(now) && !l.again && !b.replaying(s, now)
	return l.asked && now-l.touched < window && !l.known() && !told
}

// informed reports whether views of the Swarm come in. Then a second call for an address that was just given is not
// taken for the first one again: two people may have named it within a second, and who is right shows soon.
func (b *Book) informed(now int64) bool { return b.lastView != 0 && now-b.lastView < viewsLast }

// viewsLast is twice the longest time between two views.
const viewsLast = int64(2 * time.Minute / time.Millisecond)

// lastCalls: in the global space calls come one after another, so a crash robs one of its reply, and the call after it
// may have reached the ledger too.
const lastCalls = 2

// ReleaseAddress lets an address rest. Releasing what is not leased is no error: a release twice is a release once.
func (b *Book) ReleaseAddress(at time.Time, key Key, named netip.Addr) (Change, error) {
	now := millis(at)
	s, err := b.share(key)
	if err != nil || s == nil {
		return Change{}, err
	}
	if !s.terms.Subnet.Contains(named) {
		if b.ungate(s, named) {
			return Change{Shares: []ShareRecord{s.record()}}, nil
		}
		if linkLocal(named) {
			return Change{}, nil
		}
		return Change{}, &RefusedError{s.terms.String(), "address " + named.String() + " lies outside it: nothing was released"}
	}
	l := s.pool.leases[number(named)]
	b.between = b.between || s.terms.Space == Global
	if l == nil || l.state == resting {
		return Change{}, nil
	}
	if l.share != s {
		return Change{}, &RefusedError{s.terms.String(), "address " + named.String() + " is leased to " + l.share.terms.String() + ": nothing was released"}
	}
	if l.gateway && s.Networks > 1 { // other networks of the share may have the same router
		l.term, l.seen = 0, 0
		return Change{Leases: []LeaseRecord{l.record()}}, nil
	}
	b.layDown(l, now)
	return Change{Leases: []LeaseRecord{l.record()}}, nil
}

// layDown ends a lease; its address rests.
func (b *Book) layDown(l *lease, now int64) {
	if !l.gateway {
		l.share.leased--
	}
	wait := l.share.rest(b.policy)
	if l.node != "" && !b.nodes[l.node].Ready { // down, removed by force, or not asked about since a crash
		l.lost = true
		wait = max(wait, b.policy.LostRest.Milliseconds())
	}
	l.freed, l.until, l.missed = now, now+wait, 0
	l.owner, l.gateway = nil, false
	l.share.pool.lay(l)
}

// Undo takes back an answer that never reached the engine: its address was not used, so it need not rest.
func (b *Book) Undo(key Key, a netip.Addr) Change {
	s := b.shares[key]
	if s == nil || !a.Is4() || !s.pool.prefix.Contains(a) {
		return Change{}
	}
	l := s.pool.leases[number(a)]
	if l == nil || l.share != s || l.state == resting || l.asked || l.old || l.known() {
		return Change{}
	}
	s.leased--
	c := Change{GoneLeases: []LeaseRecord{l.record()}}
	s.pool.forget(l)
	return c
}
