package pool

import (
	"net/netip"
	"slices"
	"time"
)

// Grant answers a request for a pool.
type Grant struct {
	Key     Key
	Subnet  netip.Prefix
	Gateway netip.Prefix // invalid in the local space: the node is told the leader's choice
}

// RequestPool notes that a network with these terms exists. In the global space that is also the only sign of a new
// leader's replay, and looks like it: so it marks the share's leases unconfirmed and clears nothing.
func (b *Book) RequestPool(at time.Time, t Terms) (Grant, Change, error) {
	now := millis(at)
	s := b.shares[t.Key()]
	if s == nil {
		if err := b.overlapping(t); err != nil {
			return Grant{}, Change{}, err
		}
		s = b.open(t, ShareRecord{})
	} else if t.Space == Global && b.anyLease(s) {
		s.Unsure = now + s.rest(b.policy)
	}
	if s.Epoch != b.epoch {
		s.Networks = 0 // all networks are requested anew
	}
	if t.Space == Global {
		if b.between || now-b.asked > burstGap {
			b.burst++
		}
		b.between, b.asked = false, now
	}
	s.Term++
	s.Epoch, s.Burst = b.epoch, b.burst
	s.Networks++
	s.Asked, s.replay, s.missed = now, now, 0
	s.ByName = false
	g := Grant{Key: s.Key, Subnet: t.Subnet}
	if t.Gateway.IsValid() {
		g.Gateway = netip.PrefixFrom(t.Gateway, t.Subnet.Bits())
	} else if t.Space == Global {
		offered, err := b.offer(s, now)
		if err != nil {
			return Grant{}, Change{}, err
		}
		g.Gateway = netip.PrefixFrom(offered, 32)
	}
	return g, Change{Shares: []ShareRecord{s.record()}}, nil
}

// burstGap: a new leader asks for its networks without a pause, and no leader follows another within it.
const burstGap = 5000

// anyLease reports whether the share had addresses before: then another leader may have freed some meanwhile.
func (b *Book) anyLease(s *share) bool {
	if s.leased > 0 {
		return true
	}
	for _, l := range s.pool.leases {
		if l.share == s {
			return true
		}
	}
	return false
}

// overlapping refuses a subnet that overlaps one in use without being equal to it. A pool that the present leader did
// not ask for may be a memory of one long gone: a refusal because of it could hit a replay.
func (b *Book) overlapping(t Terms) error {
	if t.Space == Local {
		return nil // the leader has decided
	}
	for _, p := range b.pools {
		if p.space != Global || p.prefix == t.Subnet || !p.prefix.Overlaps(t.Subnet) {
			continue
		}
		for _, s := range p.shares {
			if s.Epoch == b.epoch && s.Networks > 0 {
				return &RefusedError{t.String(), "subnet " + t.Subnet.String() + " overlaps " + s.terms.String() + " without being equal to it: use that subnet, or one beside it"}
			}
		}
	}
	return nil
}

// ReleasePool notes that one network of the share is gone. It frees no address: a removed stack releases its pool at
// once and its tasks' addresses never, while the containers live on for seconds.
func (b *Book) ReleasePool(at time.Time, key Key) (Change, error) {
	s, err := b.share(key)
	if err != nil {
		return Change{}, err
	}
	if s == nil || s.Networks == 0 {
		return Change{}, nil
	}
	s.Networks--
	s.Asked = millis(at)
	return Change{Shares: []ShareRecord{s.record()}}, nil
}

// share finds a share by its PoolID; nil: well formed, but not known.
func (b *Book) share(key Key) (*share, error) {
	if s := b.shares[key]; s != nil {
		return s, nil
	}
	if _, err := ParseKey(key); err != nil {
		return nil, &RefusedError{"", err.Error()}
	}
	return nil, nil
}

// recall finds a share by its PoolID. One that is well formed and not known is made anew when the call names an
// address of it: the engine holds the pool, so the ledger was lost, and a refused replay does harm.
func (b *Book) recall(key Key, named netip.Addr, now int64) (*share, Change, error) {
	s, err := b.share(key)
	if err != nil || s != nil {
		return s, Change{}, err
	}
	t, err := ParseKey(key)
	if err != nil {
		return nil, Change{}, err
	}
	if !named.IsValid() {
		return nil, Change{}, &WaitError{t.String(), "it was not requested, or the ledger that knew it is lost, and what holds its addresses is not known yet"}
	}
	if !t.Subnet.Contains(named) && !linkLocal(named) {
		return nil, Change{}, outside(t, named)
	}
	s = b.open(t, ShareRecord{Term: 1, Epoch: b.epoch, Networks: 1, Asked: now, ByName: true})
	c := Change{Shares: []ShareRecord{s.record()}}
	if t.Space == Global && b.blind == 0 {
		b.blind = now
		c.Meta = b.meta()
	}
	return s, c, nil
}

func outside(t Terms, a netip.Addr) error {
	return &RefusedError{t.String(), "address " + a.String() + " lies outside it: name one inside, or none"}
}

func (s *share) record() ShareRecord {
	r := s.ShareRecord
	r.Gateways = slices.Clone(s.Gateways)
	r.Blocks = nil
	for _, bl := range s.pool.blocks {
		if bl.share == s {
			r.Blocks = append(r.Blocks, fromNumber(bl.first))
		}
	}
	return r
}
