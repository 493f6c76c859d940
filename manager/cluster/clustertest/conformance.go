package clustertest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/plan"
)

// World is a Swarm to be checked, and what its services are made of.
type World struct {
	Swarm  *cluster.Swarm
	Driver string // of networks
	IPAM   string
	Good   swarm.ContainerSpec // runs for ever, and writes GoodLine first
	Crash  swarm.ContainerSpec // writes CrashLine and ends with 3
	Absent swarm.ContainerSpec // no node can get it
}

// The lines that the programs of a World write.
const (
	GoodLine  = "at work"
	CrashLine = "cannot go on"
)

// Check is one thing that the engine relies on.
type Check struct {
	Name string
	Do   func(*testing.T, World)
}

// Checks are all that a Swarm is held to, by way of the room cluster. Each leaves the Swarm as it was.
func Checks() []Check {
	return []Check{
		{"what was made is observed, bound and running", makeAndObserve},
		{"a network that was made is whole", wholeNetwork},
		{"making it twice is a conflict", makeTwice},
		{"a stale version is a conflict and writes nothing", staleVersion},
		{"writing what is gone says so, removing it is done", gone},
		{"what is not there cannot be bound", unbound},
		{"what is in use is not removed", inUse},
		{"a count alone restarts nothing and leaves no status", countAlone},
		{"a new template goes through updating to completed", newTemplate},
		{"an image that nobody has pauses the update and names the task", absentImage},
		{"a program that ends pauses the update and leaves its lines", crash},
		{"the old spec written back ends what failed", wayBack},
		{"a network made again at once takes tasks", networkAgain},
		{"tasks are found by whether they are meant to live, by their project, and by their id", living},
		{"a change of a service is told of", changesAreTold},
		{"nodes have names, one leads", nodes},
	}
}

// prefix begins the names of all that the checks make.
const prefix = "check_"

func (w World) network(t *testing.T, name string) string {
	t.Helper()
	n := swarm.NetworkSpec{
		Annotations:         swarm.Annotations{Name: prefix + name, Labels: map[string]string{"a": "b"}},
		DriverConfiguration: &swarm.Driver{Name: w.Driver},
		Attachable:          true,
		IPAMOptions: &swarm.IPAMOptions{Driver: swarm.Driver{Name: w.IPAM},
			Configs: []swarm.IPAMConfig{{Subnet: netip.MustParsePrefix("10.233.7.0/24")}}},
	}
	w.apply(t, plan.CreateNetwork{Spec: n})
	t.Cleanup(func() { w.sweep(t) })
	return n.Name
}

// service is a spec with one network; the label tells versions of its template apart.
func (w World) service(name, network, version string, c swarm.ContainerSpec, replicas uint64) swarm.ServiceSpec {
	grace := time.Second
	c.Labels, c.StopGracePeriod = map[string]string{contract.Release: version}, &grace
	delay := 200 * time.Millisecond
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: prefix + name, Labels: map[string]string{contract.Project: "check"}},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &c, Networks: []swarm.NetworkAttachmentConfig{{Target: network, Aliases: []string{name}}},
			RestartPolicy: &swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionAny, Delay: &delay}},
		Mode: swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		UpdateConfig: &swarm.UpdateConfig{Parallelism: 1, FailureAction: swarm.UpdateFailureActionPause,
			Monitor: time.Second, Order: swarm.UpdateOrderStartFirst},
		EndpointSpec: &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR},
	}
}

