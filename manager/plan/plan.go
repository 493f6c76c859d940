// Package plan says what must be done to bring Swarm from what is observed to what is desired: typed steps, each with its
// cause, and a text form that is preview, log and test at once.
// It knows no Docker client, no store and no clock, and it decides nothing about when a step runs. What Rolling did not
// make never appears in a step. Names stand where Swarm wants ids of networks, configs and secrets: who executes binds them.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// Observed is one snapshot of a Swarm: everything in it, whoever made it.
type Observed struct {
	Services []swarm.Service
	Networks []Network
	Configs  []swarm.Config
	Secrets  []swarm.Secret
}

// Network is a network as Swarm holds it.
type Network struct {
	ID   string
	Spec swarm.NetworkSpec
}

// NetworkOf turns what the engine answers about a network into the form in which it was asked for.
func NetworkOf(n network.Network) Network {
	spec := swarm.NetworkSpec{
		Annotations:         swarm.Annotations{Name: n.Name, Labels: n.Labels},
		DriverConfiguration: &swarm.Driver{Name: n.Driver, Options: n.Options},
		IPv6Enabled:         n.EnableIPv6,
		Internal:            n.Internal,
		Attachable:          n.Attachable,
		Ingress:             n.Ingress,
		IPAMOptions:         &swarm.IPAMOptions{Driver: swarm.Driver{Name: n.IPAM.Driver, Options: n.IPAM.Options}},
		Scope:               n.Scope,
	}
	for _, c := range n.IPAM.Config {
		spec.IPAMOptions.Configs = append(spec.IPAMOptions.Configs, swarm.IPAMConfig{Subnet: c.Subnet, Range: c.IPRange, Gateway: c.Gateway})
	}
	return Network{ID: n.ID, Spec: spec}
}

// Plan is what to do, in order: networks, configs, secrets, services, removals. Removals of configs and secrets are safe
// only after the services before them have been rolled out: a rollback still needs the old ones.
type Plan struct {
	Project     project.Name
	Environment project.EnvironmentName
	Release     release.ID

	Steps   []Step
	Blocked []Block // while there is one, nothing may be done
	Notes   []Note
}

// Block is something that stands in the way and that only a person can move.
type Block struct {
	Object string // as in Step.Object
	Text   string
}

// Note explains a decision; it changes nothing.
type Note struct {
	Object string
	Text   string
}

// Empty says that there is nothing to do and nothing in the way.
func (p Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Blocked) == 0 }

// ByHand lists the objects that somebody changed behind Rolling's back.
func (p Plan) ByHand() []string {
	var objects []string
	for _, s := range p.Steps {
		if u, ok := s.(UpdateService); ok && u.ByHand {
			objects = append(objects, u.Object())
		}
	}
	return objects
}

// String is the preview: a head line, then each step with its cause and changes.
func (p Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at release %s: ", project.Namespace(p.Project, p.Environment), p.Release)
	switch {
	case p.Empty():
		b.WriteString("nothing to do\n")
	case len(p.Steps) == 1:
		b.WriteString("1 step\n")
	default:
		fmt.Fprintf(&b, "%d steps\n", len(p.Steps))
	}
	for _, s := range p.Steps {
		b.WriteString(s.String() + "\n")
	}
	for _, block := range p.Blocked {
		fmt.Fprintf(&b, "! %s: %s\n", block.Object, block.Text)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "  %s: %s\n", n.Object, n.Text)
	}
	return b.String()
}

// Step is one write to Swarm. The types below are all there are.
type Step interface {
	Object() string // kind and name: "service orders-test_web"
	Cause() string  // why, for a person
	String() string // one line, more for changes
	step()
}

// Change is one setting that differs.
type Change struct {
	Field    string
	From, To string // "" means that it is not set
}

func (c Change) String() string {
	return fmt.Sprintf("%s: %s → %s", c.Field, orNothing(c.From), orNothing(c.To))
}

