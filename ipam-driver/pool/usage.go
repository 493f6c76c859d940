package pool

import (
	"net/netip"
	"slices"
	"time"
)

// Usage counts the addresses of one share.
type Usage struct {
	Size        int   // addresses that the share could use, as its range, quota or subnet bounds it
	Used        int   // leased by anybody in the same piece of the pool, gateways too
	Leased      int   // leased by the share, gateways apart
	Unconfirmed int   // of the leased: not heard of in this term
	Resting     int   // freed, not usable yet
	Lost        int   // of the resting: because of a lost node
	Reserved    int   // free, and kept for somebody who names them
	Blocks      int   // held
	NextFree    int64 // when the first rest is over, milliseconds since 1970
}

func (b *Book) usage(s *share, now int64) Usage {
	u := Usage{Leased: s.leased, Blocks: s.blocks(), Size: s.size()}
	for a, l := range s.pool.leases {
		if l.state == held && l.share == s && l.stands(now) == Unconfirmed {
			u.Unconfirmed++
		}
		if !s.pool.in(s.zone, a) {
			continue
		}
		switch {
		case l.state == held:
			u.Used++
		case l.until > now:
			u.Resting++
			if l.lost {
				u.Lost++
			}
			if u.NextFree == 0 || l.until < u.NextFree {
				u.NextFree = l.until
			}
		}
	}
	u.Reserved = b.reservedIn(s, now)
	return u
}

func (s *share) size() int {
	p := s.pool
	size := int(p.last-p.first) + 1
	switch {
	case s.Block != 0:
		size = s.blocks() << (32 - s.Block)
	case !s.terms.Range.IsZero():
		size = int(s.zone.span.last-s.zone.span.first) + 1
	default:
		for _, r := range p.ranges {
			size -= int(r.span.last-r.span.first) + 1
		}
		for _, bl := range p.blocks {
			size -= int(bl.last-bl.first) + 1
		}
	}
	return max(0, size)
}

// Share is a share as people see it.
type Share struct {
	ID          uint32         `json:"-"`
	Key         Key            `json:"pool"`
	Space       string         `json:"space"`
	Subnet      netip.Prefix   `json:"subnet"`
	Name        string         `json:"name,omitempty"`
	Project     string         `json:"project,omitempty"`
	Environment string         `json:"environment,omitempty"`
	Networks    int            `json:"networks"`
	Called      []string       `json:"called"` // its networks, as last seen
	Term        uint32         `json:"term"`
	Asked       time.Time      `json:"asked"`
	Gateways    []netip.Addr   `json:"gateways,omitempty"`
	Blocks      []netip.Prefix `json:"blocks,omitempty"`
	Block       int            `json:"block,omitempty"` // length of a block
	Range       string         `json:"range,omitempty"`
	Quota       int            `json:"quota,omitempty"`
	Rest        string         `json:"rest"`
	Size        int            `json:"size"`
	Used        int            `json:"used"`
	Leased      int            `json:"leased"`
	Unconfirmed int            `json:"unconfirmed"`
	Resting     int            `json:"resting"`
	Lost        int            `json:"lost"`
	Reserved    int            `json:"reserved"`
	Waiting     bool           `json:"waiting,omitempty"` // its ledger was lost and Swarm not asked yet
}

