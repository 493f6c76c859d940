package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/spec"
)

// Diff compares and plans. A plan carried out and planned again is empty. A Desired with project and environment alone
// plans the end of all that Rolling made there.
func Diff(d spec.Desired, o Observed) (Plan, error) {
	f := &differ{
		desired: d, services: byName(o.Services, serviceName), networks: byName(o.Networks, networkName),
		configs: byName(o.Configs, configName), secrets: byName(o.Secrets, secretName), names: map[string]string{},
		plan: Plan{Project: d.Project, Environment: d.Environment, Release: d.Release},
	}
	for _, n := range o.Networks {
		f.names[n.ID] = n.Spec.Name
	}
	for _, n := range d.Notes {
		f.plan.Notes = append(f.plan.Notes, Note{"service " + n.Service, n.Text})
	}
	f.external()
	f.planNetworks()
	f.planConfigs()
	f.planSecrets()
	if err := f.planServices(); err != nil {
		return Plan{}, err
	}
	f.removals()
	return f.plan, nil
}

type differ struct {
	desired  spec.Desired
	services map[string]swarm.Service
	networks map[string]Network
	configs  map[string]swarm.Config
	secrets  map[string]swarm.Secret
	names    map[string]string // a network's name by its id
	plan     Plan
}

func serviceName(s swarm.Service) string { return s.Spec.Name }
func networkName(n Network) string       { return n.Spec.Name }
func configName(c swarm.Config) string   { return c.Spec.Name }
func secretName(s swarm.Secret) string   { return s.Spec.Name }

func byName[T any](list []T, name func(T) string) map[string]T {
	m := make(map[string]T, len(list))
	for _, item := range list {
		m[name(item)] = item
	}
	return m
}

// owned says that Rolling made the object for this environment. Project and environment alone do not: people write those
// two into their own stack files. The fingerprint only the manager sets.
func (f *differ) owned(labels map[string]string) bool {
	return labels[contract.Project] == string(f.desired.Project) &&
		labels[contract.Environment] == string(f.desired.Environment) && labels[contract.Spec] != ""
}

func (f *differ) add(s Step) { f.plan.Steps = append(f.plan.Steps, s) }

func (f *differ) block(object, format string, args ...any) {
	f.plan.Blocked = append(f.plan.Blocked, Block{object, fmt.Sprintf(format, args...)})
}

// taken blocks a name that somebody else's object has.
func (f *differ) taken(object string, labels map[string]string) {
	whose := "nobody's that Rolling knows"
	if p := labels[contract.Project]; p != "" {
		whose = "project " + p + "'s, environment " + labels[contract.Environment]
		if labels[contract.Spec] == "" {
			whose += ", written by hand"
		}
	} else if stack := labels[spec.StackNamespace]; stack != "" {
		whose = "stack " + stack + "'s"
	}
	f.block(object, "this name is taken, the object is %s: remove it, or rename the project or environment", whose)
}

const wanted = "the project has it and Swarm has not"

// external looks for what somebody else should have made.
func (f *differ) external() {
	missing := func(kind string, want []string, has func(string) bool) {
		for _, name := range want {
			if !has(name) {
				f.block(kind+" "+name, "the project calls it external, and Swarm has none of that name: make it first")
			}
		}
	}
	missing("network", f.desired.External.Networks, func(name string) bool { _, ok := f.networks[name]; return ok })
	missing("config", f.desired.External.Configs, func(name string) bool { _, ok := f.configs[name]; return ok })
	missing("secret", f.desired.External.Secrets, func(name string) bool { _, ok := f.secrets[name]; return ok })
}

func (f *differ) planNetworks() {
	for _, want := range f.desired.Networks {
		object := "network " + want.Name
		has, ok := f.networks[want.Name]
		if !ok {
			f.add(CreateNetwork{want, wanted})
			continue
		}
		if !f.owned(has.Spec.Labels) {
			f.taken(object, has.Spec.Labels)
			continue
		}
		if d := has.Spec.DriverConfiguration; d == nil || d.Name == "" {
			f.block(object, "its drivers have not taken it: the log of the leader's engine says why; remove it, or wait if it was made just now")
			continue
		}
		if changes := networkChanges(want, has.Spec); len(changes) > 0 {
			var texts []string
			for _, c := range changes {
				texts = append(texts, c.String())
			}
			f.block(object, "Swarm cannot change a network (%s): give it another name in the project file; the new one is made, the services move, the old one goes",
				strings.Join(texts, "; "))
		}
	}
}

// networkChanges compares what the project says. Swarm and drivers add settings of their own; of those only rolling.*
// ones that the project has dropped count.
func networkChanges(want, has swarm.NetworkSpec) []Change {
	to, from := spec.NetworkFields(want), spec.NetworkFields(has)
	var changes []Change
	for field, v := range to {
		if from[field] != v {
			changes = append(changes, Change{field, from[field], v})
		}
	}
	for field, v := range from {
		_, said := to[field]
		if !said && (strings.HasPrefix(field, "driver_opts."+contract.Prefix) || strings.HasPrefix(field, "ipam.options."+contract.Prefix)) {
			changes = append(changes, Change{field, v, ""})
		}
	}
	sortChanges(changes)
	return changes
}