func orNothing(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// The steps.
type (
	// CreateNetwork makes a network; the engine's client wants it in other words.
	CreateNetwork struct {
		Spec swarm.NetworkSpec
		Why  string
	}
	// CreateConfig makes a config.
	CreateConfig struct {
		Spec swarm.ConfigSpec
		Why  string
	}
	// CreateSecret makes a secret.
	CreateSecret struct {
		Spec swarm.SecretSpec
		Why  string
	}
	// CreateService makes a service. Its networks, configs and secrets are named.
	CreateService struct {
		Spec swarm.ServiceSpec
		Why  string
	}
	// UpdateService writes a whole spec over the observed version; a stale version means observe and plan again.
	UpdateService struct {
		ID       string
		Version  swarm.Version
		Before   swarm.ServiceSpec // as observed: what a rollback writes
		Spec     swarm.ServiceSpec
		Changes  []Change
		Restarts bool // tasks are replaced
		ByHand   bool // it was not as Rolling left it
		Why      string
	}
	// RemoveService ends a service and its tasks.
	RemoveService struct {
		ID, Name string
		Why      string
	}
	// RemoveNetwork removes a network that no service joins any more.
	RemoveNetwork struct {
		ID, Name string
		Why      string
	}
	// RemoveConfig removes a config that no service uses any more.
	RemoveConfig struct {
		ID, Name string
		Why      string
	}
	// RemoveSecret removes a secret that no service uses any more.
	RemoveSecret struct {
		ID, Name string
		Why      string
	}
)

func (s CreateNetwork) Object() string { return "network " + s.Spec.Name }
func (s CreateConfig) Object() string  { return "config " + s.Spec.Name }
func (s CreateSecret) Object() string  { return "secret " + s.Spec.Name }
func (s CreateService) Object() string { return "service " + s.Spec.Name }
func (s UpdateService) Object() string { return "service " + s.Spec.Name }
func (s RemoveService) Object() string { return "service " + s.Name }
func (s RemoveNetwork) Object() string { return "network " + s.Name }
func (s RemoveConfig) Object() string  { return "config " + s.Name }
func (s RemoveSecret) Object() string  { return "secret " + s.Name }

func (s CreateNetwork) Cause() string { return s.Why }
func (s CreateConfig) Cause() string  { return s.Why }
func (s CreateSecret) Cause() string  { return s.Why }
func (s CreateService) Cause() string { return s.Why }
func (s UpdateService) Cause() string { return s.Why }
func (s RemoveService) Cause() string { return s.Why }
func (s RemoveNetwork) Cause() string { return s.Why }
func (s RemoveConfig) Cause() string  { return s.Why }
func (s RemoveSecret) Cause() string  { return s.Why }

func (CreateNetwork) step() {}
func (CreateConfig) step()  {}
func (CreateSecret) step()  {}
func (CreateService) step() {}
func (UpdateService) step() {}
func (RemoveService) step() {}
func (RemoveNetwork) step() {}
func (RemoveConfig) step()  {}
func (RemoveSecret) step()  {}

func (s CreateNetwork) String() string { return line("+", s) }
func (s CreateConfig) String() string  { return line("+", s) }
func (s CreateSecret) String() string  { return line("+", s) }
func (s RemoveService) String() string { return line("-", s) }
func (s RemoveNetwork) String() string { return line("-", s) }
func (s RemoveConfig) String() string  { return line("-", s) }
func (s RemoveSecret) String() string  { return line("-", s) }

func (s CreateService) String() string {
	image := ""
	if c := s.Spec.TaskTemplate.ContainerSpec; c != nil {
		image = c.Image
	}
	return line("+", s) + "\n    " + count(s.Spec.Mode) + " of " + image
}

func (s UpdateService) String() string {
	lines := []string{line("~", s)}
	for _, c := range s.Changes {
		lines = append(lines, "    "+c.String())
	}
	return strings.Join(lines, "\n")
}

func line(sign string, s Step) string { return sign + " " + s.Object() + ": " + s.Cause() }

func count(m swarm.ServiceMode) string {
	switch {
	case m.Global != nil:
		return "one task a node"
	case m.Replicated != nil && m.Replicated.Replicas != nil && *m.Replicated.Replicas != 1:
		return fmt.Sprintf("%d tasks", *m.Replicated.Replicas)
	}
	return "1 task"
}

// sortChanges puts what people look for first, and the rest by name.
func sortChanges(changes []Change) {
	rank := func(c Change) int {
		if i := slices.Index([]string{"image", "deploy.replicas"}, c.Field); i >= 0 {
			return i
		}
		return 2
	}
	slices.SortFunc(changes, func(a, b Change) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Field, b.Field)
	})
}
