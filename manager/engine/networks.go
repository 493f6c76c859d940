package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/network"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Network is one of Rolling's networks as people see it.
type Network struct {
	ID          string         `json:"id,omitempty"`
	Name        string         `json:"name"`
	Driver      string         `json:"driver"`
	Mode        string         `json:"mode,omitempty"`
	Project     string         `json:"project,omitempty"`
	Environment string         `json:"environment,omitempty"`
	Pool        string         `json:"pool,omitempty"`
	Subnet      netip.Prefix   `json:"subnet,omitzero"`
	Range       string         `json:"range,omitempty"`
	Block       int            `json:"block,omitempty"`
	Blocks      []netip.Prefix `json:"blocks,omitempty"` // that it holds now
	Quota       int            `json:"quota,omitempty"`
	Quarantine  string         `json:"quarantine,omitempty"`
	Gateway     netip.Addr     `json:"gateway,omitzero"`
	IPv6        string         `json:"ipv6,omitempty"`
	Attachable  bool           `json:"attachable,omitempty"`
	Internal    bool           `json:"internal,omitempty"`
	Services    []string       `json:"services,omitempty"`   // that use it
	Tasks       int            `json:"tasks"`                // and containers of docker run that have an address of it
	SharedWith  []string       `json:"sharedWith,omitempty"` // networks that draw from the very same addresses, since their options are equal
	Usage       *Usage         `json:"usage,omitempty"`      // absent: the leader's IPAM plugin was not reached
	Warnings    []string       `json:"warnings,omitempty"`
}

// NewNetwork asks for a network.
type NewNetwork struct {
	network.Wish
	By     string
	DryRun bool // only say what is wrong, and what would be made
}

// NetworksOf narrows a list.
type NetworksOf struct {
	Project     project.Name
	Environment project.EnvironmentName
}

// Networks lists by name those whose addresses Rolling gives. Warnings say what could not be asked.
func (e *Engine) Networks(ctx context.Context, o NetworksOf) ([]Network, []string, error) {
	if o.Environment != "" && o.Project == "" {
		return nil, nil, refusal(Invalid, "networks of environment %s: name its project too", o.Environment)
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return nil, nil, err
	}
	tasks, err := e.options.Cluster.Tasks(ctx)
	if err != nil {
		return nil, nil, err
	}
	var warnings []string
	known, err := e.ledger(ctx, false, netip.Addr{})
	if err != nil {
		warnings = append(warnings, "how full they are: "+err.Error())
	} else {
		warnings = append(warnings, known.Settled.Problems...)
	}
	views := []Network{}
	for _, n := range observed.Networks {
		if v := viewOfNetwork(n); ours(n.Spec) && (o.Project == "" || v.Project == string(o.Project)) && (o.Environment == "" || v.Environment == string(o.Environment)) {
			v.use(observed, tasks)
			v.fill(known)
			views = append(views, v)
		}
	}
	slices.SortFunc(views, func(a, b Network) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID)) })
	return views, warnings, nil
}

func ours(n swarm.NetworkSpec) bool {
	return n.IPAMOptions != nil && n.IPAMOptions.Driver.Name == contract.PluginIPAM || n.DriverConfiguration != nil && n.DriverConfiguration.Name == contract.PluginNet
}

func viewOfNetwork(n plan.Network) Network {
	v := Network{ID: n.ID, Name: n.Spec.Name, Attachable: n.Spec.Attachable, Internal: n.Spec.Internal}
	option := func(key string) string { return "" }
	if d := n.Spec.DriverConfiguration; d != nil {
		v.Driver = d.Name
		option = func(key string) string { return d.Options[key] }
	}
	v.Mode, v.IPv6, v.Project, v.Environment = option(contract.Mode), option(contract.IPv6), option(contract.Project), option(contract.Environment)
	if v.Mode == "" && v.Driver == contract.PluginNet {
		v.Mode = "routed"
	}
	i := n.Spec.IPAMOptions
	if i == nil {
		return v
	}
	v.Pool, v.Range, v.Quarantine = i.Driver.Options[contract.Pool], i.Driver.Options[contract.Range], i.Driver.Options[contract.Quarantine]
	v.Block, _ = strconv.Atoi(i.Driver.Options[contract.Block]) // the plugin took it
	v.Quota, _ = strconv.Atoi(i.Driver.Options[contract.Quota])
	v.Project, v.Environment = cmp.Or(v.Project, i.Driver.Options[contract.Project]), cmp.Or(v.Environment, i.Driver.Options[contract.Environment])
	for _, c := range i.Configs {
		v.Subnet, v.Gateway = c.Subnet, c.Gateway
		if c.Range.IsValid() && c.Range != c.Subnet {
			v.Range = c.Range.String()
		}
	}
	return v
}

