package apitest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/network"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
)

// networks are the networks, named pools and reservations of this world.
type networks struct {
	plan allotment.Plan
	made []engine.Network
}

func problems(what string, all []project.Problem) error {
	r := no(engine.Invalid, "%s: nothing changed", what)
	r.Problems = all
	return r
}

// taken are two networks: one of orders, and Docker's own.
func (n networks) taken() []network.Taken {
	all := []network.Taken{{Name: "orders-test_app", Subnet: netip.MustParsePrefix("10.210.3.0/24"), Ours: true}, {Name: "ingress", Subnet: netip.MustParsePrefix("10.0.0.0/24")}}
	for _, m := range n.made {
		all = append(all, network.Taken{Name: m.Name, Subnet: m.Subnet, Ours: true})
	}
	return all
}

// CreateNetwork makes one at once; a plugin refuses what is called refused.
func (e *Engine) CreateNetwork(_ context.Context, o engine.NewNetwork) (engine.Network, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	spec, wrong := network.Draw(o.Wish, e.net.plan, e.net.taken())
	if len(wrong) > 0 {
		return engine.Network{}, nil, problems("network "+o.Name, wrong)
	}
	if o.Name == "refused" {
		return engine.Network{}, nil, no(engine.Invalid, "network %s: the IPAM plugin refuses it: no link-local gateway is unused: remove a network; nothing is left of it", o.Name)
	}
	c := plan.Network{Spec: spec}
	n := engine.Network{ID: "id" + o.Name, Name: o.Name, Driver: c.Spec.DriverConfiguration.Name, Mode: "routed", Project: o.Project, Environment: o.Environment,
		Pool: o.Pool, Subnet: spec.IPAMOptions.Configs[0].Subnet, Range: o.Range, Block: o.Block, Quota: o.Quota, Quarantine: o.Quarantine, Attachable: o.Attachable,
		Gateway: netip.MustParseAddr("169.254.1.7")}
	if o.DryRun {
		n.ID, n.Gateway = "", netip.Addr{}
		return n, nil, nil
	}
	e.net.made = append(e.net.made, n)
	return n, nil, nil
}

// Networks are that of orders, nearly full, and those that were made.
func (e *Engine) Networks(_ context.Context, o engine.NetworksOf) ([]engine.Network, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := append([]engine.Network{{
		ID: "idapp", Name: "orders-test_app", Driver: "rolling/net:latest", Mode: "routed", Project: "orders", Environment: "test", Subnet: netip.MustParsePrefix("10.210.3.0/24"),
		Gateway: netip.MustParseAddr("169.254.1.1"), Services: []string{"orders-test_web"}, Tasks: 2, Quota: 8, Block: 30,
		Blocks: []netip.Prefix{netip.MustParsePrefix("10.210.3.8/30"), netip.MustParsePrefix("10.210.3.12/30")},
		Usage:  &engine.Usage{Size: 8, Used: 6, Resting: 1, Free: 1, Full: 87}, Warnings: []string{"87 % of its addresses are used, rest or are reserved: plan a wider one"},
	}}, e.net.made...)
	return slices.DeleteFunc(all, func(n engine.Network) bool {
		return o.Project != "" && n.Project != string(o.Project) || o.Environment != "" && n.Environment != string(o.Environment)
	}), nil, nil
}

// Network gives one.
func (e *Engine) Network(ctx context.Context, name string) (engine.Network, []string, error) {
	all, warnings, err := e.Networks(ctx, engine.NetworksOf{})
	for _, n := range all {
		if n.Name == name {
			return n, warnings, err
		}
	}
	return engine.Network{}, nil, no(engine.NotFound, "network %s: none of Rolling's has that name", name)
}

