package bgp

import (
	"net/netip"
	"time"
)

// lull keeps the routes of a time in which every reflector is lost: nobody is left to tell of changes, so what was told
// last stays true until somebody is back and has had the time to hear of all.
type lull struct {
	kept  map[netip.Prefix]netip.Addr
	ended time.Time // a session is up again since
}

func newLull() lull { return lull{kept: map[netip.Prefix]netip.Addr{}} }

func (l *lull) keep(p netip.Prefix, via netip.Addr) { l.kept[p] = via }

// told takes a route out that somebody speaks of again.
func (l *lull) told(p netip.Prefix) { delete(l.kept, p) }

// lose gives the kept routes by way of a node that is known to be gone.
func (l *lull) lose(via netip.Addr) []netip.Prefix {
	var gone []netip.Prefix
	for p, v := range l.kept {
		if v == via {
			gone = append(gone, p)
			delete(l.kept, p)
		}
	}
	return gone
}

// over gives, once, what nobody spoke of for as long as nodes need to come back to a reflector.
func (l *lull) over(now time.Time, up bool) []netip.Prefix {
	switch {
	case len(l.kept) == 0, !up:
		l.ended = time.Time{}
		return nil
	case l.ended.IsZero():
		l.ended = now
		return nil
	case now.Sub(l.ended) < settleLimit:
		return nil
	}
	var gone []netip.Prefix
	for p := range l.kept {
		gone = append(gone, p)
	}
	*l = newLull()
	return gone
}
