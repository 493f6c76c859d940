package pool

import (
	"net/netip"

	"github.com/rolling-swarm/rolling/internal/allotment"
)

// reserve lets one manager's plugin read a plan that reserves some addresses, used ones too; the others may never hear
// of it.
func (s *sim) reserve() {
	var p allotment.Plan
	seen := map[netip.Addr]bool{}
	for range s.r.IntN(4) {
		a := netip.AddrFrom4([4]byte{10, byte(1 + s.r.IntN(2)), 0, byte(s.r.IntN(8))})
		if seen[a] {
			continue
		}
		seen[a] = true
		p.Reservations = append(p.Reservations, []allotment.Reservation{
			{Address: a, Owner: "a printer", Why: "it was there first"},
			{Address: a, Project: "a", Why: "a firewall knows it"},
			{Address: a, Network: "nobody", Why: "to come"},
		}[s.r.IntN(3)])
	}
	plugin := s.plugins[s.r.IntN(len(s.plugins))]
	n, _ := plugin.book.Settled()
	c, err := plugin.book.Settle(n+1, p)
	if err != nil {
		s.fail("a plan was refused: %v", err)
	}
	plugin.keep(c)
	if s.bugs.giveReserved {
		plugin.book.settled.reserved = nil
	}
	s.say("a plan with %d reservations", len(p.Reservations))
}

func (s *sim) reservedIn(p allotment.Plan, a netip.Addr) bool {
	_, reserved := p.Reserved(a)
	return reserved
}

// unreserve takes all reservations back, so that every address that is free can be had.
func (s *sim) unreserve() {
	for _, p := range s.plugins {
		n, _ := p.book.Settled()
		c, err := p.book.Settle(n+1, allotment.Plan{})
		if err != nil {
			s.fail("an empty plan was refused: %v", err)
		}
		p.keep(c)
	}
}
