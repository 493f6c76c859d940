// Package pool decides which address is whose. It knows subnets, the shares that networks hold of them, blocks,
// gateways, leases and rests. It knows no Swarm, no file and no clock: the time and what Swarm holds come in as values,
// and a Change goes out for the ledger to keep before the answer is given.
package pool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Policy are the times that decisions use.
type Policy struct {
	Rest     time.Duration // a freed address waits so long, unless its network says otherwise
	LostRest time.Duration // the same after a node that was not ready when Swarm let the address go
	Grace    time.Duration // an answer younger than this may be on its way into Swarm's store
	Pause    time.Duration // the least time between two views that both lack a lease
	Repeat   time.Duration // the engine sends a call again for so long when its reply was lost
}

// DefaultPolicy: the grace is longer than a slow Raft takes to commit; the engine's client repeats a call for 30 s.
func DefaultPolicy() Policy {
	return Policy{Rest: time.Minute, LostRest: 24 * time.Hour, Grace: 30 * time.Second, Pause: 10 * time.Second, Repeat: 30 * time.Second}
}

// Book is everything that one plugin knows of addresses. It is not safe for concurrent use.
type Book struct {
	policy   Policy
	epoch    uint64 // raised when the engine introduces itself: a leader's allocator, or the engine itself, began anew
	blind    int64  // when a ledger was lost; 0: no. Nothing is handed out before a replay or a view
	lastID   uint32
	burst    uint64 // counts runs of RequestPool without an address between: a replay is one run
	between  bool   // an address was named, handed out or released since the last RequestPool
	asked    int64  // when the last RequestPool came
	began    int64  // when the book was read from a ledger
	seq      uint64 // counts leases handed out and named
	loaded   uint64 // the last of them in that ledger
	pools    map[string]*pool
	shares   map[Key]*share
	byID     map[uint32]*share
	gateways map[netip.Addr]int // link-local gateways in use in the global space, and by how many shares
	nodes    map[string]Node    // as last seen
	called   map[string]string  // names of nodes that were ever seen: people know those of removed ones, too
	lastView int64              // when the last view of the Swarm began; 0: there was none
	twice    map[netip.Addr][]string
	settled  settled
}

// share is what networks with equal subnet and options draw from a pool together.
type share struct {
	ShareRecord
	terms  Terms
	pool   *pool
	zone   *zone
	leased int   // addresses held, gateways apart
	replay int64 // when RequestPool or a replayed address last came: a replay is one burst
	missed int64 // when Swarm was first seen to have no network of this share
	listed int64 // when the last view began that had one
}

// pool is a subnet in one space: the one place where its addresses are told apart, however many shares draw from it.
type pool struct {
	name        string
	space       Space
	prefix      netip.Prefix
	first, last uint32
	shares      []*share
	leases      map[uint32]*lease
	open        zone
	ranges      []*zone
	blocks      []block
	routers     map[uint32]int // routers' addresses by rolling.gateway, and by how many shares
	overlaps    []*pool
}

// block is a piece of a pool that one share holds.
type block struct {
	first, last uint32
	share       *share
}

// New is an empty book.
func New(p Policy) *Book {
	return &Book{
		policy: p, epoch: 1, pools: map[string]*pool{}, shares: map[Key]*share{}, byID: map[uint32]*share{},
		gateways: map[netip.Addr]int{}, nodes: map[string]Node{}, called: map[string]string{}, twice: map[netip.Addr][]string{},
	}
}

// Restore makes a book of what a ledger holds. When the clock was set back meanwhile, the change holds all records
// with their times set back too.
func Restore(at time.Time, p Policy, r Records) (*Book, Change, error) {
	b := New(p)
	b.epoch, b.blind = max(1, r.Meta.Epoch), r.Meta.Blind
	ahead := r.ahead(millis(at))
	b.blind = min(max(0, b.blind-ahead), millis(at))
	b.began = millis(at)
	b.recallPlan(r.Plan)
	for _, rec := range r.Shares {
		if err := b.restoreShare(rec, ahead); err != nil {
			return nil, Change{}, err
		}
	}
	for _, rec := range r.Leases {
		if err := b.restoreLease(rec, ahead); err != nil {
			return nil, Change{}, err
		}
	}
	c := b.resume(millis(at)+ahead-r.latest(), r.latest()-ahead)
	if ahead > 0 {
		c = b.everything()
	}
	return b, c, nil
}