// planConfigs and planSecrets need no comparison: the names say what the objects hold.
func (f *differ) planConfigs() {
	for _, want := range f.desired.Configs {
		switch has, ok := f.configs[want.Name]; {
		case !ok:
			f.add(CreateConfig{want, wanted})
		case !f.owned(has.Spec.Labels):
			f.taken("config "+want.Name, has.Spec.Labels)
		}
	}
}

func (f *differ) planSecrets() {
	for _, want := range f.desired.Secrets {
		switch has, ok := f.secrets[want.Name]; {
		case !ok:
			f.add(CreateSecret{want, wanted})
		case !f.owned(has.Spec.Labels):
			f.taken("secret "+want.Name, has.Spec.Labels)
		}
	}
}

func (f *differ) planServices() error {
	for _, want := range f.desired.Services {
		has, ok := f.services[want.Name]
		if ok && !f.owned(has.Spec.Labels) {
			f.taken("service "+want.Name, has.Spec.Labels)
			continue
		}
		if ok {
			if err := f.update(want, has); err != nil {
				return fmt.Errorf("plan service %s: %w", want.Name, err)
			}
			continue
		}
		sealed, err := spec.Seal(want)
		if err != nil {
			return fmt.Errorf("plan service %s: %w", want.Name, err)
		}
		f.add(CreateService{sealed, wanted})
	}
	return nil
}

func (f *differ) update(want swarm.ServiceSpec, has swarm.Service) error {
	to, err := spec.Fields(want, identity)
	if err != nil {
		return err
	}
	from, err := spec.Fields(has.Spec, f.shown)
	if err != nil {
		return err
	}
	changes := compare(from, to)
	if len(changes) == 0 {
		return nil
	}
	if (want.Mode.Global == nil) != (has.Spec.Mode.Global == nil) {
		f.block("service "+want.Name, "Swarm cannot change a service between replicated and global: give it another name in the project file, or remove it first")
		return nil
	}
	u := UpdateService{ID: has.ID, Version: has.Version, Before: has.Spec, Changes: changes}
	u.Restarts = slices.ContainsFunc(changes, func(c Change) bool { return spec.Restarts(c.Field) })
	u.ByHand = spec.ByHand(from, has.Spec.Labels[contract.Spec])
	next, err := spec.Next(want, has.Spec, u.Restarts)
	if err != nil {
		return err
	}
	if u.Spec, err = spec.Seal(next); err != nil {
		return err
	}
	// What Rolling last wrote is what it wants now: then every difference came from somebody else.
	onlyByHand := u.ByHand && has.Spec.Labels[contract.Spec] == u.Spec.Labels[contract.Spec]
	u.Why = why(u, onlyByHand)
	f.add(u)
	return nil
}

func why(u UpdateService, onlyByHand bool) string {
	cause := fmt.Sprintf("%d settings differ", len(u.Changes))
	if len(u.Changes) == 1 {
		cause = "1 setting differs"
	}
	switch {
	case onlyByHand:
		cause = "changed by hand since Rolling wrote it; this takes it back"
	case u.ByHand:
		cause += ", and it was changed by hand since Rolling wrote it"
	}
	if !u.Restarts {
		return cause + "; no task restarts"
	}
	if u.Before.Mode.Global != nil {
		return cause + "; every task restarts"
	}
	return cause + "; restarts " + count(u.Before.Mode)
}

func compare(from, to map[string]string) []Change {
	var changes []Change
	for field, v := range to {
		if old, ok := from[field]; !ok || old != v {
			changes = append(changes, Change{field, old, v})
		}
	}
	for field, old := range from {
		if _, ok := to[field]; !ok {
			changes = append(changes, Change{field, old, ""})
		}
	}
	sortChanges(changes)
	return changes
}

func identity(name string) string { return name }

// shown gives the name of a network by its id; Swarm shows ids where names were written.
func (f *differ) shown(id string) string {
	if name, ok := f.names[id]; ok {
		return name
	}
	return id
}

const unwanted = "the project has it no longer"

// removals end what Rolling made and the project has no more: services first, since they hold the rest.
func (f *differ) removals() {
	for _, s := range excess(f.services, f.desired.Services, func(s swarm.ServiceSpec) string { return s.Name }) {
		if f.owned(s.Spec.Labels) {
			f.add(RemoveService{s.ID, s.Spec.Name, unwanted})
		}
	}
	for _, n := range excess(f.networks, f.desired.Networks, func(n swarm.NetworkSpec) string { return n.Name }) {
		if f.owned(n.Spec.Labels) {
			f.add(RemoveNetwork{n.ID, n.Spec.Name, unwanted})
		}
	}
	for _, c := range excess(f.configs, f.desired.Configs, func(c swarm.ConfigSpec) string { return c.Name }) {
		if f.owned(c.Spec.Labels) {
			f.add(RemoveConfig{c.ID, c.Spec.Name, unwanted})
		}
	}
	for _, s := range excess(f.secrets, f.desired.Secrets, func(s swarm.SecretSpec) string { return s.Name }) {
		if f.owned(s.Spec.Labels) {
			f.add(RemoveSecret{s.ID, s.Spec.Name, unwanted})
		}
	}
}

// excess gives by name what there is and nobody wants.
func excess[Has, Want any](has map[string]Has, want []Want, name func(Want) string) []Has {
	var out []Has
	for _, n := range slices.Sorted(maps.Keys(has)) {
		if !slices.ContainsFunc(want, func(w Want) bool { return name(w) == n }) {
			out = append(out, has[n])
		}
	}
	return out
}
