package spec

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

const orders = `
x-rolling: {project: orders, environments: {test: {stage: test}}}
services: {web: {networks: [app], deploy: {replicas: 3}}, worker: {}}
networks: {app: {driver: "rolling/net:latest", ipam: {config: [{subnet: 10.210.3.0/24}]}}}
`

func identity(s string) string { return s }

func service(t *testing.T, adjust Adjust) swarm.ServiceSpec {
	t.Helper()
	p := parse(t, orders)
	d, err := Build(p, releaseFor(t, p, "r-1"), "test", adjust)
	if err != nil {
		t.Fatal(err)
	}
	return d.Services[0]
}

func fields(t *testing.T, s swarm.ServiceSpec) map[string]string {
	t.Helper()
	f, err := Fields(s, identity)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAReleaseNamesAnImageForEveryService(t *testing.T) {
	p := parse(t, orders)
	r := releaseFor(t, p, "r-1")
	r.Images = nil
	_, err := Build(p, r, "test", Adjust{})
	if err == nil || !strings.Contains(err.Error(), "service web") || !strings.Contains(err.Error(), "service worker") {
		t.Errorf("got %v, want both services named", err)
	}
	if _, err := Build(p, releaseFor(t, p, "r-1"), "prod", Adjust{}); err == nil || !strings.Contains(err.Error(), "test") {
		t.Errorf("got %v, want the environments that there are", err)
	}
}

func TestACountSetFromOutsideGoesBeforeTheFiles(t *testing.T) {
	if got := *service(t, Adjust{}).Mode.Replicated.Replicas; got != 3 {
		t.Errorf("got %d, want the file's 3", got)
	}
	s := service(t, Adjust{Replicas: map[project.ServiceName]uint64{"web": 7}})
	if got := *s.Mode.Replicated.Replicas; got != 7 {
		t.Errorf("got %d, want 7", got)
	}
}

func TestKeysThatOldEnginesDropAreRefusedThere(t *testing.T) {
	p := parse(t, strings.Replace(orders, "worker: {}", `worker: {oom_score_adj: 5, healthcheck: {test: x, start_interval: 1s}, volumes: [{type: volume, source: v, target: /v, volume: {subpath: a}}]}`, 1)+"volumes: {v: }\n")
	for api, want := range map[string]int{"": 0, "1.41": 3, "1.44": 2, "1.45": 1, "1.46": 0, "1.51": 0, "soon": 0} {
		_, err := Build(p, releaseFor(t, p, "r-1"), "test", Adjust{API: api})
		got := 0
		if err != nil {
			got = strings.Count(err.Error(), "which drop this key")
		}
		if got != want {
			t.Errorf("API %q: %d keys refused (%v), want %d", api, got, err, want)
		}
	}
}

// TestWhatSwarmFillsInMakesNoDifference: one setting a row, as written and as Swarm may show it.
func TestWhatSwarmFillsInMakesNoDifference(t *testing.T) {
	ten, five, zero, one, no := 10*time.Second, 5*time.Second, uint64(0), uint64(1), false
	written := func() swarm.ServiceSpec {
		return swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "x"}, TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: "a"}}}
	}
	for _, c := range []struct {
		name   string
		change func(s *swarm.ServiceSpec)
		same   bool
	}{
		{"empty labels", func(s *swarm.ServiceSpec) { s.Labels = map[string]string{} }, true},
		{"the container runtime", func(s *swarm.ServiceSpec) { s.TaskTemplate.Runtime = "container" }, true},
		{"default isolation", func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.Isolation = "default" }, true},
		{"an empty DNS config", func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.DNSConfig = &swarm.DNSConfig{} }, true},
		{"empty privileges", func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.Privileges = &swarm.Privileges{} }, true},
		{"ten seconds of grace", func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.StopGracePeriod = &ten }, true},
		{"empty resources", func(s *swarm.ServiceSpec) {
			s.TaskTemplate.Resources = &swarm.ResourceRequirements{Limits: &swarm.Limit{}, Reservations: &swarm.Resources{}}
		}, true},
		{"the default restart policy", func(s *swarm.ServiceSpec) {
			s.TaskTemplate.RestartPolicy = &swarm.RestartPolicy{Condition: "any", Delay: &five, MaxAttempts: &zero}
		}, true},
		{"platforms of the image", func(s *swarm.ServiceSpec) {
			s.TaskTemplate.Placement = &swarm.Placement{Platforms: []swarm.Platform{{OS: "linux"}}}
		}, true},
		{"a forced update", func(s *swarm.ServiceSpec) { s.TaskTemplate.ForceUpdate = 7 }, true},
		{"one replica", func(s *swarm.ServiceSpec) { s.Mode.Replicated = &swarm.ReplicatedService{Replicas: &one} }, true},
		{"the default update config", func(s *swarm.ServiceSpec) {
			s.UpdateConfig = &swarm.UpdateConfig{Parallelism: 1, FailureAction: "pause", Monitor: five, Order: "stop-first"}
		}, true},
		{"an endpoint with a virtual address", func(s *swarm.ServiceSpec) { s.EndpointSpec = &swarm.EndpointSpec{Mode: "vip"} }, true},
		{"labels of the last write", func(s *swarm.ServiceSpec) {
			s.Labels = map[string]string{contract.Release: "r", contract.Commit: "c", contract.Rollout: "o", contract.Spec: "s"}
			s.TaskTemplate.ContainerSpec.Labels = map[string]string{contract.Release: "r"}
		}, true},
		{"no replicas", func(s *swarm.ServiceSpec) { s.Mode.Replicated = &swarm.ReplicatedService{Replicas: &zero} }, false},
		{"parallelism without a limit", func(s *swarm.ServiceSpec) { s.UpdateConfig = &swarm.UpdateConfig{} }, false},
		{"no init by order, where the engine may have one", func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.Init = &no }, false},
		{"a label without a value", func(s *swarm.ServiceSpec) { s.Labels = map[string]string{"x": ""} }, false},
		{"a variable without a value", func(s *swarm.ServiceSpec) { s.TaskTemplate.ContainerSpec.Env = []string{"X="} }, false},
		{"a volume that says nothing but where", func(s *swarm.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Mounts = []mount.Mount{{Target: "/x"}}
		}, false},
		{"no new privileges, which Rolling never sets", func(s *swarm.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Privileges = &swarm.Privileges{NoNewPrivileges: true}
		}, false},
	} {
		shown := written()
		c.change(&shown)
		if got := maps.Equal(fields(t, written()), fields(t, shown)); got != c.same {
			t.Errorf("%s: the same is %t, want %t\n%v\n%v", c.name, got, c.same, fields(t, written()), fields(t, shown))
		}
	}
}