// resume lets a replay go on that a crash cut short, however much later the clock says it is.
func (b *Book) resume(later, latest int64) (c Change) {
	for _, s := range b.shares {
		if later > 0 && latest-s.replay <= replayLasts {
			s.replay += later
			s.Asked += later
			c.Shares = append(c.Shares, s.record())
		}
	}
	return c
}

// ahead is by how much the latest moment in the records lies in the future.
func (r Records) ahead(now int64) int64 { return max(0, r.latest()-now) }

func (r Records) latest() int64 {
	var latest int64
	for _, s := range r.Shares {
		latest = max(latest, s.Asked)
	}
	for _, l := range r.Leases {
		latest = max(latest, l.Touched, l.Freed)
	}
	return latest
}

func (b *Book) everything() Change {
	c := Change{Meta: b.meta()}
	for _, s := range b.byID {
		c.Shares = append(c.Shares, s.record())
	}
	for _, p := range b.pools {
		for _, l := range p.leases {
			c.Leases = append(c.Leases, l.record())
		}
	}
	return c
}

func (b *Book) restoreShare(rec ShareRecord, ahead int64) error {
	t, err := ParseKey(rec.Key)
	if err != nil {
		return fmt.Errorf("share %d: %w", rec.ID, err)
	}
	if rec.ID == 0 || b.shares[rec.Key] != nil || b.byID[rec.ID] != nil {
		return fmt.Errorf("share %d (%s) is there twice, or has no number", rec.ID, rec.Key)
	}
	s := b.open(t, rec)
	s.Asked -= ahead
	s.Unsure = max(0, s.Unsure-ahead)
	s.replay = s.Asked
	b.burst, b.between = max(b.burst, s.Burst), true
	s.Gateways = slices.Clone(rec.Gateways)
	for i := range s.Gateways {
		s.Gateways[i].Touched -= ahead
		if t.Space == Global {
			b.gateways[s.Gateways[i].Addr]++
		}
	}
	for _, first := range rec.Blocks {
		if err := b.restoreBlock(s, first); err != nil {
			return err
		}
	}
	return nil
}

func (b *Book) restoreBlock(s *share, first netip.Addr) error {
	bad := fmt.Errorf("block %s/%d of %s: not a free block of its pool", first, s.Block, s.terms)
	if !first.Is4() || s.Block == 0 {
		return bad
	}
	lo := number(first)
	hi := lo | ^uint32(0)>>s.Block
	if lo < s.pool.first || hi > s.pool.last || lo&(hi-lo) != 0 || s.pool.blockAt(lo) != nil || s.pool.blockAt(hi) != nil {
		return bad
	}
	s.pool.give(block{lo, hi, s})
	return nil
}

func (b *Book) restoreLease(rec LeaseRecord, ahead int64) error {
	s := b.byID[rec.Share]
	if s == nil || s.pool.name != rec.Pool || !rec.Addr.Is4() || !s.pool.prefix.Contains(rec.Addr) {
		return fmt.Errorf("lease %s in pool %s: its share %d is not there", rec.Addr, rec.Pool, rec.Share)
	}
	l := &lease{
		share: s, addr: number(rec.Addr), term: rec.Term, gateway: rec.Gateway, asked: rec.Asked, lost: rec.Lost, dead: rec.Dead, old: true,
		since: rec.Since - ahead, touched: rec.Touched - ahead, node: rec.Node, seq: rec.Seq, seen: rec.Seen,
	}
	if rec.Resting {
		l.freed, l.until = rec.Freed-ahead, rec.Until-ahead
	}
	b.seq = max(b.seq, rec.Seq)
	b.loaded = b.seq
	if l.asked {
		s.replay = max(s.replay, l.touched)
	}
	s.pool.enter(l)
	if rec.Resting {
		s.pool.lay(l)
	} else if !l.gateway {
		s.leased++
	}
	return nil
}

// Introduce notes that an engine's allocator introduced itself: a sign, not a proof, that a new leader's replay is
// near. Pools that are not asked for again from here on may be gone, so they cannot refuse a new one.
func (b *Book) Introduce() Change {
	asked := false
	for _, s := range b.shares {
		asked = asked || s.Epoch == b.epoch
	}
	if !asked {
		return Change{}
	}
	b.epoch++
	b.between = true
	return Change{Meta: b.meta()}
}

// Blind tells the book that its ledger was lost. Until a share's replay or a view has said what is held, addresses that
// are named are given and no others.
func (b *Book) Blind(at time.Time) Change {
	b.blind = millis(at)
	return Change{Meta: b.meta()}
}