func (w World) apply(t *testing.T, s plan.Step) cluster.Applied {
	t.Helper()
	done, err := w.Swarm.Apply(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// sweep removes all that the checks have made.
func (w World) sweep(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	o, err := w.Swarm.Observe(ctx)
	if err != nil {
		t.Error(err)
		return
	}
	var steps []plan.Step
	for _, s := range o.Services {
		steps = append(steps, plan.RemoveService{ID: s.ID, Name: s.Spec.Name})
	}
	for _, n := range o.Networks {
		steps = append(steps, plan.RemoveNetwork{ID: n.ID, Name: n.Spec.Name})
	}
	for _, c := range o.Configs {
		steps = append(steps, plan.RemoveConfig{ID: c.ID, Name: c.Spec.Name})
	}
	for _, c := range o.Secrets {
		steps = append(steps, plan.RemoveSecret{ID: c.ID, Name: c.Spec.Name})
	}
	for _, s := range steps {
		if _, name, _ := strings.Cut(s.Object(), " "); !strings.HasPrefix(name, prefix) {
			continue
		}
		if _, err := w.Swarm.Apply(ctx, s); err != nil {
			t.Error(err)
		}
	}
}

// until looks at a service until f finds nothing to complain of.
func (w World) until(t *testing.T, id string, f func(*swarm.Service, []swarm.Task) string) (s *swarm.Service, tasks []swarm.Task) {
	t.Helper()
	complaint := ""
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		var err error
		if s, tasks, err = w.Swarm.Look(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if s == nil {
			t.Fatal("the service is gone")
		}
		if complaint = f(s, tasks); complaint == "" {
			return s, tasks
		}
	}
	t.Fatalf("%s\nupdate: %+v\ntasks: %s", complaint, s.UpdateStatus, describe(tasks))
	return nil, nil
}

func describe(tasks []swarm.Task) string {
	var all []string
	for _, k := range tasks {
		all = append(all, string(k.DesiredState)+"/"+string(k.Status.State)+" "+k.Spec.ContainerSpec.Labels[contract.Release]+" "+k.Status.Err)
	}
	return strings.Join(all, ", ")
}

// runs complains until n tasks of a version run, and no other is meant to.
func runs(n int, version string) func(*swarm.Service, []swarm.Task) string {
	return func(_ *swarm.Service, tasks []swarm.Task) string {
		good := 0
		for _, k := range tasks {
			if k.DesiredState != swarm.TaskStateRunning {
				continue
			}
			if k.Spec.ContainerSpec.Labels[contract.Release] != version || k.Status.State != swarm.TaskStateRunning {
				return "not only " + version + " runs"
			}
			good++
		}
		if good != n {
			return "not enough run"
		}
		return ""
	}
}

func makeAndObserve(t *testing.T, w World) {
	network := w.network(t, "net")
	w.apply(t, plan.CreateConfig{Spec: swarm.ConfigSpec{Annotations: swarm.Annotations{Name: prefix + "conf"}, Data: []byte("a config")}})
	w.apply(t, plan.CreateSecret{Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: prefix + "key"}, Data: []byte("a secret")}})
	spec := w.service("web", network, "v1", w.Good, 2)
	spec.TaskTemplate.ContainerSpec.Configs = []*swarm.ConfigReference{{ConfigName: prefix + "conf", File: &swarm.ConfigReferenceFileTarget{Name: "/conf", UID: "0", GID: "0", Mode: 0o444}}}
	spec.TaskTemplate.ContainerSpec.Secrets = []*swarm.SecretReference{{SecretName: prefix + "key", File: &swarm.SecretReferenceFileTarget{Name: "key", UID: "0", GID: "0", Mode: 0o400}}}
	done := w.apply(t, plan.CreateService{Spec: spec})
	if done.ID == "" || done.Version == 0 {
		t.Errorf("applied: %+v", done)
	}
	s, tasks := w.until(t, done.ID, runs(2, "v1"))
	if s.UpdateStatus != nil {
		t.Errorf("a new service has an update status: %+v", s.UpdateStatus)
	}
	if spec.TaskTemplate.Networks[0].Target != network {
		t.Error("binding changed the step's own spec")
	}
	o, err := w.Swarm.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(o.Networks, func(n plan.Network) bool { return n.Spec.Name == network })
	if i < 0 || o.Networks[i].Spec.DriverConfiguration.Name != w.Driver || o.Networks[i].Spec.Labels["a"] != "b" {
		t.Fatalf("networks observed: %+v", o.Networks)
	}
	seen := slices.IndexFunc(o.Services, func(s swarm.Service) bool { return s.ID == done.ID })
	if seen < 0 || o.Services[seen].Spec.TaskTemplate.Networks[0].Target != o.Networks[i].ID {
		t.Fatalf("services observed: %+v", o.Services)
	}
	if st := o.Services[seen].ServiceStatus; st == nil || st.RunningTasks != 2 || st.DesiredTasks != 2 {
		t.Errorf("its status: %+v", st)
	}
	if !slices.ContainsFunc(o.Configs, func(c swarm.Config) bool { return c.Spec.Name == prefix+"conf" && string(c.Spec.Data) == "a config" }) ||
		!slices.ContainsFunc(o.Secrets, func(c swarm.Secret) bool { return c.Spec.Name == prefix+"key" && len(c.Spec.Data) == 0 }) {
		t.Errorf("configs %v, secrets %v", o.Configs, o.Secrets)
	}
	w.listed(t, tasks, network)
}

// listed complains unless the list of all tasks has these, each with its node and an address on the network.
func (w World) listed(t *testing.T, tasks []swarm.Task, network string) {
	t.Helper()
	all, err := w.Swarm.Tasks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range tasks {
		i := slices.IndexFunc(all, func(a swarm.Task) bool { return a.ID == k.ID })
		if i < 0 || len(all[i].NetworksAttachments) != 1 || all[i].NetworksAttachments[0].Network.Spec.Name != network ||
			len(all[i].NetworksAttachments[0].Addresses) == 0 || all[i].NodeID == "" {
			t.Errorf("task %s has no address or node in the list of all", k.ID)
		}
	}
}

func wholeNetwork(t *testing.T, w World) {
	name := w.network(t, "net")
	o, err := w.Swarm.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(o.Networks, func(n plan.Network) bool { return n.Spec.Name == name })
	if i < 0 || o.Networks[i].Spec.DriverConfiguration.Name != w.Driver || o.Networks[i].Spec.IPAMOptions.Driver.Name != w.IPAM ||
		len(o.Networks[i].Spec.IPAMOptions.Configs) != 1 {
		t.Errorf("it is shown as %+v", o.Networks)
	}
}

