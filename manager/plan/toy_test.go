package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/spec"
)

// toy is a Swarm that holds objects and does to them what the real one does: it gives ids and versions, turns names of
// networks, configs and secrets into ids, fills in defaults, and refuses what refers to nothing or is still in use.
type toy struct {
	Observed
	index uint64
}

func (s *toy) next() uint64 { s.index++; return s.index }

func (s *toy) apply(p Plan) error {
	for _, step := range p.Steps {
		if err := s.do(step); err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	return nil
}

func (s *toy) do(step Step) error {
	switch step := step.(type) {
	case CreateNetwork:
		return s.createNetwork(step.Spec)
	case CreateConfig:
		s.Configs = append(s.Configs, swarm.Config{ID: fmt.Sprintf("c%d", s.next()), Spec: step.Spec})
	case CreateSecret:
		step.Spec.Data = nil // never shown again
		s.Secrets = append(s.Secrets, swarm.Secret{ID: fmt.Sprintf("s%d", s.next()), Spec: step.Spec})
	case CreateService:
		if s.has(step.Spec.Name) {
			return fmt.Errorf("name conflicts with an existing object")
		}
		bound, err := s.bind(step.Spec)
		if err != nil {
			return err
		}
		service := swarm.Service{ID: fmt.Sprintf("v%d", s.next()), Spec: bound}
		service.Version.Index = s.next()
		s.Services = append(s.Services, service)
	case UpdateService:
		return s.update(step)
	case RemoveService:
		s.Services = slices.DeleteFunc(s.Services, func(v swarm.Service) bool { return v.ID == step.ID })
	case RemoveNetwork:
		if used := s.user(step.ID); used != "" {
			return fmt.Errorf("in use by %s", used)
		}
		s.Networks = slices.DeleteFunc(s.Networks, func(n Network) bool { return n.ID == step.ID })
	case RemoveConfig:
		if used := s.user(step.ID); used != "" {
			return fmt.Errorf("in use by %s", used)
		}
		s.Configs = slices.DeleteFunc(s.Configs, func(c swarm.Config) bool { return c.ID == step.ID })
	case RemoveSecret:
		if used := s.user(step.ID); used != "" {
			return fmt.Errorf("in use by %s", used)
		}
		s.Secrets = slices.DeleteFunc(s.Secrets, func(c swarm.Secret) bool { return c.ID == step.ID })
	default:
		return fmt.Errorf("a step that nobody knows: %T", step)
	}
	return nil
}

func (s *toy) has(name string) bool {
	return slices.ContainsFunc(s.Services, func(v swarm.Service) bool { return v.Spec.Name == name })
}

func (s *toy) createNetwork(n swarm.NetworkSpec) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	var made swarm.NetworkSpec
	if err := json.Unmarshal(b, &made); err != nil {
		return err
	}
	// What the engine adds: its driver's state, a default IPAM driver, a subnet and a gateway.
	if made.DriverConfiguration.Name == "overlay" {
		made.DriverConfiguration.Options = map[string]string{"com.docker.network.driver.overlay.vxlanid_list": "4097"}
	}
	if made.IPAMOptions == nil {
		made.IPAMOptions = &swarm.IPAMOptions{Driver: swarm.Driver{Name: "default"}}
	}
	if len(made.IPAMOptions.Configs) == 0 {
		made.IPAMOptions.Configs = []swarm.IPAMConfig{{Subnet: netip.MustParsePrefix("10.0.9.0/24")}}
	}
	if !made.IPAMOptions.Configs[0].Gateway.IsValid() {
		made.IPAMOptions.Configs[0].Gateway = netip.MustParseAddr("10.0.9.1")
	}
	s.Networks = append(s.Networks, Network{ID: fmt.Sprintf("n%d", s.next()), Spec: made})
	return nil
}

func (s *toy) update(step UpdateService) error {
	i := slices.IndexFunc(s.Services, func(v swarm.Service) bool { return v.ID == step.ID })
	switch {
	case i < 0:
		return fmt.Errorf("no such service")
	case s.Services[i].Version != step.Version:
		return fmt.Errorf("update out of sequence")
	case s.Services[i].Spec.Name != step.Spec.Name:
		return fmt.Errorf("a service cannot be renamed")
	}
	bound, err := s.bind(step.Spec)
	if err != nil {
		return err
	}
	before := s.Services[i].Spec
	s.Services[i].PreviousSpec, s.Services[i].Spec = &before, bound
	s.Services[i].Version.Index = s.next()
	return nil
}

// bind stores a service as Swarm shows it afterwards.
func (s *toy) bind(v swarm.ServiceSpec) (swarm.ServiceSpec, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	var made swarm.ServiceSpec
	if err := json.Unmarshal(b, &made); err != nil {
		return v, err
	}
	for i, n := range made.TaskTemplate.Networks {
		id := ""
		for _, has := range s.Networks {
			if has.Spec.Name == n.Target {
				id = has.ID
			}
		}
		if id == "" {
			return v, fmt.Errorf("network %s not found", n.Target)
		}
		made.TaskTemplate.Networks[i].Target = id
	}
	c := made.TaskTemplate.ContainerSpec
	for _, ref := range c.Configs {
		i := slices.IndexFunc(s.Configs, func(c swarm.Config) bool { return c.Spec.Name == ref.ConfigName })
		if i < 0 {
			return v, fmt.Errorf("config %s not found", ref.ConfigName)
		}
		ref.ConfigID = s.Configs[i].ID
	}
	for _, ref := range c.Secrets {
		i := slices.IndexFunc(s.Secrets, func(c swarm.Secret) bool { return c.Spec.Name == ref.SecretName })
		if i < 0 {
			return v, fmt.Errorf("secret %s not found", ref.SecretName)
		}
		ref.SecretID = s.Secrets[i].ID
	}
	fill(&made)
	return made, nil
}