// Lease is a lease as people see it.
type Lease struct {
	Addr    netip.Addr `json:"address"`
	Pool    Key        `json:"pool"`
	State   State      `json:"state"`
	Gateway bool       `json:"gateway,omitempty"`
	Owner   *Owner     `json:"owner,omitempty"`
	Since   time.Time  `json:"since"`
	Freed   *time.Time `json:"freed,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Why     string     `json:"why,omitempty"` // why a free address is not handed out now
}

// Shares lists every share, in a fixed order.
func (b *Book) Shares(at time.Time) []Share {
	var all []Share
	for _, key := range append(b.keys(Global), b.keys(Local)...) {
		all = append(all, b.seenShare(b.shares[key], millis(at)))
	}
	return all
}

func (b *Book) seenShare(s *share, now int64) Share {
	u := b.usage(s, now)
	v := Share{
		ID: s.ID, Key: s.Key, Space: s.terms.Space.String(), Subnet: s.terms.Subnet, Name: s.terms.Pool, Project: s.terms.Project,
		Environment: s.terms.Environment, Networks: s.Networks, Term: s.Term, Asked: moment(s.Asked), Quota: s.Quota, Block: s.Block,
		Rest: (time.Duration(s.rest(b.policy)) * time.Millisecond).String(), Size: u.Size, Used: u.Used, Leased: u.Leased,
		Unconfirmed: u.Unconfirmed, Resting: u.Resting, Lost: u.Lost, Reserved: u.Reserved, Waiting: s.ByName, Called: b.settled.called(s.Key),
	}
	if !s.terms.Range.IsZero() {
		v.Range = s.terms.Range.String()
	}
	for _, g := range s.Gateways {
		v.Gateways = append(v.Gateways, g.Addr)
	}
	if s.terms.Gateway.IsValid() {
		v.Gateways = append(v.Gateways, s.terms.Gateway)
	}
	for _, bl := range s.pool.blocks {
		if bl.share == s {
			v.Blocks = append(v.Blocks, netip.PrefixFrom(fromNumber(bl.first), s.Block))
		}
	}
	return v
}

// Leases lists what is leased or rests, by space and address. Addresses whose rest is over are left out.
func (b *Book) Leases(at time.Time) []Lease {
	now := millis(at)
	var all []Lease
	for _, p := range b.pools {
		for _, l := range p.leases {
			if state := l.stands(now); state != Free {
				all = append(all, b.seenLease(l, state, now))
			}
		}
	}
	slices.SortFunc(all, func(x, y Lease) int {
		if x.Pool[0] != y.Pool[0] {
			return int(x.Pool[0]) - int(y.Pool[0])
		}
		return x.Addr.Compare(y.Addr)
	})
	return all
}

func (b *Book) seenLease(l *lease, state State, now int64) Lease {
	v := Lease{Addr: fromNumber(l.addr), Pool: l.share.Key, State: state, Gateway: l.gateway, Owner: b.named(l.owner), Since: moment(l.since)}
	if state == Resting {
		freed, until := moment(l.freed), moment(l.until)
		v.Freed, v.Until = &freed, &until
		v.Why = "rests " + left(l.until, now).String()
		if l.lost {
			v.Why += ": node " + b.nodeName(l.node) + " was not ready when Swarm let it go"
		}
	}
	return v
}

// Twice are addresses that the last view showed with two live owners, and who they are.
func (b *Book) Twice() map[netip.Addr][]string { return b.twice }

// Curious reports whether a view would tell something: an address that Swarm was not seen to hold yet, or no longer.
func (b *Book) Curious(space Space) bool {
	if space == Global && b.blind != 0 {
		return true
	}
	for _, p := range b.pools {
		if p.space != space {
			continue
		}
		for _, s := range p.shares {
			if s.ByName || s.missed != 0 {
				return true
			}
		}
		for _, l := range p.leases {
			if l.lost && l.state == resting || l.state == held && (l.missed != 0 || l.seen != l.share.Term) {
				return true
			}
		}
	}
	return false
}

// Has reports whether anything is known of a space.
func (b *Book) Has(space Space) bool {
	for _, p := range b.pools {
		if p.space == space {
			return true
		}
	}
	return false
}

// Viewed reports whether a view of the Swarm came since the book was made or read.
func (b *Book) Viewed() bool { return b.lastView != 0 }

// IsBlind reports whether a ledger was lost and neither a replay nor a view came since.
func (b *Book) IsBlind() bool { return b.blind != 0 }

// Free is how many addresses of the share can be handed out now.
func (s Share) Free() int { return max(0, s.Size-s.Used-s.Resting-s.Reserved) }

// Fullness is the part of the share that is used, rests or is reserved, from 0 to 1. A share of blocks grows up to its quota.
func (s Share) Fullness() float64 {
	full := 0.0
	if s.Quota > 0 {
		full = float64(s.Leased) / float64(s.Quota)
	}
	if s.Block == 0 && s.Size > 0 {
		full = max(full, float64(s.Used+s.Resting+s.Reserved)/float64(s.Size))
	}
	return full
}