// use says who uses it.
func (v *Network) use(o plan.Observed, tasks []swarm.Task) {
	for _, s := range o.Services {
		if slices.ContainsFunc(s.Spec.TaskTemplate.Networks, func(a swarm.NetworkAttachmentConfig) bool { return a.Target == v.ID || a.Target == v.Name }) {
			v.Services = append(v.Services, s.Spec.Name)
		}
	}
	slices.Sort(v.Services)
	for _, t := range tasks {
		if alive(t) && slices.ContainsFunc(t.NetworksAttachments, func(a swarm.NetworkAttachment) bool { return a.Network.ID == v.ID }) {
			v.Tasks++
		}
	}
}

// fill adds what the leader's plugin knows.
func (v *Network) fill(known wire.Addresses) {
	whole := &Usage{}
	for _, w := range known.Prefixes {
		if w.Subnet != v.Subnet {
			continue
		}
		whole = usageOf(w.Size, w.Used, w.Resting, w.Reserved, w.Given)
		if u := whole; u.Full > warnAbove {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%d %% of %s are used, rest, are reserved or given to networks: plan another pool", u.Full, w.Subnet))
		}
	}
	for _, s := range known.Shares {
		if !slices.Contains(s.Called, v.Name) || s.Subnet != v.Subnet {
			continue
		}
		v.Usage = usageOf(s.Size, s.Used, s.Resting, s.Reserved, 0)
		if s.Quota > 0 {
			v.Usage.Full = max(v.Usage.Full, 100*s.Leased/s.Quota)
		}
		if s.Block > 0 { // it takes one more block when these are full, as far as its quota reaches and the pool has some
			v.Usage.Full, v.Usage.Size, v.Usage.Free = 0, whole.Size, whole.Free
			if s.Quota > 0 {
				v.Usage.Full, v.Usage.Size, v.Usage.Free = 100*s.Leased/s.Quota, s.Quota, min(whole.Free, max(0, s.Quota-s.Leased))
			}
		}
		v.Block, v.Quota, v.Blocks = s.Block, s.Quota, s.Blocks
		v.SharedWith = slices.DeleteFunc(slices.Clone(s.Called), func(name string) bool { return name == v.Name })
		if v.Usage.Full > warnAbove {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%d %% of its addresses are used, rest or are reserved: plan a wider one", v.Usage.Full))
		}
		if s.Lost > 0 {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%d addresses wait for a lost node: see rolling address free", s.Lost))
		}
	}
}

// Network gives one, by name or id.
func (e *Engine) Network(ctx context.Context, name string) (Network, []string, error) {
	all, warnings, err := e.Networks(ctx, NetworksOf{})
	if err != nil {
		return Network{}, nil, err
	}
	var names []string
	for _, v := range all {
		if v.Name == name || v.ID == name {
			return v, warnings, nil
		}
		names = append(names, v.Name)
	}
	text := fmt.Sprintf("network %s: none of Rolling's has that name", name)
	if near := contract.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return Network{}, nil, refusal(NotFound, "%s", text)
}