func TestOrderSaysSomethingOnlyWhereItDoes(t *testing.T) {
	with := func(change func(c *swarm.ContainerSpec)) map[string]string {
		s := swarm.ServiceSpec{TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{}}}
		change(s.TaskTemplate.ContainerSpec)
		return fields(t, s)
	}
	for _, c := range []struct {
		name string
		a, b func(c *swarm.ContainerSpec)
		same bool
	}{
		{"variables", func(c *swarm.ContainerSpec) { c.Env = []string{"A=1", "B=2"} }, func(c *swarm.ContainerSpec) { c.Env = []string{"B=2", "A=1"} }, true},
		{"capabilities", func(c *swarm.ContainerSpec) { c.CapabilityAdd = []string{"A", "B"} }, func(c *swarm.ContainerSpec) { c.CapabilityAdd = []string{"B", "A"} }, true},
		{"mounts", func(c *swarm.ContainerSpec) { c.Mounts = []mount.Mount{{Target: "/a"}, {Target: "/b"}} },
			func(c *swarm.ContainerSpec) { c.Mounts = []mount.Mount{{Target: "/b"}, {Target: "/a"}} }, true},
		{"arguments", func(c *swarm.ContainerSpec) { c.Args = []string{"a", "b"} }, func(c *swarm.ContainerSpec) { c.Args = []string{"b", "a"} }, false},
	} {
		if got := maps.Equal(with(c.a), with(c.b)); got != c.same {
			t.Errorf("%s in another order: the same is %t, want %t", c.name, got, c.same)
		}
	}
}

