package pool

import (
	"fmt"
	"slices"
	"strings"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// dump is the whole book as sorted text, so that two books can be compared.
func (b *Book) dump() string {
	var lines []string
	for _, s := range b.shares {
		r := s.record()
		for i := range r.Gateways {
			r.Gateways[i].missed = 0
		}
		lines = append(lines, fmt.Sprintf("share %+v leased=%d", r, s.leased))
	}
	for _, p := range b.pools {
		for _, l := range p.leases {
			lines = append(lines, fmt.Sprintf("lease %+v", l.record()))
		}
		lines = append(lines, fmt.Sprintf("pool %s virgin=%d", p.name, p.open.virgin.count()))
	}
	slices.Sort(lines)
	return fmt.Sprintf("epoch %d\n", b.epoch) + strings.Join(lines, "\n")
}

func (d *desk) dump() string { return d.book.dump() }

// check looks for contradictions between the book's parts.
func (b *Book) check() error {
	for name, p := range b.pools {
		if len(p.shares) == 0 {
			return fmt.Errorf("pool %s has no share", name)
		}
		zones := append([]*zone{&p.open}, p.ranges...)
		for _, s := range p.shares {
			if !slices.Contains(zones, s.zone) {
				zones = append(zones, s.zone)
			}
			n := 0
			for _, l := range p.leases {
				if l.share == s && l.state == held && !l.gateway {
					n++
				}
			}
			if n != s.leased {
				return fmt.Errorf("share %s counts %d leases and has %d", s.Key, s.leased, n)
			}
		}
		for a := p.first; ; a++ {
			l := p.leases[a]
			for _, z := range zones {
				if want := l == nil && p.in(z, a); z.virgin.has(a) != want {
					return fmt.Errorf("pool %s: %s: virgin %v in zone of %v, want %v", name, fromNumber(a), !want, owners(p, z), want)
				}
				if l != nil && l.state == resting && p.in(z, a) && !slices.ContainsFunc(z.freed, func(r rest) bool { return r.addr == a && r.until == l.until }) {
					return fmt.Errorf("pool %s: %s rests and is not in its zone's heap: leaked", name, fromNumber(a))
				}
			}
			if a == p.last {
				break
			}
		}
	}
	return nil
}

func owners(p *pool, z *zone) (keys []Key) {
	for _, s := range p.shares {
		if s.zone == z {
			keys = append(keys, s.Key)
		}
	}
	return keys
}