// fill is what Swarm's conversions leave in a spec that did not say (moby, daemon/cluster/convert).
func fill(v *swarm.ServiceSpec) {
	c := v.TaskTemplate.ContainerSpec
	c.Isolation = "default"
	c.Privileges = &swarm.Privileges{}
	for i := range c.Mounts {
		c.Mounts[i].Consistency = ""
	}
	if c.DNSConfig == nil {
		c.DNSConfig = &swarm.DNSConfig{}
	}
	if v.TaskTemplate.Resources == nil {
		v.TaskTemplate.Resources = &swarm.ResourceRequirements{Limits: &swarm.Limit{}, Reservations: &swarm.Resources{}}
	}
	if v.TaskTemplate.Placement == nil {
		v.TaskTemplate.Placement = &swarm.Placement{Platforms: []swarm.Platform{{Architecture: "amd64", OS: "linux"}}}
	}
	if r := v.TaskTemplate.RestartPolicy; r == nil {
		delay, attempts := 5*time.Second, uint64(0)
		v.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: "any", Delay: &delay, MaxAttempts: &attempts}
	} else if r.MaxAttempts == nil {
		attempts := uint64(0)
		r.MaxAttempts = &attempts
	}
	v.TaskTemplate.Runtime = swarm.RuntimeContainer
}

// user names a service that refers to an object by its id.
func (s *toy) user(id string) string {
	for _, v := range s.Services {
		for _, n := range v.Spec.TaskTemplate.Networks {
			if n.Target == id {
				return v.Spec.Name
			}
		}
		for _, ref := range v.Spec.TaskTemplate.ContainerSpec.Configs {
			if ref.ConfigID == id {
				return v.Spec.Name
			}
		}
		for _, ref := range v.Spec.TaskTemplate.ContainerSpec.Secrets {
			if ref.SecretID == id {
				return v.Spec.Name
			}
		}
	}
	return ""
}

func (s *toy) service(name string) *swarm.Service {
	for i := range s.Services {
		if s.Services[i].Spec.Name == name {
			return &s.Services[i]
		}
	}
	return nil
}

// foreign is a Swarm with things that are not Rolling's, some of them by people who set its labels by hand.
func foreign() *toy {
	s := &toy{index: 100}
	labels := map[string]string{contract.Project: "orders", contract.Environment: "test", "com.docker.stack.namespace": "orders-test"}
	for i, l := range []map[string]string{nil, labels, {contract.Project: "other", contract.Environment: "test", contract.Spec: "1-x"}} {
		name := fmt.Sprintf("foreign%d", i)
		v := swarm.Service{ID: name, Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: name, Labels: l},
			TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: "x"}, Networks: []swarm.NetworkAttachmentConfig{{Target: name}}}}}
		s.Services = append(s.Services, v)
		s.Networks = append(s.Networks, Network{ID: name, Spec: swarm.NetworkSpec{Annotations: swarm.Annotations{Name: name, Labels: l}}})
		s.Configs = append(s.Configs, swarm.Config{ID: name, Spec: swarm.ConfigSpec{Annotations: swarm.Annotations{Name: name, Labels: l}}})
		s.Secrets = append(s.Secrets, swarm.Secret{ID: name, Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: name, Labels: l}}})
	}
	return s
}

// fatal is what *testing.T and *rapid.T share.
type fatal interface {
	Helper()
	Fatal(args ...any)
}

func build(t fatal, file string, id release.ID, images map[string]string) spec.Desired {
	t.Helper()
	p, err := project.Parse(project.Input{File: "rolling.yml", Bytes: []byte(file), Files: map[string][]byte{"a": []byte("a"), "b": []byte("b")}})
	if err != nil {
		t.Fatal(err)
	}
	pinned := map[project.ServiceName]release.Image{}
	for name := range p.Environments[0].Model.Services {
		digit := "a"
		if images[name] != "" {
			digit = images[name]
		}
		pinned[project.ServiceName(name)] = release.Image("registry.example/" + name + "@sha256:" + strings.Repeat(digit, 64))
	}
	r, err := release.New(release.Release{ID: id, Project: p.Name, Created: time.Unix(0, 0), Images: pinned})
	if err != nil {
		t.Fatal(err)
	}
	d, err := spec.Build(p, r, p.Environments[0].Name, spec.Adjust{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func diff(t fatal, d spec.Desired, s *toy) Plan {
	t.Helper()
	p, err := Diff(d, s.Observed)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func deployed(t testing.TB, file string) *toy {
	t.Helper()
	s := foreign()
	if err := s.apply(diff(t, build(t, file, "r-1", nil), s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func releaseID(s string) release.ID { return release.ID(s) }
