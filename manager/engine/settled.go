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
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/network"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Pool is a named pool as people see it.
type Pool struct {
	Name     string       `json:"name"`
	Prefix   netip.Prefix `json:"prefix"`
	Block    int          `json:"block,omitempty"` // what its networks get unless they say otherwise
	Quota    int          `json:"quota,omitempty"`
	Why      string       `json:"why,omitempty"`
	Networks []string     `json:"networks"`
	Usage    *Usage       `json:"usage,omitempty"` // absent: the leader's IPAM plugin was not reached
	Warnings []string     `json:"warnings,omitempty"`
}

// Usage counts addresses, as the leader's IPAM plugin does.
type Usage struct {
	Size     int `json:"size"`
	Used     int `json:"used"`
	Resting  int `json:"resting"`
	Reserved int `json:"reserved"` // and free
	Free     int `json:"free"`
	Given    int `json:"given,omitempty"` // of a pool: in blocks and ranges of networks
	Full     int `json:"full"`            // percent: over 80 is a warning
}

// warnAbove is the percentage from which on a pool deserves a person's attention, as the IPAM plugin has it.
const warnAbove = 80

func usageOf(size, used, resting, reserved, given int) *Usage {
	u := &Usage{Size: size, Used: used, Resting: resting, Reserved: reserved, Given: given, Free: max(0, size-used-resting-reserved)}
	if size > 0 {
		u.Full = 100 * max(used+resting+reserved, given) / size
	}
	return u
}

// NewPool asks for a name for a prefix.
type NewPool struct {
	allotment.Pool
	By string
}

// settled reads the plan that rules, and the number that a newer one must have. Those above it that make no sense are in
// warnings.
func (e *Engine) settled(ctx context.Context) (p allotment.Plan, next uint64, warnings []string, err error) {
	if e.options.Settled == nil {
		return p, 1, nil, nil
	}
	all, err := e.options.Settled.Settled(ctx)
	if err != nil {
		return p, 0, nil, err
	}
	_, p, bad := allotment.Newest(all)
	for _, b := range bad {
		warnings = append(warnings, b.Error())
	}
	for _, c := range all {
		next = max(next, c.Number)
	}
	return p, next + 1, warnings, nil
}

// tries is how often a change is tried anew when somebody else wrote in between.
const tries = 8

// settle changes the plan: f may be called several times. It waits until the leader's plugin has read it; what it could not
// see is in warnings.
func (e *Engine) settle(ctx context.Context, by, action, object string, dry bool, f func(*allotment.Plan) error) (warnings []string, err error) {
	if e.options.Settled == nil {
		return nil, refusal(Invalid, "%s %s: this manager keeps no named pools and reservations", action, object)
	}
	for range tries {
		p, next, bad, err := e.settled(ctx)
		if err != nil {
			return nil, err
		}
		if err := f(&p); err != nil {
			return nil, err
		}
		text, err := p.Text()
		if err != nil {
			return nil, unsettled(action+" "+object, err)
		}
		if dry {
			return bad, nil
		}
		switch err = e.options.Settled.Settle(ctx, next, text); {
		case errors.Is(err, cluster.ErrConflict):
			continue
		case err != nil:
			return nil, fmt.Errorf("%s %s: %w", action, object, err)
		}
		err = e.update(func(tx store.Tx) error {
			return e.entry(tx, by, action, object, "config %s", allotment.ConfigName(next))
		})
		return e.awaitSettled(ctx, next), err
	}
	return nil, refusal(Stale, "%s %s: somebody else changed pools or reservations at the same time, %d times: try again", action, object, tries)
}

// unsettled turns a plan that contradicts itself into a refusal with all of its problems.
func unsettled(what string, err error) error {
	var p *allotment.Problems
	if !errors.As(err, &p) {
		return fmt.Errorf("%s: %w", what, err)
	}
	r := refusal(Invalid, "%s: %v", what, err)
	for _, one := range p.List {
		r.Problems = append(r.Problems, project.Problem(one))
	}
	return r
}

// readWithin is how long a change is waited for; the plugins read it within a minute all the same.
const readWithin = 10 * time.Second

