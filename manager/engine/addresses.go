package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/network"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Reservation keeps an address for somebody, as people see it.
type Reservation struct {
	allotment.Reservation
	For      string `json:"for"`                // in words
	HeldBy   string `json:"heldBy,omitempty"`   // who has it now
	Trespass bool   `json:"trespass,omitempty"` // that is somebody else
}

// AddressDetail is all that is known of one address.
type AddressDetail struct {
	Address     netip.Addr   `json:"address"`
	State       string       `json:"state"`             // held, leased, resting, reserved, free, unknown
	Holders     []Address    `json:"holders,omitempty"` // as Swarm's tasks say; two are a fault
	Lease       *Lease       `json:"lease,omitempty"`   // as the leader's IPAM plugin says
	Reservation *Reservation `json:"reservation,omitempty"`
	Networks    []string     `json:"networks,omitempty"` // whose subnet it lies in
	Pools       []string     `json:"pools,omitempty"`    // named ones that it lies in
	Refused     *LastNo      `json:"refused,omitempty"`  // the last time that it was asked for by name in vain
	Access      []string     `json:"access,omitempty"`   // who may connect to it, and who says so; of a held one, by its node
	Warnings    []string     `json:"warnings,omitempty"`
}

// LastNo is why somebody did not get an address that he named: the engine itself says only that it took too long.
type LastNo struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

// Lease is what the IPAM plugin's ledger has of an address.
type Lease struct {
	State string     `json:"state"` // reserved, confirmed, unconfirmed, resting
	Owner string     `json:"owner,omitempty"`
	Since time.Time  `json:"since"`
	Freed *time.Time `json:"freed,omitempty"`
	Until *time.Time `json:"until,omitempty"` // of a rest
	Why   string     `json:"why,omitempty"`   // why it is not handed out now
}

// Reserve asks to keep addresses: one that is named, or Count of a pool's or a network's.
type Reserve struct {
	Address netip.Addr // zero: Count of them are chosen
	Count   int
	Pool    string // by name; where to choose, or where Address must lie
	Network string // the same; and for whom, unless something else is said
	allotment.Reservation
	DryRun bool
}

// maxReserve is how many addresses one call may keep.
const maxReserve = 256

// Address tells all that is known of one.
func (e *Engine) Address(ctx context.Context, a netip.Addr) (AddressDetail, error) {
	v := AddressDetail{Address: a, State: "unknown"}
	all, err := e.Addresses(ctx, AddressesOf{})
	if err != nil {
		return v, err
	}
	for _, x := range all {
		if x.Address == a {
			v.Holders = append(v.Holders, x)
		}
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return v, err
	}
	p, _, _, err := e.settled(ctx)
	if err != nil {
		return v, err
	}
	for _, t := range taken(observed) {
		if t.Ours && t.Subnet.IsValid() && t.Subnet.Contains(a) {
			v.Networks = append(v.Networks, t.Name)
		}
	}
	for _, pool := range p.Pools {
		if pool.Prefix.Contains(a) {
			v.Pools = append(v.Pools, pool.Name)
		}
	}
	if r, ok := p.Reserved(a); ok {
		seen := reservation(r, v.Holders)
		v.Reservation = &seen
	}
	v.lease(e.ledger(ctx, false, a))
	e.access(ctx, &v)
	return v, nil
}

// access asks the node of the one who has the address.
func (e *Engine) access(ctx context.Context, v *AddressDetail) {
	if e.options.Fabric == nil || len(v.Holders) != 1 || v.Holders[0].Node == "" {
		return
	}
	n, err := e.node(ctx, v.Holders[0].Node)
	if err == nil {
		var known wire.Network
		known, err = e.options.Fabric.Network(ctx, n.ID)
		v.Access = accessOf(known.Driver, v.Address)
	}
	if err != nil {
		v.Warnings = append(v.Warnings, "who may connect: "+err.Error())
	}
}

// lease adds the plugin's word, and says how the address stands.
func (v *AddressDetail) lease(known wire.Addresses, err error) {
	if err != nil {
		v.Warnings = append(v.Warnings, "its lease: "+err.Error())
	}
	for _, l := range known.Leases {
		v.Lease = &Lease{State: l.State, Owner: words(l.Owner), Since: l.Since, Freed: l.Freed, Until: l.Until, Why: l.Why}
	}
	for _, r := range known.Refusals {
		if r.Call == "RequestAddress" && r.Address == v.Address.String() {
			v.Refused = &LastNo{At: r.At, Why: r.Why}
		}
	}
	if len(v.Holders) > 1 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("%d hold it at once: stop one of them", len(v.Holders)))
	}
	switch {
	case len(v.Holders) > 0:
		v.State = "held"
	case v.Lease != nil && v.Lease.State == "resting":
		v.State = "resting"
	case v.Lease != nil:
		v.State = "leased"
	case v.Reservation != nil:
		v.State = "reserved"
	case err == nil && len(v.Networks)+len(v.Pools) > 0:
		v.State = "free"
	}
}

