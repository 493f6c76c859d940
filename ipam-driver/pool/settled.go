package pool

import (
	"fmt"
	"slices"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// settled is what operators settled before any network asked: named pools, and addresses kept for somebody.
type settled struct {
	number   uint64 // of the Config; 0: none was ever read
	text     string
	plan     allotment.Plan
	reserved map[uint32]allotment.Reservation
	networks map[string][]Key // by name, as last seen
}

// PlanRecord is what the ledger keeps of it: a copy, which rules until the Swarm was asked again.
type PlanRecord struct {
	Number uint64 `json:"number"`
	Text   string `json:"text"`
}

// Settle lays down a newer plan, and says whether it is one. Leases that it contradicts stay, and are told of.
func (b *Book) Settle(number uint64, p allotment.Plan) (Change, error) {
	text, err := p.Text()
	if err != nil || number == b.settled.number && (number == 0 || string(text) == b.settled.text) {
		return Change{}, err
	}
	b.settled.lay(number, string(text), p)
	return Change{Plan: &PlanRecord{number, string(text)}}, nil
}

// Settled is the plan that rules, and its number; 0: none was ever read.
func (b *Book) Settled() (uint64, allotment.Plan) { return b.settled.number, b.settled.plan }

func (s *settled) lay(n uint64, text string, p allotment.Plan) {
	s.number, s.text, s.plan, s.reserved = n, text, p, map[uint32]allotment.Reservation{}
	for _, r := range p.Reservations {
		s.reserved[number(r.Address)] = r
	}
}

// recallPlan takes the ledger's copy. One that makes no sense to this version is as good as none: Swarm has it.
func (b *Book) recallPlan(r *PlanRecord) {
	if r == nil {
		return
	}
	if p, err := allotment.Parse([]byte(r.Text)); err == nil {
		b.settled.lay(r.Number, r.Text, p)
	}
}

// usual is what a new share gets that does not say it itself.
func (s *settled) usual(t Terms) (block, quota int) {
	if t.Space != Global || t.Pool == "" {
		return 0, 0
	}
	p, err := s.plan.Named(t.Pool)
	if err != nil || p.Prefix != t.Subnet {
		return 0, 0
	}
	if t.Block == 0 && t.Range.IsZero() {
		block = p.Block
	}
	return block, p.Quota
}

// call notes how networks are called.
func (s *settled) call(networks []Network) {
	s.networks = map[string][]Key{}
	for _, n := range networks {
		s.networks[n.Name] = append(s.networks[n.Name], n.Key)
	}
}

// called are the names of a share's networks, in order.
func (s *settled) called(key Key) []string {
	names := []string{}
	for name, keys := range s.networks {
		if slices.Contains(keys, key) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Subnet is the subnet of a network that names its pool instead.
func (b *Book) Subnet(space Space, options map[string]string) (string, error) {
	name := options[contract.Pool]
	switch {
	case space == Local:
		return "", fmt.Errorf("%s=%q: a node's own network needs a subnet: pass --subnet", contract.Pool, name)
	case b.settled.number == 0:
		return "", &WaitError{"pool " + name, "named pools have not been read from Swarm yet (its configs " + allotment.ConfigName(1) + " and up), or there are none"}
	}
	p, err := b.settled.plan.Named(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", contract.Pool, err)
	}
	return p.Prefix.String(), nil
}

// keeps reports whether an address waits for somebody who names it.
func (s *settled) keeps(a uint32) bool {
	_, kept := s.reserved[a]
	return kept
}

// keptFrom refuses an address that somebody else has reserved. What a replay names, and what the share has already, is
// no news, and a refusal of it would do harm.
func (b *Book) keptFrom(s *share, l *lease, a uint32, now int64) error {
	r, kept := b.settled.reserved[a]
	switch {
	case !kept || s.terms.Space == Local || b.settled.admits(s, r):
		return nil
	case l != nil && l.state == held && l.share == s, s.ByName, b.blind != 0, b.replaying(s, now):
		return nil
	}
	why := fmt.Sprintf("address %s is reserved for %s (%s)", r.Address, r.For(), r.Why)
	if r.Network != "" && s.Asked >= b.lastView {
		return &WaitError{s.terms.String(), why + ", and how this network is called is not known yet"}
	}
	return &RefusedError{s.terms.String(), why + ": choose another, or none"}
}

// admits reports whether an address is kept for the share's networks.
func (s *settled) admits(of *share, r allotment.Reservation) bool {
	switch {
	case r.Network != "":
		return slices.Contains(s.networks[r.Network], of.Key)
	case r.Project != "":
		return r.Project == of.terms.Project && (r.Environment == "" || r.Environment == of.terms.Environment)
	}
	return false
}

// reservedIn counts the addresses of a share's piece of the pool that are free but for being reserved.
func (b *Book) reservedIn(s *share, now int64) int {
	n := 0
	for a := range b.settled.reserved {
		if !s.pool.has(a) || !s.pool.in(s.zone, a) {
			continue
		}
		if l := s.pool.leases[a]; l == nil || l.state == resting && l.until <= now {
			n++
		}
	}
	return n
}

// Trespass are the sentences on addresses that are reserved, and that somebody else has.
func (b *Book) Trespass() []string {
	var all []string
	for _, r := range b.settled.plan.Reservations {
		for _, p := range b.pools {
			l := p.leases[number(r.Address)]
			if p.space != Global || !p.prefix.Contains(r.Address) || l == nil || l.state != held || l.gateway || b.settled.admits(l.share, r) {
				continue
			}
			who := b.named(l.owner).String()
			if who == "" {
				who = "somebody"
			}
			all = append(all, fmt.Sprintf("%s is reserved for %s (%s), and %s has it (%s): stop one of them, or take the reservation back", r.Address, r.For(), r.Why, who, l.share.terms))
		}
	}
	return all
}
