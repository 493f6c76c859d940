package pool

// claimBlock gives the share one more block of the open pool, as far as its quota reaches.
func (b *Book) claimBlock(s *share, now int64) bool {
	if s.Block == 0 {
		return false
	}
	p := s.pool
	size := uint32(1) << (32 - s.Block)
	if s.Quota > 0 && s.blocks()*int(size) >= s.Quota {
		return false
	}
	first, ok := p.virginBlock(size, b.blockFits(s))
	if !ok {
		first, ok = p.restedBlock(size, now, b.blockFits(s))
	}
	if !ok {
		return false
	}
	p.give(block{first, first + size - 1, s})
	return true
}

func (s *share) blocks() int {
	n := 0
	for _, bl := range s.pool.blocks {
		if bl.share == s {
			n++
		}
	}
	return n
}

// blockFits: a block of which not one address could be used is no help.
func (b *Book) blockFits(s *share) func(first, last uint32) bool {
	return func(first, last uint32) bool {
		for a := first; ; a++ {
			if b.fits(s, a) {
				return true
			}
			if a == last {
				return false
			}
		}
	}
}

// virginBlock is the lowest aligned block of which no address was ever used.
func (p *pool) virginBlock(size uint32, fits func(first, last uint32) bool) (uint32, bool) {
	for _, r := range p.open.virgin.runs {
		for first := (r.first + size - 1) &^ (size - 1); first >= r.first && first <= r.last && r.last-first >= size-1; first += size {
			if fits(first, first+size-1) {
				return first, true
			}
			if first > ^uint32(0)-size {
				break
			}
		}
	}
	return 0, false
}

// restedBlock is the lowest aligned block of the open pool in which nothing is held and every rest is over.
func (p *pool) restedBlock(size uint32, now int64, fits func(first, last uint32) bool) (uint32, bool) {
	busy := map[uint32]bool{}
	for _, l := range p.leases {
		if l.state == held || l.until > now {
			busy[l.addr&^(size-1)] = true
		}
	}
	for first := p.first; ; first += size {
		last := first + size - 1
		if !busy[first] && p.whollyOpen(first, last) && fits(first, last) {
			return first, true
		}
		if last >= p.last {
			return 0, false
		}
	}
}

func (p *pool) whollyOpen(first, last uint32) bool {
	for _, r := range p.ranges {
		if r.span.first <= last && r.span.last >= first {
			return false
		}
	}
	for _, bl := range p.blocks {
		if bl.first <= last && bl.last >= first {
			return false
		}
	}
	return true
}

// claimAround gives the share the block in which an address lies that a replay names, if nobody else is in it.
func (b *Book) claimAround(s *share, a uint32) bool {
	p := s.pool
	size := uint32(1) << (32 - s.Block)
	first := a &^ (size - 1)
	if bl := p.blockAt(a); bl != nil || !p.whollyOpen(first, first+size-1) {
		return false
	}
	for n := first; ; n++ {
		if l := p.leases[n]; l != nil && l.state == held && l.share != s {
			return false
		}
		if n == first+size-1 {
			break
		}
	}
	p.give(block{first, first + size - 1, s})
	return true
}

// tidyBlocks opens blocks again in which nothing is held and every rest is over. A network that exists keeps one.
func (b *Book) tidyBlocks(s *share, now int64, c *Change) {
	if s.Block == 0 {
		return
	}
	p := s.pool
	keep := s.blocks()
	var empty []block
	for _, bl := range p.blocks {
		if bl.share == s && p.idle(bl, now) {
			empty = append(empty, bl)
		}
	}
	for i := len(empty) - 1; i >= 0 && keep > 1; i, keep = i-1, keep-1 {
		for a := empty[i].first; ; a++ {
			if l := p.leases[a]; l != nil {
				c.GoneLeases = append(c.GoneLeases, l.record())
				p.forget(l)
			}
			if a == empty[i].last {
				break
			}
		}
		p.takeBack(empty[i])
	}
	if len(empty) > 0 {
		c.Shares = append(c.Shares, s.record())
	}
}

// idle reports whether nothing in the block is held or rests.
func (p *pool) idle(bl block, now int64) bool {
	for a := bl.first; ; a++ {
		if l := p.leases[a]; l != nil && (l.state == held || l.until > now) {
			return false
		}
		if a == bl.last {
			return true
		}
	}
}