// Follow tells the book that another node led when that was asked, at a moment not before the given one. Nobody asks
// this book for addresses of the Swarm then, and a new leadership begins with a replay, so a lost ledger is no loss.
func (b *Book) Follow(asked time.Time) Change {
	if b.blind == 0 || b.blind >= millis(asked) {
		return Change{}
	}
	for _, s := range b.shares {
		if s.terms.Space == Global && s.Asked >= millis(asked) {
			return Change{} // this node leads by now
		}
	}
	b.blind = 0
	return Change{Meta: b.meta()}
}

func (b *Book) meta() *Meta { return &Meta{b.epoch, b.blind} }

// open puts a share into its pool, which is made when it is the first.
func (b *Book) open(t Terms, rec ShareRecord) *share {
	p := b.poolOf(t)
	if rec.ID == 0 {
		b.lastID++
		rec.ID = b.lastID
		rec.Block, rec.Quota = b.settled.usual(t)
	}
	rec.Block, rec.Quota = cmp.Or(t.Block, rec.Block), cmp.Or(t.Quota, rec.Quota) // the ledger of an older version lacks them
	b.lastID = max(b.lastID, rec.ID)
	s := &share{ShareRecord: rec, terms: t, pool: p}
	s.Key = t.Key()
	switch {
	case s.Block != 0:
		s.zone = &zone{}
	case !t.Range.IsZero():
		s.zone = p.rangeZone(interval{number(t.Range.First), number(t.Range.Last)})
	default:
		s.zone = &p.open
	}
	if t.Gateway.IsValid() {
		p.routers[number(t.Gateway)]++
		s.Inside = true
	}
	p.shares = append(p.shares, s)
	b.shares[s.Key], b.byID[s.ID] = s, s
	return s
}

func (b *Book) poolOf(t Terms) *pool {
	name := string(t.Space) + "|" + t.Subnet.String()
	if p := b.pools[name]; p != nil {
		return p
	}
	p := &pool{
		name: name, space: t.Space, prefix: t.Subnet, first: number(t.Subnet.Addr()), last: number(lastOf(t.Subnet)),
		leases: map[uint32]*lease{}, routers: map[uint32]int{},
	}
	p.open.virgin.add(p.first, p.last)
	for _, q := range b.pools {
		if q.space == p.space && q.prefix.Overlaps(p.prefix) {
			p.overlaps = append(p.overlaps, q)
			q.overlaps = append(q.overlaps, p)
		}
	}
	b.pools[name] = p
	return p
}

// drop takes a share out, and its pool when it was the last. Nothing of it may be held any more.
func (b *Book) drop(s *share, c *Change) {
	p := s.pool
	for _, l := range p.leasesOf(s) {
		c.GoneLeases = append(c.GoneLeases, l.record())
		p.forget(l)
	}
	for _, bl := range slices.Clone(p.blocks) {
		if bl.share == s {
			p.takeBack(bl)
		}
	}
	if s.terms.Gateway.IsValid() {
		p.unroute(number(s.terms.Gateway))
	}
	for _, g := range s.Gateways {
		b.ungate(s, g.Addr)
	}
	p.shares = slices.DeleteFunc(p.shares, func(o *share) bool { return o == s })
	p.closeRange(s.zone)
	delete(b.shares, s.Key)
	delete(b.byID, s.ID)
	c.GoneShares = append(c.GoneShares, s.ID)
	if len(p.shares) == 0 {
		b.dropPool(p, c)
	}
}

func (b *Book) dropPool(p *pool, c *Change) {
	for _, l := range p.leases {
		c.GoneLeases = append(c.GoneLeases, l.record())
	}
	for _, q := range p.overlaps {
		q.overlaps = slices.DeleteFunc(q.overlaps, func(o *pool) bool { return o == p })
	}
	delete(b.pools, p.name)
}

func (s *share) rest(p Policy) int64 {
	if s.terms.Quarantine >= 0 {
		return s.terms.Quarantine.Milliseconds()
	}
	return p.Rest.Milliseconds()
}

// soft reports whether a rest is rather cut short than a request refused: an exact range keeps its addresses with its
// slots only if the successor can have the address that was just freed (Swarm tries again at once, then in 5 minutes).
func (s *share) soft() bool { return !s.terms.Range.IsZero() && s.terms.Quarantine < 0 }