// CreateNetwork makes one, and waits until the leader has made it: Swarm itself answers before its drivers were asked.
func (e *Engine) CreateNetwork(ctx context.Context, o NewNetwork) (Network, []string, error) {
	p, _, warnings, err := e.settled(ctx)
	if err != nil {
		return Network{}, nil, err
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return Network{}, nil, err
	}
	spec, problems := network.Draw(o.Wish, p, taken(observed))
	if len(problems) > 0 {
		return Network{}, nil, problematic("network "+o.Name, problems)
	}
	if o.DryRun {
		return viewOfNetwork(plan.Network{Spec: spec}), warnings, nil
	}
	done, err := e.makeNetwork(ctx, plan.CreateNetwork{Spec: spec})
	var no *refused
	switch {
	case errors.Is(err, cluster.ErrConflict):
		return Network{}, nil, refusal(Exists, "network %s: somebody else made one of that name meanwhile", o.Name)
	case errors.As(err, &no):
		return Network{}, nil, refusal(Invalid, "network %s: %w; nothing is left of it", o.Name, no)
	case errors.Is(err, cluster.ErrRefused):
		return Network{}, nil, refusal(Invalid, "network %s: %w; nothing is left of it", o.Name, err)
	case err != nil:
		return Network{}, nil, fmt.Errorf("network %s: %w", o.Name, err)
	}
	err = e.update(func(tx store.Tx) error {
		return e.entry(tx, o.By, "network create", o.Name, "subnet %s", spec.IPAMOptions.Configs[0].Subnet)
	})
	if err != nil {
		return Network{}, nil, err
	}
	v, more, err := e.Network(ctx, o.Name)
	return v, append(append(warnings, done.Warnings...), more...), err
}

// RemoveNetwork takes away one that nobody uses.
func (e *Engine) RemoveNetwork(ctx context.Context, name, by string) ([]string, error) {
	v, _, err := e.Network(ctx, name)
	if err != nil {
		return nil, err
	}
	users := v.Services
	if len(users) > 0 {
		return nil, refusal(InUse, "network %s: services %s use it: remove them first", v.Name, strings.Join(users, ", "))
	}
	if users, err = e.attached(ctx, v.Name); err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return nil, refusal(InUse, "network %s: containers of docker run use it (%s): remove them first", v.Name, strings.Join(users, ", "))
	}
	done, err := e.options.Cluster.Apply(ctx, plan.RemoveNetwork{ID: v.ID, Name: v.Name, Why: "asked for"})
	switch {
	case errors.Is(err, cluster.ErrRefused):
		return nil, refusal(InUse, "%w", err)
	case err != nil:
		return nil, err
	}
	return done.Warnings, e.update(func(tx store.Tx) error { return e.entry(tx, by, "network remove", v.Name, "subnet %s", v.Subnet) })
}

// attached names the containers of docker run on a network, at most a handful of them.
func (e *Engine) attached(ctx context.Context, network string) ([]string, error) {
	all, err := e.Addresses(ctx, AddressesOf{})
	if err != nil {
		return nil, err
	}
	var users []string
	for _, a := range all {
		if a.Network == network && a.Service == "" {
			users = append(users, fmt.Sprintf("%s on node %s", a.Address, a.Node))
		}
	}
	if more := len(users) - 5; more > 0 {
		users = append(users[:5], fmt.Sprintf("%d more", more))
	}
	return users, nil
}

// clashes stands in the way of networks in a plan whose subnets overlap others.
func (e *Engine) clashes(ctx context.Context, steps []plan.Step, observed plan.Observed) ([]plan.Block, error) {
	var blocks []plan.Block
	for _, s := range steps {
		made, ok := s.(plan.CreateNetwork)
		if !ok || made.Spec.IPAMOptions == nil || !ours(made.Spec) {
			continue
		}
		p, _, _, err := e.settled(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range made.Spec.IPAMOptions.Configs {
			if !c.Subnet.IsValid() {
				continue
			}
			for _, text := range network.Clashes(c.Subnet, p, taken(observed)) {
				blocks = append(blocks, plan.Block{Object: s.Object(), Text: text})
			}
		}
		if name := made.Spec.IPAMOptions.Driver.Options[contract.Pool]; name != "" && len(made.Spec.IPAMOptions.Configs) == 0 {
			if _, err := p.Named(name); err != nil {
				blocks = append(blocks, plan.Block{Object: s.Object(), Text: err.Error()})
			}
		}
	}
	return blocks, nil
}
