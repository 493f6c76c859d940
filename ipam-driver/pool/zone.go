package pool

// A zone is a piece of a pool that one set of shares draws from: the open part of a subnet, an exact range, or the
// blocks of one network. Every address lies in at least one zone.
type zone struct {
	span   interval  // a range's ends; unused for the open zone and for blocks
	virgin intervals // free, and never freed here as far as is known
	freed  restHeap  // freed once; entries outlive their lease and are dropped when met
	high   uint32    // the highest address ever taken; 0: none
}

// rest is the wish of one freed address to be used again at until.
type rest struct {
	until, freed int64 // milliseconds since 1970
	addr         uint32
}

func (a rest) before(b rest) bool {
	if a.until != b.until {
		return a.until < b.until
	}
	if a.freed != b.freed {
		return a.freed < b.freed
	}
	return a.addr < b.addr
}

// restHeap is a binary heap, the first to be ready on top: with one resting time that is the least recently freed.
type restHeap []rest

func (h *restHeap) push(r rest) {
	*h = append(*h, r)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s[i].before(s[parent]) {
			break
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *restHeap) pop() rest {
	s := *h
	top := s[0]
	n := len(s) - 1
	s[0] = s[n]
	*h = s[:n]
	s = s[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			return top
		}
		if child+1 < n && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(s[i]) {
			return top
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
}

// pick is what a choice depends on beside the zone itself.
type pick struct {
	now    int64
	unsure bool                // a new term began less than a rest ago: another leader may have freed what is unknown here
	soft   bool                // rather cut a rest short than refuse (exact ranges)
	fits   func(uint32) bool   // not excluded for this share
	lease  func(uint32) *lease // what the pool knows of an address
}

// choose returns the address to hand out next.
//
// In quiet times that is the one freed longest ago whose rest is over, else the lowest never used. In the first
// moments of a new term what is unknown comes last: first what lies above all that was ever seen in use, then the
// gaps from the top down, since addresses are handed out from the bottom up.
func (z *zone) choose(p pick) (uint32, bool) {
	if !p.unsure {
		if a, ok := z.rested(p, false); ok {
			return a, true
		}
		if a, ok := z.virgin.up(0, p.fits); ok {
			return a, true
		}
	} else {
		if z.high < ^uint32(0) {
			if a, ok := z.virgin.up(z.high+1, p.fits); ok {
				return a, true
			}
		}
		if a, ok := z.virgin.down(z.high, p.fits); ok {
			return a, true
		}
		if a, ok := z.rested(p, false); ok {
			return a, true
		}
	}
	if p.soft {
		return z.rested(p, true)
	}
	return 0, false
}

// rested is the first freed address that is ready; early: ready or not, unless a lost node may still hold it.
func (z *zone) rested(p pick, early bool) (found uint32, ok bool) {
	var unfit []rest
	for len(z.freed) > 0 && !ok {
		top := z.freed[0]
		l := p.lease(top.addr)
		switch {
		case l == nil || l.state != resting || l.until != top.until:
			z.freed.pop() // taken or freed again since
		case top.until > p.now && (!early || l.lost):
			if !early {
				goto out
			}
			unfit = append(unfit, z.freed.pop())
		case !p.fits(top.addr):
			unfit = append(unfit, z.freed.pop())
		default:
			found, ok = top.addr, true
		}
	}
out:
	for _, r := range unfit {
		z.freed.push(r)
	}
	return found, ok
}