// awaitSettled has the managers' plugins read a newer plan, and waits until the leader's has.
func (e *Engine) awaitSettled(ctx context.Context, number uint64) (warnings []string) {
	if e.options.Ledger == nil {
		return []string{"no agent reports to this manager: the IPAM plugins read it within a minute"}
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	nodes, err := e.options.Cluster.Nodes(ctx)
	if err != nil {
		return []string{"the IPAM plugins read it within a minute: " + err.Error()}
	}
	for _, n := range nodes {
		if n.ManagerStatus == nil {
			continue
		}
		if err := e.options.Ledger.ReadSettled(ctx, n.ID); err != nil {
			warnings = append(warnings, fmt.Sprintf("the IPAM plugin of %s reads it within a minute: %v", n.Description.Hostname, err))
		}
	}
	for {
		got, err := e.ledger(ctx, false, netip.Addr{})
		if err == nil && got.Settled.Number >= number {
			return warnings
		}
		select {
		case <-ctx.Done():
			return append(warnings, fmt.Sprintf("the leader's IPAM plugin has not read %s within %s", allotment.ConfigName(number), readWithin))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// errNoLedger says why nobody knows what the plugin does.
var errNoLedger = errors.New("no agent reports to this manager, and only the leader's IPAM plugin knows")

// ledger asks the leader's IPAM plugin.
func (e *Engine) ledger(ctx context.Context, leases bool, one netip.Addr) (wire.Addresses, error) {
	if e.options.Ledger == nil {
		return wire.Addresses{}, errNoLedger
	}
	leader, err := e.leader(ctx)
	if err != nil {
		return wire.Addresses{}, err
	}
	return e.options.Ledger.Addresses(ctx, leader, leases, one)
}

func (e *Engine) leader(ctx context.Context) (string, error) {
	nodes, err := e.options.Cluster.Nodes(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range nodes {
		if n.ManagerStatus != nil && n.ManagerStatus.Leader {
			return n.ID, nil
		}
	}
	return "", errors.New("the Swarm has no leader at the moment")
}

// Pools lists named pools. Warnings say what could not be asked, and what is wrong.
func (e *Engine) Pools(ctx context.Context) ([]Pool, []string, error) {
	p, _, warnings, err := e.settled(ctx)
	if err != nil {
		return nil, nil, err
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return nil, nil, err
	}
	known, err := e.ledger(ctx, false, netip.Addr{})
	if err != nil {
		warnings = append(warnings, "how full they are: "+err.Error())
	}
	views := []Pool{}
	for _, one := range p.Pools {
		v := Pool{Name: one.Name, Prefix: one.Prefix, Block: one.Block, Quota: one.Quota, Why: one.Why, Networks: networksOf(observed, one.Prefix)}
		for _, w := range known.Prefixes {
			if w.Subnet == one.Prefix {
				v.Usage = usageOf(w.Size, w.Used, w.Resting, w.Reserved, w.Given)
			}
		}
		if v.Usage != nil && v.Usage.Full > warnAbove {
			v.Warnings = append(v.Warnings, fmt.Sprintf("it is %d %% full: plan another one", v.Usage.Full))
		}
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	return views, warnings, nil
}

func networksOf(o plan.Observed, prefix netip.Prefix) []string {
	names := []string{}
	for _, t := range taken(o) {
		if t.Subnet == prefix {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names
}

// taken are the Swarm's networks and their subnets.
func taken(o plan.Observed) []network.Taken {
	var all []network.Taken
	for _, n := range o.Networks {
		t := network.Taken{Name: n.Spec.Name}
		if i := n.Spec.IPAMOptions; i != nil {
			t.Ours = i.Driver.Name == contract.PluginIPAM
			for _, c := range i.Configs {
				t.Subnet = c.Subnet
			}
		}
		all = append(all, t)
	}
	return all
}

// CreatePool gives a prefix a name.
func (e *Engine) CreatePool(ctx context.Context, o NewPool) (Pool, []string, error) {
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return Pool{}, nil, err
	}
	warnings, err := e.settle(ctx, o.By, "pool create", o.Name, false, func(p *allotment.Plan) error {
		if _, err := p.Named(o.Name); err == nil {
			return refusal(Exists, "pool %s: there is one of that name", o.Name)
		}
		var problems []project.Problem
		if o.Prefix.IsValid() {
			for _, text := range network.Clashes(o.Prefix, *p, taken(observed)) {
				problems = append(problems, project.Problem{Path: "prefix", Text: text})
			}
		}
		if _, err := (allotment.Plan{Pools: []allotment.Pool{o.Pool}}).Text(); err != nil {
			problems = append(problems, alone(err, "pools[0].")...)
		}
		if len(problems) > 0 {
			return problematic("pool "+o.Name, problems)
		}
		p.Pools = append(p.Pools, o.Pool)
		return nil
	})
	return Pool{Name: o.Name, Prefix: o.Prefix, Block: o.Block, Quota: o.Quota, Why: o.Why, Networks: networksOf(observed, o.Prefix)}, warnings, err
}

// alone are the problems of one thing, by the names that its asker used.
func alone(err error, prefix string) []project.Problem {
	var p *allotment.Problems
	if !errors.As(err, &p) {
		return []project.Problem{{Text: err.Error()}}
	}
	var all []project.Problem
	for _, one := range p.List {
		all = append(all, project.Problem{Path: strings.TrimPrefix(one.Path, prefix), Text: one.Text})
	}
	return all
}

// problematic refuses what has problems: nothing changed.
func problematic(what string, problems []project.Problem) error {
	lines := []string{fmt.Sprintf("%s: %d problems, nothing changed", what, len(problems))}
	if len(problems) == 1 {
		lines[0] = what + ": nothing changed"
	}
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	err := refusal(Invalid, "%s", strings.Join(lines, "\n  "))
	err.Problems = problems
	return err
}

// RemovePool takes a name away. Networks keep what they have, so none may draw from it.
func (e *Engine) RemovePool(ctx context.Context, name, by string) ([]string, error) {
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return nil, err
	}
	return e.settle(ctx, by, "pool remove", name, false, func(p *allotment.Plan) error {
		one, err := p.Named(name)
		if err != nil {
			return &Error{Code: NotFound, err: err}
		}
		if users := networksOf(observed, one.Prefix); len(users) > 0 {
			return refusal(InUse, "pool %s: networks %s draw from it: remove them first", name, strings.Join(users, ", "))
		}
		p.Pools = slices.DeleteFunc(p.Pools, func(o allotment.Pool) bool { return o.Name == name })
		return nil
	})
}