func words(o *wire.AddressOwner) string {
	if o == nil {
		return ""
	}
	text := o.Kind
	for _, p := range [][2]string{{" of service ", o.Service}, {" slot ", o.Slot}, {" ", o.Task}, {" on node ", o.Node}} {
		if p[1] != "" {
			text += p[0] + p[1]
		}
	}
	return text
}

// reservation says also who has the address.
func reservation(r allotment.Reservation, holders []Address) Reservation {
	v := Reservation{Reservation: r, For: r.For()}
	for _, h := range holders {
		if h.Address != r.Address {
			continue
		}
		v.HeldBy = fmt.Sprintf("%s on network %s", cmp.Or(h.Service, "a container"), h.Network)
		v.Trespass = v.Trespass || !rightful(r, h)
	}
	return v
}

// rightful: the holder is whom the address is kept for.
func rightful(r allotment.Reservation, h Address) bool {
	return r.Network != "" && r.Network == h.Network ||
		r.Project != "" && r.Project == h.Project && (r.Environment == "" || r.Environment == h.Environment)
}

// Reservations lists by address what is reserved.
func (e *Engine) Reservations(ctx context.Context) ([]Reservation, []string, error) {
	p, _, warnings, err := e.settled(ctx)
	if err != nil {
		return nil, nil, err
	}
	holders, err := e.Addresses(ctx, AddressesOf{})
	if err != nil {
		return nil, nil, err
	}
	views := []Reservation{}
	for _, r := range p.Reservations {
		v := reservation(r, holders)
		if v.Trespass {
			warnings = append(warnings, fmt.Sprintf("%s is reserved for %s, and %s has it", r.Address, v.For, v.HeldBy))
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b Reservation) int { return a.Address.Compare(b.Address) })
	return views, warnings, nil
}

// surroundings are what a reservation is judged by.
type surroundings struct {
	networks []network.Taken
	holders  []Address
	leases   []wire.AddressLease
	shares   []wire.AddressShare
}

func (e *Engine) around(ctx context.Context) (surroundings, []string, error) {
	var s surroundings
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return s, nil, err
	}
	if s.holders, err = e.Addresses(ctx, AddressesOf{}); err != nil {
		return s, nil, err
	}
	s.networks = taken(observed)
	known, err := e.ledger(ctx, true, netip.Addr{})
	if err != nil {
		//nolint:nilerr // the answer is given without it, and says so
		return s, []string{"which addresses rest or have just been given is not known: " + err.Error()}, nil
	}
	s.leases, s.shares = known.Leases, known.Shares
	return s, nil, nil
}

// Reserve keeps addresses for somebody. One that somebody else has is refused.
func (e *Engine) Reserve(ctx context.Context, o Reserve) ([]Reservation, []string, error) {
	if o.Reservation.Network == "" && o.Project == "" && o.Owner == "" {
		o.Reservation.Network = o.Network
	}
	o.At = e.now()
	s, warnings, err := e.around(ctx)
	if err != nil {
		return nil, nil, err
	}
	what := o.Address.String()
	if !o.Address.IsValid() {
		what = fmt.Sprintf("%d addresses", o.Count)
	}
	var made []Reservation
	more, err := e.settle(ctx, o.By, "address reserve", what, o.DryRun, func(p *allotment.Plan) error {
		all, problems := s.choose(*p, o)
		if len(problems) > 0 {
			return problematic("reserve "+what, problems)
		}
		made = nil
		for _, a := range all {
			r := o.Reservation
			r.Address = a
			p.Reservations = append(p.Reservations, r)
			made = append(made, reservation(r, s.holders))
		}
		return nil
	})
	return made, append(warnings, more...), err
}

// choose finds the addresses, or says all that is wrong.
func (s surroundings) choose(p allotment.Plan, o Reserve) ([]netip.Addr, []project.Problem) {
	var problems []project.Problem
	say := func(at, format string, args ...any) {
		problems = append(problems, project.Problem{Path: at, Text: fmt.Sprintf(format, args...)})
	}
	within, at := s.within(p, o, say)
	r := o.Reservation
	r.Address = netip.MustParseAddr("10.0.0.1") // the rest of it is judged
	if _, err := (allotment.Plan{Reservations: []allotment.Reservation{r}}).Text(); err != nil {
		problems = append(problems, alone(err, "reservations[0].")...)
	}
	switch {
	case o.Address.IsValid() && o.Count > 0, !o.Address.IsValid() && o.Count == 0:
		say("address", "want an address, or how many to choose")
	case o.Address.IsValid():
		s.judge(p, o, within, say)
		return []netip.Addr{o.Address}, problems
	case o.Count < 1 || o.Count > maxReserve:
		say("count", "%d: want 1 to %d", o.Count, maxReserve)
	case at == "":
		say("pool", "%d addresses of which one? want a pool or a network", o.Count)
	case within.IsValid():
		all, err := network.Pick(within, o.Count, func(a netip.Addr) bool {
			_, reserved := p.Reserved(a)
			return !reserved && s.blocked(a) == ""
		})
		if err != nil {
			say("count", "%v", err)
		}
		return all, problems
	}
	return nil, problems
}