// RemoveNetwork removes one that was made; that of orders is in use.
func (e *Engine) RemoveNetwork(ctx context.Context, name, _ string) ([]string, error) {
	n, _, err := e.Network(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(n.Services) > 0 {
		return nil, no(engine.InUse, "network %s: services %s use it: remove them first", n.Name, strings.Join(n.Services, ", "))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.net.made = slices.DeleteFunc(e.net.made, func(m engine.Network) bool { return m.Name == name })
	return nil, nil
}

// Pools are those that were made; the leader's plugin is away.
func (e *Engine) Pools(context.Context) ([]engine.Pool, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []engine.Pool
	for _, p := range e.net.plan.Pools {
		all = append(all, engine.Pool{Name: p.Name, Prefix: p.Prefix, Block: p.Block, Quota: p.Quota, Why: p.Why, Networks: []string{},
			Usage: &engine.Usage{Size: 65536, Used: 60, Given: 64, Free: 65476}})
	}
	return all, []string{"how full they are: node n1: its agent has no line to this manager"}, nil
}

// CreatePool makes one.
func (e *Engine) CreatePool(_ context.Context, o engine.NewPool) (engine.Pool, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.net.plan.Named(o.Name); err == nil {
		return engine.Pool{}, nil, no(engine.Exists, "pool %s: there is one of that name", o.Name)
	}
	var wrong []project.Problem
	for _, text := range network.Clashes(o.Prefix, e.net.plan, e.net.taken()) {
		wrong = append(wrong, project.Problem{Path: "prefix", Text: text})
	}
	if len(wrong) > 0 {
		return engine.Pool{}, nil, problems("pool "+o.Name, wrong)
	}
	e.net.plan.Pools = append(e.net.plan.Pools, o.Pool)
	return engine.Pool{Name: o.Name, Prefix: o.Prefix, Block: o.Block, Quota: o.Quota, Why: o.Why, Networks: []string{}}, []string{"the IPAM plugin of n2 reads it within a minute: no line"}, nil
}

// RemovePool removes one.
func (e *Engine) RemovePool(_ context.Context, name, _ string) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.net.plan.Named(name); err != nil {
		return nil, no(engine.NotFound, "%v", err)
	}
	e.net.plan.Pools = slices.DeleteFunc(e.net.plan.Pools, func(p allotment.Pool) bool { return p.Name == name })
	return nil, nil
}

// Address knows 10.210.3.9, which a task has; 10.210.3.20, which rests; and what is reserved.
func (e *Engine) Address(ctx context.Context, a netip.Addr) (engine.AddressDetail, error) {
	d := engine.AddressDetail{Address: a, State: "free", Networks: []string{"orders-test_app"}}
	all, _ := e.Addresses(ctx, engine.AddressesOf{})
	for _, x := range all {
		if x.Address == a {
			d.State, d.Holders = "held", append(d.Holders, x)
			d.Lease = &engine.Lease{State: "confirmed", Owner: "task of service " + x.Service + " slot " + x.Slot + " on node " + x.Node, Since: Begin}
		}
	}
	if a == netip.MustParseAddr("10.210.3.20") {
		until := Begin.Add(24 * 60 * 60e9)
		d.State, d.Lease = "resting", &engine.Lease{State: "resting", Since: Begin, Freed: &Begin, Until: &until, Why: "rests 23h59m: node n3 was not ready when Swarm let it go"}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r, ok := e.net.plan.Reserved(a); ok {
		d.State, d.Reservation = "reserved", &engine.Reservation{Reservation: r, For: r.For()}
	}
	return d, nil
}

// FreeAddress frees 10.210.3.20, by force alone.
func (e *Engine) FreeAddress(_ context.Context, a netip.Addr, force bool, _ string) error {
	switch {
	case a != netip.MustParseAddr("10.210.3.20"):
		return no(engine.InUse, "free %s: it does not rest", a)
	case !force:
		return no(engine.InUse, "free %s: node n3 was not ready when Swarm let it go and may still use it: make sure that it is off, then force it", a)
	}
	return nil
}

// Reservations are those that were made.
func (e *Engine) Reservations(context.Context) ([]engine.Reservation, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []engine.Reservation
	for _, r := range e.net.plan.Reservations {
		all = append(all, engine.Reservation{Reservation: r, For: r.For()})
	}
	return all, nil, nil
}

// Reserve keeps what is asked for, or the next ones below 10.210.3.255.
func (e *Engine) Reserve(_ context.Context, o engine.Reserve) ([]engine.Reservation, []string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Reservation.Network == "" && o.Project == "" && o.Owner == "" {
		o.Reservation.Network = o.Network
	}
	picked := []netip.Addr{o.Address}
	if !o.Address.IsValid() {
		var err error
		if picked, err = network.Pick(netip.MustParsePrefix("10.210.3.0/24"), o.Count, func(a netip.Addr) bool { _, taken := e.net.plan.Reserved(a); return !taken }); err != nil {
			return nil, nil, no(engine.Invalid, "%v", err)
		}
	}
	next := allotment.Plan{Reservations: slices.Clone(e.net.plan.Reservations)}
	var made []engine.Reservation
	for _, a := range picked {
		r := o.Reservation
		r.Address, r.At, r.By = a, Begin, "tester"
		next.Reservations = append(next.Reservations, r)
		made = append(made, engine.Reservation{Reservation: r, For: r.For()})
	}
	if _, err := next.Text(); err != nil {
		return nil, nil, problems("reserve", []project.Problem{{Path: "address", Text: fmt.Sprint(err)}})
	}
	if !o.DryRun {
		e.net.plan.Reservations = next.Reservations
	}
	return made, nil, nil
}

// Unreserve takes one back.
func (e *Engine) Unreserve(_ context.Context, a netip.Addr, _ string) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.net.plan.Reserved(a); !ok {
		return nil, no(engine.NotFound, "address %s is not reserved", a)
	}
	e.net.plan.Reservations = slices.DeleteFunc(e.net.plan.Reservations, func(r allotment.Reservation) bool { return r.Address == a })
	return nil, nil
}
