package pool

import (
	"slices"
	"sort"
)

// A pool's addresses belong to zones: a block to its share, a range to the shares that named it, the rest is open.

func (p *pool) has(a uint32) bool { return a >= p.first && a <= p.last }

func (p *pool) blockAt(a uint32) *block {
	i := sort.Search(len(p.blocks), func(i int) bool { return p.blocks[i].last >= a })
	if i < len(p.blocks) && p.blocks[i].first <= a {
		return &p.blocks[i]
	}
	return nil
}

// zones are those that an address lies in: one, but for ranges that overlap.
func (p *pool) zones(a uint32) []*zone {
	if bl := p.blockAt(a); bl != nil {
		return []*zone{bl.share.zone}
	}
	var found []*zone
	for _, z := range p.ranges {
		if z.span.first <= a && a <= z.span.last {
			found = append(found, z)
		}
	}
	if found == nil {
		return []*zone{&p.open}
	}
	return found
}

// in reports whether the address lies in the zone now.
func (p *pool) in(z *zone, a uint32) bool {
	if len(p.blocks) == 0 && len(p.ranges) == 0 {
		return z == &p.open
	}
	return slices.Contains(p.zones(a), z)
}

// enter notes a lease; its address is no longer virgin anywhere.
func (p *pool) enter(l *lease) {
	p.leases[l.addr] = l
	if len(p.blocks) == 0 && len(p.ranges) == 0 {
		p.open.virgin.remove(l.addr, l.addr)
		p.open.high = max(p.open.high, l.addr)
		return
	}
	for _, z := range p.zones(l.addr) {
		z.virgin.remove(l.addr, l.addr)
		z.high = max(z.high, l.addr)
	}
}

// lay lets a lease rest until its time.
func (p *pool) lay(l *lease) {
	l.state = resting
	for _, z := range p.zones(l.addr) {
		z.freed.push(rest{l.until, l.freed, l.addr})
	}
}

// forget makes an address as good as never used.
func (p *pool) forget(l *lease) {
	delete(p.leases, l.addr)
	for _, z := range p.zones(l.addr) {
		z.virgin.add(l.addr, l.addr)
	}
}

func (p *pool) leasesOf(s *share) []*lease {
	var found []*lease
	for _, l := range p.leases {
		if l.share == s {
			found = append(found, l)
		}
	}
	return found
}

func (p *pool) rangeZone(span interval) *zone {
	for _, z := range p.ranges {
		if z.span == span {
			return z
		}
	}
	z := &zone{span: span}
	p.ranges = append(p.ranges, z)
	p.open.virgin.remove(span.first, span.last)
	p.survey(z, span)
	return z
}

// closeRange opens a range again that no share names any more.
func (p *pool) closeRange(z *zone) {
	i := slices.Index(p.ranges, z)
	if i < 0 || slices.ContainsFunc(p.shares, func(s *share) bool { return s.zone == z }) {
		return
	}
	p.ranges = slices.Delete(p.ranges, i, i+1)
	p.survey(&p.open, z.span)
}

// give makes a block the share's own.
func (p *pool) give(bl block) {
	i := sort.Search(len(p.blocks), func(i int) bool { return p.blocks[i].first > bl.first })
	p.blocks = slices.Insert(p.blocks, i, bl)
	p.open.virgin.remove(bl.first, bl.last)
	for _, r := range p.ranges {
		r.virgin.remove(bl.first, bl.last)
	}
	p.survey(bl.share.zone, interval{bl.first, bl.last})
}

// takeBack opens a block again.
func (p *pool) takeBack(bl block) {
	p.blocks = slices.DeleteFunc(p.blocks, func(o block) bool { return o.first == bl.first })
	bl.share.zone.virgin.remove(bl.first, bl.last)
	p.survey(&p.open, interval{bl.first, bl.last})
	for _, r := range p.ranges {
		if r.span.first <= bl.last && r.span.last >= bl.first {
			p.survey(r, interval{max(r.span.first, bl.first), min(r.span.last, bl.last)})
		}
	}
}

// survey fills a zone with what its new piece of the pool holds: addresses never used, and rests.
func (p *pool) survey(z *zone, span interval) {
	var taken []*lease
	if int(span.last-span.first) < len(p.leases) {
		for a := span.first; ; a++ {
			if l := p.leases[a]; l != nil {
				taken = append(taken, l)
			}
			if a == span.last {
				break
			}
		}
	} else {
		for _, l := range p.leases {
			if span.first <= l.addr && l.addr <= span.last {
				taken = append(taken, l)
			}
		}
	}
	z.virgin.add(span.first, span.last)
	for _, l := range taken {
		z.virgin.remove(l.addr, l.addr)
		z.high = max(z.high, l.addr)
		if l.state == resting {
			z.freed.push(rest{l.until, l.freed, l.addr})
		}
	}
	p.leaveOut(z, span)
}

// leaveOut takes out of the open zone what blocks and ranges own, and out of a range what blocks own.
func (p *pool) leaveOut(z *zone, span interval) {
	shared := z == &p.open || slices.Contains(p.ranges, z)
	for _, bl := range p.blocks {
		if shared && bl.first <= span.last && bl.last >= span.first {
			z.virgin.remove(bl.first, bl.last)
		}
	}
	for _, r := range p.ranges {
		if z == &p.open && r.span.first <= span.last && r.span.last >= span.first {
			z.virgin.remove(r.span.first, r.span.last)
		}
	}
}

func (p *pool) unroute(a uint32) {
	if p.routers[a]--; p.routers[a] <= 0 {
		delete(p.routers, a)
	}
}