// within is where the addresses must lie, and which words of the wish said so.
func (s surroundings) within(p allotment.Plan, o Reserve, say func(at, format string, args ...any)) (netip.Prefix, string) {
	switch {
	case o.Pool != "" && o.Network != "":
		say("pool", "a pool and a network were said: want one of them")
		return netip.Prefix{}, "pool"
	case o.Pool != "":
		pool, err := p.Named(o.Pool)
		if err != nil {
			say("pool", "%v", err)
		}
		return pool.Prefix, "pool"
	case o.Network != "":
		i := slices.IndexFunc(s.networks, func(t network.Taken) bool { return t.Name == o.Network && t.Ours })
		if i < 0 {
			say("network", "none of Rolling's networks is called %s", o.Network)
			return netip.Prefix{}, "network"
		}
		return s.networks[i].Subnet, "network"
	}
	return netip.Prefix{}, ""
}

// judge looks whether one named address can be reserved.
func (s surroundings) judge(p allotment.Plan, o Reserve, within netip.Prefix, say func(at, format string, args ...any)) {
	a := o.Address
	if !a.Is4() {
		say("address", "%s: want an IPv4 address: those of IPv6 are derived from it", a)
		return
	}
	if r, ok := p.Reserved(a); ok {
		say("address", "%s is reserved for %s already (%s)", a, r.For(), r.Why)
	}
	known := slices.ContainsFunc(s.networks, func(t network.Taken) bool { return t.Ours && t.Subnet.IsValid() && t.Subnet.Contains(a) }) ||
		slices.ContainsFunc(p.Pools, func(pool allotment.Pool) bool { return pool.Prefix.Contains(a) })
	switch {
	case within.IsValid() && !within.Contains(a):
		say("address", "%s does not lie in %s", a, within)
	case !known:
		say("address", "%s lies in no named pool and in no network of Rolling's", a)
	}
	for _, h := range s.holders {
		if h.Address == a && !rightful(o.Reservation, h) {
			say("address", "%s is in use by %s on network %s: stop it first, or reserve another", a, cmp.Or(h.Service, "a container"), h.Network)
			return
		}
	}
	if who := s.blocked(a); who != "" && !slices.ContainsFunc(s.holders, func(h Address) bool { return h.Address == a }) {
		say("address", "%s", who)
	}
}

// blocked says who has an address, by Swarm's word or the ledger's; "" is nobody.
func (s surroundings) blocked(a netip.Addr) string {
	for _, h := range s.holders {
		if h.Address == a {
			return fmt.Sprintf("%s is in use on network %s", a, h.Network)
		}
	}
	for _, l := range s.leases {
		if l.Address == a && l.State != "resting" {
			return fmt.Sprintf("%s is leased to %s", a, cmp.Or(words(l.Owner), "somebody since "+l.Since.Format(time.RFC3339)))
		}
	}
	return ""
}

// Unreserve takes a reservation back.
func (e *Engine) Unreserve(ctx context.Context, a netip.Addr, by string) ([]string, error) {
	return e.settle(ctx, by, "address unreserve", a.String(), false, func(p *allotment.Plan) error {
		if _, ok := p.Reserved(a); !ok {
			return refusal(NotFound, "address %s is not reserved", a)
		}
		p.Reservations = slices.DeleteFunc(p.Reservations, func(r allotment.Reservation) bool { return r.Address == a })
		return nil
	})
}

// FreeAddress ends the rest of an address. Force: somebody answers for its last node being dead.
func (e *Engine) FreeAddress(ctx context.Context, a netip.Addr, force bool, by string) error {
	if e.options.Ledger == nil {
		return fmt.Errorf("free %s: %w", a, errNoLedger)
	}
	leader, err := e.leader(ctx)
	if err != nil {
		return fmt.Errorf("free %s: %w", a, err)
	}
	err = e.options.Ledger.Free(ctx, leader, a, force)
	switch {
	case errors.Is(err, wire.ErrRefused):
		why, _ := strings.CutPrefix(err.Error(), wire.ErrRefused.Error()+": ")
		return refusal(InUse, "free %s: %s", a, why)
	case err != nil:
		return fmt.Errorf("free %s: %w", a, err)
	}
	return e.update(func(tx store.Tx) error {
		return e.entry(tx, by, "address free", a.String(), "force: %t", force)
	})
}
