package pool

import (
	"net/netip"
	"slices"
	"time"
)

// sweep frees what Swarm was twice seen not to hold, and ends long rests whose node came back.
func (b *Book) sweep(o *observation) {
	for _, p := range b.pools {
		if p.space != o.Space {
			continue
		}
		for a, l := range p.leases {
			switch {
			case l.state == resting:
				b.reconsider(o, l)
			case o.held[p][a] || o.opaque[p] || l.gateway && p.space == Local && l.share.Networks > 0:
				l.missed = 0 // an engine does not say which gateway was chosen for a network of its own
			case b.lapsed(o, &l.missed, l.touched):
				b.layDown(l, o.now)
				o.change.Leases = append(o.change.Leases, l.record())
				o.seen.Freed++
			}
		}
	}
}

// lapsed reports whether a thing that this view lacks was lacking in an earlier one too, and nothing named it since
// long before that one. A call in between, or an answer still on its way into Swarm's store, starts the count anew.
func (b *Book) lapsed(o *observation, missed *int64, touched int64) bool {
	if touched+b.policy.Grace.Milliseconds() >= o.began {
		*missed = 0
		return false
	}
	if *missed == 0 || *missed > o.began {
		*missed = o.began
		return false
	}
	return o.began-*missed >= b.policy.Pause.Milliseconds()
}

// reconsider ends a long rest when the node that may still have used the address is ready again: what it held from
// before was stopped by Swarm when it came back.
func (b *Book) reconsider(o *observation, l *lease) {
	if !l.lost || o.Space != Global {
		return
	}
	if n, known := b.nodes[l.node]; !known || !n.Ready {
		return
	}
	l.lost = false
	l.until = max(o.now, l.freed+l.share.rest(b.policy))
	l.share.pool.lay(l)
	o.change.Leases = append(o.change.Leases, l.record())
}

// sweepShares does for gateways and whole shares what sweep does for addresses, and opens what is no longer needed.
func (b *Book) sweepShares(o *observation) {
	networks := map[Key]bool{}
	for _, n := range o.Networks {
		networks[n.Key] = true
	}
	for _, key := range b.keys(o.Space) {
		s := b.shares[key]
		changed := s.ByName
		s.ByName = false // Swarm has said which addresses it holds
		for _, g := range slices.Clone(s.Gateways) {
			i := s.gatewayAt(g.Addr)
			switch {
			case o.routers[key][g.Addr]:
				s.Gateways[i].missed = 0
			case b.lapsed(o, &s.Gateways[i].missed, g.Touched):
				changed = b.ungate(s, g.Addr) || changed
			}
		}
		if !networks[key] && s.Networks > 0 && b.lapsed(o, &s.missed, s.Asked) {
			s.Networks, changed = 0, true
		}
		if changed {
			o.change.Shares = append(o.change.Shares, s.record())
		}
	}
}

// Tidy drops shares that no network has and whose addresses are all free, and opens idle blocks.
func (b *Book) Tidy(at time.Time) Change {
	now := millis(at)
	var c Change
	for _, space := range []Space{Global, Local} {
		for _, key := range b.keys(space) {
			s := b.shares[key]
			if s.Networks == 0 && s.leased == 0 && !b.busy(s, now) {
				b.drop(s, &c)
				continue
			}
			b.tidyBlocks(s, now, &c)
		}
	}
	return c
}

// busy reports whether something of the share is held or rests, or its last word is so fresh that a replay may follow.
func (b *Book) busy(s *share, now int64) bool {
	if s.Asked+b.policy.Grace.Milliseconds() >= now {
		return true
	}
	if s.terms.Space == Global && s.listed != 0 && s.listed == b.lastView {
		return true // the engine says ReleasePool again when it got no reply: the next view knows how many networks are left
	}
	for _, l := range s.pool.leases {
		if l.share == s && (l.state == held || l.until > now) {
			return true
		}
	}
	return false
}

// keys are the shares of a space in a fixed order, so that a view has one outcome.
func (b *Book) keys(space Space) []Key {
	var keys []Key
	for key, s := range b.shares {
		if s.terms.Space == space {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// Free ends the rest of an address at once. Sure: somebody made certain that the node which held it is dead.
func (b *Book) Free(at time.Time, a netip.Addr, sure bool) (Change, error) {
	now := millis(at)
	var c Change
	for _, p := range b.pools {
		if p.space != Global || !p.prefix.Contains(a) {
			continue
		}
		l := p.leases[number(a)]
		switch {
		case l == nil || l.state == resting && l.until <= now:
		case l.state == held:
			return Change{}, b.inUse(l.share, l, now)
		case l.lost && !sure:
			return Change{}, &RefusedError{l.share.terms.String(), "address " + a.String() + ": node " + b.nodeName(l.node) + " was not ready when Swarm let it go and may still use it: make sure that it is off, then force it"}
		default:
			l.until, l.lost, l.dead = now, false, true
			p.lay(l)
			c.Leases = append(c.Leases, l.record())
		}
	}
	if c.IsZero() {
		return c, &RefusedError{"", "address " + a.String() + " does not rest here: it is free, or another manager leads"}
	}
	return c, nil
}
