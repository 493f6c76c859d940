package spec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
)

// What Swarm does when a spec does not say (swarmkit's api/defaults).
const (
	DefaultMonitor      = 5 * time.Second
	defaultRestartDelay = 5 * time.Second
)

// clone is a deep copy; every Swarm value survives the way through its own wire format.
func clone(s swarm.ServiceSpec) (swarm.ServiceSpec, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return s, fmt.Errorf("copy service %s: %w", s.Name, err)
	}
	var out swarm.ServiceSpec
	if err := json.Unmarshal(b, &out); err != nil {
		return s, fmt.Errorf("copy service %s: %w", s.Name, err)
	}
	return out, nil
}

// normal gives a spec in which everything that Swarm would fill in is filled in, and what it adds of its own is gone:
// a spec that was written and the one that Swarm shows afterwards become the same. networkName turns an id into a name.
func normal(s swarm.ServiceSpec, networkName func(string) string) (swarm.ServiceSpec, error) {
	s, err := clone(s)
	if err != nil {
		return s, err
	}
	normalTask(&s.TaskTemplate, networkName)
	if s.Mode.Global == nil && s.Mode.ReplicatedJob == nil && s.Mode.GlobalJob == nil {
		n := uint64(1)
		if s.Mode.Replicated == nil {
			s.Mode.Replicated = &swarm.ReplicatedService{}
		}
		if s.Mode.Replicated.Replicas == nil {
			s.Mode.Replicated.Replicas = &n
		}
	}
	s.UpdateConfig = normalUpdate(s.UpdateConfig)
	s.RollbackConfig = normalUpdate(s.RollbackConfig)
	if s.EndpointSpec == nil {
		s.EndpointSpec = &swarm.EndpointSpec{}
	}
	if s.EndpointSpec.Mode == "" {
		s.EndpointSpec.Mode = swarm.ResolutionModeVIP
	}
	for i := range s.EndpointSpec.Ports {
		p := &s.EndpointSpec.Ports[i]
		if p.Protocol == "" {
			p.Protocol = "tcp"
		}
		if p.PublishMode == "" {
			p.PublishMode = swarm.PortConfigPublishModeIngress
		}
	}
	return s, nil
}

func normalTask(t *swarm.TaskSpec, networkName func(string) string) {
	t.Runtime = orRuntime(t.Runtime)
	if t.Placement != nil {
		t.Placement.Platforms = nil // put in by a client that asked the registry
	}
	if t.RestartPolicy == nil {
		t.RestartPolicy = &swarm.RestartPolicy{}
	}
	if t.RestartPolicy.Condition == "" {
		t.RestartPolicy.Condition = swarm.RestartPolicyConditionAny
	}
	if t.RestartPolicy.Delay == nil {
		d := defaultRestartDelay
		t.RestartPolicy.Delay = &d
	}
	for i := range t.Networks {
		t.Networks[i].Target = networkName(t.Networks[i].Target)
	}
	if t.ContainerSpec != nil {
		normalContainer(t.ContainerSpec)
	}
}

func orRuntime(r swarm.RuntimeType) swarm.RuntimeType {
	if r == "" {
		return swarm.RuntimeContainer
	}
	return r
}

func normalContainer(c *swarm.ContainerSpec) {
	c.Image = familiar(c.Image)
	if c.Isolation == container.IsolationDefault {
		c.Isolation = ""
	}
	if c.StopGracePeriod == nil {
		d := project.DefaultGrace
		c.StopGracePeriod = &d
	}
	for i := range c.Mounts {
		m := &c.Mounts[i]
		m.Consistency = "" // Swarm has no such thing
		if m.BindOptions != nil && m.BindOptions.Propagation == mount.PropagationRPrivate {
			m.BindOptions.Propagation = ""
		}
	}
	for _, r := range c.Configs {
		r.ConfigID = ""
	}
	for _, r := range c.Secrets {
		r.SecretID = ""
	}
}

// familiar is how Docker's client writes the name of an image before it sends it.
func familiar(image string) string {
	short, hub := strings.CutPrefix(image, "docker.io/")
	if hub {
		return strings.TrimPrefix(short, "library/")
	}
	return image
}

func normalUpdate(u *swarm.UpdateConfig) *swarm.UpdateConfig {
	if u == nil {
		u = &swarm.UpdateConfig{Parallelism: 1}
	}
	if u.FailureAction == "" {
		u.FailureAction = swarm.UpdateFailureActionPause
	}
	if u.Monitor == 0 {
		u.Monitor = DefaultMonitor
	}
	if u.Order == "" {
		u.Order = swarm.UpdateOrderStopFirst
	}
	return u
}

// volatile are the labels that say who wrote last. They are rewritten with every write and compared never: otherwise a
// release that changes one service would touch them all.
func volatile() []string {
	return []string{contract.Release, contract.Commit, contract.Rollout, contract.Spec}
}

// Mark is what tells tasks of one version of a template from those of another.
type Mark struct {
	Release     string // the container label rolling.release
	ForceUpdate uint64
}

// MarkOf reads the mark of a template, of a service or of a task.
func MarkOf(t swarm.TaskSpec) Mark {
	m := Mark{ForceUpdate: t.ForceUpdate}
	if t.ContainerSpec != nil {
		m.Release = t.ContainerSpec.Labels[contract.Release]
	}
	return m
}

// Next gives the spec to write over an observed one: want, with the observed mark where the template stays as it is, so
// that nothing restarts, and a mark of its own where it changes, so that new tasks can be told from old ones.
func Next(want, observed swarm.ServiceSpec, restarts bool) (swarm.ServiceSpec, error) {
	next, err := clone(want)
	if err != nil {
		return next, err
	}
	old, c := MarkOf(observed.TaskTemplate), next.TaskTemplate.ContainerSpec
	next.TaskTemplate.ForceUpdate = old.ForceUpdate
	if c == nil {
		return next, nil
	}
	switch {
	case !restarts && old.Release == "":
		delete(c.Labels, contract.Release)
	case !restarts:
		c.Labels[contract.Release] = old.Release
	case c.Labels[contract.Release] == old.Release:
		next.TaskTemplate.ForceUpdate++
	}
	return next, nil
}

// Seal gives the spec with its own fingerprint as the label rolling.spec. Whoever writes a service seals it last.
func Seal(s swarm.ServiceSpec) (swarm.ServiceSpec, error) {
	sealed, err := clone(s)
	if err != nil {
		return s, err
	}
	fields, err := Fields(sealed, func(name string) string { return name })
	if err != nil {
		return s, err
	}
	if sealed.Labels == nil {
		sealed.Labels = map[string]string{}
	}
	sealed.Labels[contract.Spec] = Fingerprint(fields)
	return sealed, nil
}

func isVolatile(label string) bool { return slices.Contains(volatile(), label) }
