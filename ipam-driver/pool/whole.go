package pool

import (
	"net/netip"
	"slices"
	"time"
)

// Prefix is a whole subnet as people see it, with all that draw from it.
type Prefix struct {
	Subnet   netip.Prefix `json:"subnet"`
	Name     string       `json:"name,omitempty"`
	Size     int          `json:"size"`
	Used     int          `json:"used"`
	Resting  int          `json:"resting"`
	Reserved int          `json:"reserved"` // and free
	Given    int          `json:"given"`    // in blocks and ranges of networks
	Networks int          `json:"networks"`
}

// Fullness is the part that is used, rests, is reserved, or is given to networks, from 0 to 1.
func (p Prefix) Fullness() float64 {
	if p.Size == 0 {
		return 0
	}
	return float64(max(p.Used+p.Resting+p.Reserved, p.Given)) / float64(p.Size)
}

// Prefixes lists the subnets of the Swarm's networks, and named pools that no network has yet.
func (b *Book) Prefixes(at time.Time) []Prefix {
	now := millis(at)
	var all []Prefix
	for _, p := range b.pools {
		if p.space == Global {
			all = append(all, b.whole(p, now))
		}
	}
	for _, named := range b.settled.plan.Pools {
		if i := slices.IndexFunc(all, func(w Prefix) bool { return w.Subnet == named.Prefix }); i >= 0 {
			all[i].Name = named.Name
			continue
		}
		w := Prefix{Subnet: named.Prefix, Name: named.Name, Size: 1 << (32 - named.Prefix.Bits())}
		for _, r := range b.settled.plan.Reservations {
			if named.Prefix.Contains(r.Address) {
				w.Reserved++
			}
		}
		all = append(all, w)
	}
	slices.SortFunc(all, func(x, y Prefix) int { return x.Subnet.Compare(y.Subnet) })
	return all
}

func (b *Book) whole(p *pool, now int64) Prefix {
	w := Prefix{Subnet: p.prefix, Size: int(p.last-p.first) + 1}
	for _, l := range p.leases {
		switch l.stands(now) {
		case Free:
		case Resting:
			w.Resting++
		default:
			w.Used++
		}
	}
	for a := range b.settled.reserved {
		if l := p.leases[a]; p.has(a) && (l == nil || l.stands(now) == Free) {
			w.Reserved++
		}
	}
	given := intervals{}
	for _, r := range p.ranges {
		given.add(r.span.first, r.span.last)
	}
	for _, bl := range p.blocks {
		given.add(bl.first, bl.last)
	}
	w.Given = given.count()
	for _, s := range p.shares {
		w.Networks += s.Networks
	}
	return w
}