func TestEveryFieldSaysWhetherTasksRestart(t *testing.T) {
	f := fields(t, service(t, Adjust{}))
	if len(f) < 15 {
		t.Fatalf("only %d fields", len(f))
	}
	var calm []string
	for _, field := range slices.Sorted(maps.Keys(f)) {
		if !Restarts(field) {
			calm = append(calm, strings.Join(strings.Split(field, ".")[:2], "."))
		}
	}
	if got, want := slices.Compact(calm), []string{"deploy.labels", "deploy.replicas", "deploy.rollback_config", "deploy.update_config"}; !slices.Equal(got, want) {
		t.Errorf("no restart by %v, want %v", got, want)
	}
	for _, field := range []string{"image", "ports.80/tcp/ingress/80", "deploy.endpoint_mode", "labels.team", "networks.app.Aliases", "deploy.resources.limits.cpus", "Groups"} {
		if !Restarts(field) {
			t.Errorf("%s restarts nothing, says Restarts", field)
		}
	}
}

func TestASealFitsUntilSomebodyTouchesTheService(t *testing.T) {
	s, err := Seal(service(t, Adjust{}))
	if err != nil {
		t.Fatal(err)
	}
	label := s.Labels[contract.Spec]
	if ByHand(fields(t, s), label) {
		t.Error("a sealed service looks changed by hand")
	}
	again, err := Seal(s)
	if err != nil || again.Labels[contract.Spec] != label {
		t.Errorf("sealed again it is %s (%v), want %s", again.Labels[contract.Spec], err, label)
	}
	s.Labels[contract.Rollout] = "o-9"
	if ByHand(fields(t, s), label) {
		t.Error("a label of the last write looks like a change by hand")
	}
	s.TaskTemplate.ContainerSpec.Image = "evil"
	if !ByHand(fields(t, s), label) {
		t.Error("another image does not look changed by hand")
	}
	if ByHand(fields(t, s), "0-"+label) || ByHand(fields(t, s), "") {
		t.Error("a fingerprint of another version, or none, proves a change by hand")
	}
}

func TestASpecIsCopiedNotShared(t *testing.T) {
	want, observed := service(t, Adjust{}), service(t, Adjust{})
	observed.TaskTemplate.ContainerSpec.Labels[contract.Release] = "r-0"
	observed.TaskTemplate.ForceUpdate = 3
	calm, err := Next(want, observed, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := MarkOf(calm.TaskTemplate); got != (Mark{"r-0", 3}) {
		t.Errorf("without a restart the mark is %+v, want the old one", got)
	}
	fresh, err := Next(want, observed, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := MarkOf(fresh.TaskTemplate); got != (Mark{"r-1", 3}) {
		t.Errorf("with a restart the mark is %+v, want the new release", got)
	}
	if MarkOf(want.TaskTemplate) != (Mark{"r-1", 0}) {
		t.Error("Next changed what it was given")
	}
	delete(observed.TaskTemplate.ContainerSpec.Labels, contract.Release)
	bare, err := Next(want, observed, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, has := bare.TaskTemplate.ContainerSpec.Labels[contract.Release]; has {
		t.Error("a label was added to a template that must not change")
	}
}

func TestContentDecidesTheNameOfAConfig(t *testing.T) {
	named := func(content string) string {
		p := parse(t, "x-rolling: {project: o, environments: {t: {stage: test}}}\nservices: {w: {configs: [c]}}\nconfigs: {c: {content: "+content+"}}\n")
		d, err := Build(p, releaseFor(t, p, release.ID("r")), "t", Adjust{})
		if err != nil {
			t.Fatal(err)
		}
		if ref := d.Services[0].TaskTemplate.ContainerSpec.Configs[0]; ref.ConfigName != d.Configs[0].Name {
			t.Fatalf("the service refers to %s and the config is %s", ref.ConfigName, d.Configs[0].Name)
		}
		return d.Configs[0].Name
	}
	a, again, b := named("a"), named("a"), named("b")
	if a == b || a != again || !strings.HasPrefix(a, "o-t_c-") {
		t.Errorf("content a, a and b: names %s, %s and %s", a, again, b)
	}
}