func makeTwice(t *testing.T, w World) {
	network := w.network(t, "net")
	steps := []plan.Step{
		plan.CreateService{Spec: w.service("web", network, "v1", w.Good, 0)},
		plan.CreateConfig{Spec: swarm.ConfigSpec{Annotations: swarm.Annotations{Name: prefix + "conf"}, Data: []byte("x")}},
		plan.CreateSecret{Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: prefix + "key"}, Data: []byte("x")}},
	}
	for _, s := range steps {
		w.apply(t, s)
	}
	for _, s := range append(steps, plan.CreateNetwork{Spec: swarm.NetworkSpec{Annotations: swarm.Annotations{Name: network},
		DriverConfiguration: &swarm.Driver{Name: w.Driver}, IPAMOptions: &swarm.IPAMOptions{Driver: swarm.Driver{Name: w.IPAM}}}}) {
		if _, err := w.Swarm.Apply(t.Context(), s); !errors.Is(err, cluster.ErrConflict) || !strings.HasPrefix(err.Error(), s.Object()) {
			t.Errorf("%s: %v", s.Object(), err)
		}
	}
}

func (w World) observed(t *testing.T, id string) swarm.Service {
	t.Helper()
	s, _, err := w.Swarm.Look(t.Context(), id)
	if err != nil || s == nil {
		t.Fatalf("look: %v %v", s, err)
	}
	return *s
}

func staleVersion(t *testing.T, w World) {
	network := w.network(t, "net")
	spec := w.service("web", network, "v1", w.Good, 0)
	id := w.apply(t, plan.CreateService{Spec: spec}).ID
	old := w.observed(t, id)
	spec.Labels["by"] = "first"
	w.apply(t, plan.UpdateService{ID: id, Version: old.Version, Spec: spec})
	spec.Labels["by"] = "second"
	_, err := w.Swarm.Apply(t.Context(), plan.UpdateService{ID: id, Version: old.Version, Spec: spec})
	if !errors.Is(err, cluster.ErrConflict) {
		t.Errorf("the second write: %v", err)
	}
	if got := w.observed(t, id).Spec.Labels["by"]; got != "first" {
		t.Errorf("the label is %q", got)
	}
}

func gone(t *testing.T, w World) {
	network := w.network(t, "net")
	spec := w.service("web", network, "v1", w.Good, 0)
	id := w.apply(t, plan.CreateService{Spec: spec}).ID
	old := w.observed(t, id)
	for range 2 {
		w.apply(t, plan.RemoveService{ID: id, Name: spec.Name})
	}
	if _, err := w.Swarm.Apply(t.Context(), plan.UpdateService{ID: id, Version: old.Version, Spec: spec}); !errors.Is(err, cluster.ErrGone) {
		t.Errorf("a write to it: %v", err)
	}
	if s, tasks, err := w.Swarm.Look(t.Context(), id); s != nil || tasks != nil || err != nil {
		t.Errorf("a look at it: %v %v %v", s, tasks, err)
	}
	for _, s := range []plan.Step{plan.RemoveConfig{ID: "nothing", Name: "x"}, plan.RemoveSecret{ID: "nothing", Name: "x"}, plan.RemoveNetwork{ID: "nothing", Name: "x"}} {
		w.apply(t, s)
	}
}

func unbound(t *testing.T, w World) {
	network := w.network(t, "net")
	missing := w.service("web", "no-such-network", "v1", w.Good, 0)
	conf := w.service("web", network, "v1", w.Good, 0)
	conf.TaskTemplate.ContainerSpec.Configs = []*swarm.ConfigReference{{ConfigName: "no-such-config", File: &swarm.ConfigReferenceFileTarget{Name: "/x"}}}
	secret := w.service("web", network, "v1", w.Good, 0)
	secret.TaskTemplate.ContainerSpec.Secrets = []*swarm.SecretReference{{SecretName: "no-such-secret", File: &swarm.SecretReferenceFileTarget{Name: "x"}}}
	for name, spec := range map[string]swarm.ServiceSpec{"no-such-network": missing, "no-such-config": conf, "no-such-secret": secret} {
		_, err := w.Swarm.Apply(t.Context(), plan.CreateService{Spec: spec})
		if !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func inUse(t *testing.T, w World) {
	network := w.network(t, "net")
	conf := w.apply(t, plan.CreateConfig{Spec: swarm.ConfigSpec{Annotations: swarm.Annotations{Name: prefix + "conf"}, Data: []byte("x")}})
	spec := w.service("web", network, "v1", w.Good, 0)
	spec.TaskTemplate.ContainerSpec.Configs = []*swarm.ConfigReference{{ConfigName: prefix + "conf", File: &swarm.ConfigReferenceFileTarget{Name: "/conf", UID: "0", GID: "0", Mode: 0o444}}}
	w.apply(t, plan.CreateService{Spec: spec})
	o, err := w.Swarm.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(o.Networks, func(n plan.Network) bool { return n.Spec.Name == network })
	for _, s := range []plan.Step{plan.RemoveConfig{ID: conf.ID, Name: prefix + "conf"}, plan.RemoveNetwork{ID: o.Networks[i].ID, Name: network}} {
		if _, err := w.Swarm.Apply(t.Context(), s); !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("%s: %v", s.Object(), err)
		}
	}
}
