package plan

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/spec"
	"pgregory.net/rapid"
)

// TestPlansReadLikeThis: what a person sees before saying yes.
func TestPlansReadLikeThis(t *testing.T) {
	for _, c := range previews {
		t.Run(c.name, func(t *testing.T) {
			s := foreign()
			if c.before != "" {
				s = deployed(t, c.before)
			}
			if c.hand != nil {
				c.hand(s)
			}
			if c.id == "" {
				c.id = "r-1"
			}
			got := "\n" + diff(t, build(t, c.after, releaseID(c.id), c.images), s).String()
			if got != c.want {
				t.Errorf("got:%s\nwant:%s", got, c.want)
			}
		})
	}
}

func TestAChangeByHandIsListed(t *testing.T) {
	s := deployed(t, orders)
	s.service("orders-test_worker").Spec.TaskTemplate.ContainerSpec.Image = "evil"
	if got := diff(t, build(t, orders, "r-1", nil), s).ByHand(); !slices.Equal(got, []string{"service orders-test_worker"}) {
		t.Errorf("changed by hand: got %v, want the worker", got)
	}
	if got := diff(t, build(t, orders, "r-1", nil), deployed(t, orders)).ByHand(); got != nil {
		t.Errorf("changed by hand: got %v, want none", got)
	}
}

// TestNewTasksCanBeToldFromOldOnes: every restart has a mark of its own, and what does not restart keeps its mark.
func TestNewTasksCanBeToldFromOldOnes(t *testing.T) {
	s := deployed(t, orders)
	mark := func() spec.Mark { return spec.MarkOf(s.service("orders-test_web").Spec.TaskTemplate) }
	for _, c := range []struct {
		name  string
		file  string
		id    string
		image string
		want  spec.Mark
	}{
		{"nothing changed", orders, "r-2", "a", spec.Mark{Release: "r-1"}},
		{"a new count", strings.ReplaceAll(orders, "replicas: 3", "replicas: 4"), "r-2", "a", spec.Mark{Release: "r-1"}},
		{"a new image", orders, "r-3", "b", spec.Mark{Release: "r-3"}},
		{"a new setting under the same release", strings.ReplaceAll(orders, "LEVEL: info", "LEVEL: warn"), "r-3", "b", spec.Mark{Release: "r-3", ForceUpdate: 1}},
		{"the old setting again", orders, "r-3", "b", spec.Mark{Release: "r-3", ForceUpdate: 2}},
		{"another release", orders, "r-4", "c", spec.Mark{Release: "r-4", ForceUpdate: 2}},
	} {
		if err := s.apply(diff(t, build(t, c.file, releaseID(c.id), map[string]string{"web": c.image}), s)); err != nil {
			t.Fatal(err)
		}
		if got := mark(); got != c.want {
			t.Errorf("%s: mark %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestASnapshotIsNotChangedByPlanning(t *testing.T) {
	s := deployed(t, orders)
	before, err := json.Marshal(s.Observed)
	if err != nil {
		t.Fatal(err)
	}
	d := build(t, strings.ReplaceAll(orders, "LEVEL: info", "LEVEL: warn"), "r-2", map[string]string{"worker": "b"})
	wanted, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, d, s)
	if after, _ := json.Marshal(s.Observed); string(after) != string(before) {
		t.Error("planning changed what was observed")
	}
	if after, _ := json.Marshal(d); string(after) != string(wanted) {
		t.Error("planning changed what is desired")
	}
}

func TestANetworkIsReadBackAsItWasAskedFor(t *testing.T) {
	d := build(t, strings.Replace(orders, "ipam:", "attachable: true, driver_opts: {rolling.mode: routed}, x-rolling: {block: 28, gateway: 169.254.1.7}, ipam:", 1), "r-1", nil)
	want := d.Networks[0]
	n := NetworkOf(network.Network{
		Name: want.Name, ID: "n1", Scope: "swarm", Driver: want.DriverConfiguration.Name, Attachable: true, Labels: want.Labels,
		Options: want.DriverConfiguration.Options,
		IPAM: network.IPAM{Driver: want.IPAMOptions.Driver.Name, Options: want.IPAMOptions.Driver.Options,
			Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.210.3.0/24"), Gateway: netip.MustParseAddr("169.254.1.7")}}},
	})
	if changes := networkChanges(want, n.Spec); len(changes) > 0 {
		t.Errorf("differences where there are none: %v", changes)
	}
	n.Spec.DriverConfiguration.Options[contract.Isolation] = "open"
	n.Spec.IPAMOptions.Driver.Options["com.docker.network.ipam.serial"] = "true"
	want2 := d.Networks[0]
	want2.DriverConfiguration = &swarm.Driver{Name: want.DriverConfiguration.Name, Options: map[string]string{
		contract.Mode: "routed", contract.Gateway: "169.254.1.7", contract.Project: "orders", contract.Environment: "test"}}
	if got, want := networkChanges(want2, n.Spec), []Change{{"driver_opts.rolling.isolation", "open", ""}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v: a setting of Rolling's counts, one of the engine's does not", got, want)
	}
}

// TestAPlanCarriedOutLeavesNothing: over any history of projects on one Swarm, a plan can be carried out in its order,
// planned again it is empty, what is not Rolling's stays as it was, and what the project dropped is gone.
func TestAPlanCarriedOutLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := foreign()
		others, err := json.Marshal(notOurs(s))
		if err != nil {
			t.Fatal(err)
		}
		for round := range rapid.IntRange(1, 4).Draw(t, "rounds") {
			images := map[string]string{}
			for _, name := range []string{"a", "b", "c"} {
				images[name] = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "image")
			}
			d := build(t, anyProject(t), releaseID(fmt.Sprintf("r-%d", round)), images)
			p := diff(t, d, s)
			if len(p.Blocked) > 0 {
				for _, b := range p.Blocked {
					if !strings.Contains(b.Text, "Swarm cannot change") {
						t.Fatalf("blocked: %s", p)
					}
				}
				continue
			}
			if err := s.apply(p); err != nil {
				t.Fatalf("%v\n%s", err, p)
			}
			if again := diff(t, d, s); !again.Empty() {
				t.Fatalf("planned again:\n%s", again)
			}
			if byHand := diff(t, d, s).ByHand(); byHand != nil {
				t.Fatalf("looks changed by hand: %v", byHand)
			}
			if after, _ := json.Marshal(notOurs(s)); string(after) != string(others) {
				t.Fatalf("what is not Rolling's changed:\n%s\n%s", others, after)
			}
			ours := len(s.Services) + len(s.Networks) + len(s.Configs) + len(s.Secrets) - 12
			if want := len(d.Services) + len(d.Networks) + len(d.Configs) + len(d.Secrets); ours != want {
				t.Fatalf("Swarm holds %d objects of the project, want %d", ours, want)
			}
		}
	})
}

// TestAnyChangeByHandIsSeen: whichever setting of a deployed service somebody changes, the plan takes it back and says so.
func TestAnyChangeByHandIsSeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := foreign()
		d := build(t, anyProject(t), "r-1", nil)
		if err := s.apply(diff(t, d, s)); err != nil {
			t.Fatal(err)
		}
		victim := s.service(rapid.SampledFrom(d.Services).Draw(t, "service").Name)
		c := victim.Spec.TaskTemplate.ContainerSpec
		switch rapid.IntRange(0, 7).Draw(t, "change") {
		case 0:
			c.Image = "evil@sha256:" + strings.Repeat("f", 64)
		case 1:
			c.Env = append(slices.Clone(c.Env), "EVIL=1")
		case 2:
			victim.Spec.Labels["evil"] = ""
		case 3:
			victim.Spec.TaskTemplate.Resources.Limits.MemoryBytes += 1 << 20
		case 4:
			victim.Spec.TaskTemplate.Networks = nil
		case 5:
			c.StopSignal = "SIGKILL"
		case 6:
			victim.Spec.EndpointSpec.Ports = append(victim.Spec.EndpointSpec.Ports, swarm.PortConfig{TargetPort: 9999})
		case 7:
			c.Privileges.NoNewPrivileges = true
		}
		p := diff(t, d, s)
		if got := p.ByHand(); !slices.Equal(got, []string{"service " + victim.Spec.Name}) || len(p.Steps) != 1 {
			t.Fatalf("changed by hand: got %v, want %s\n%s", got, victim.Spec.Name, p)
		}
		if err := s.apply(p); err != nil {
			t.Fatal(err)
		}
		if again := diff(t, d, s); !again.Empty() {
			t.Fatalf("planned again:\n%s", again)
		}
	})
}

func notOurs(s *toy) Observed {
	var o Observed
	mine := func(name string) bool { return strings.HasPrefix(name, "orders-test") }
	for _, v := range s.Services {
		if !mine(v.Spec.Name) {
			o.Services = append(o.Services, v)
		}
	}
	for _, n := range s.Networks {
		if !mine(n.Spec.Name) {
			o.Networks = append(o.Networks, n)
		}
	}
	for _, c := range s.Configs {
		if !mine(c.Spec.Name) {
			o.Configs = append(o.Configs, c)
		}
	}
	for _, c := range s.Secrets {
		if !mine(c.Spec.Name) {
			o.Secrets = append(o.Secrets, c)
		}
	}
	return o
}

// anyProject draws a project file out of the settings that exist.
func anyProject(t *rapid.T) string {
	some := func(name string, choices ...string) string { return rapid.SampledFrom(choices).Draw(t, name) }
	var b strings.Builder
	b.WriteString("x-rolling: {project: orders, environments: {test: {stage: test}}}\nservices:\n")
	services := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "services")]
	for _, s := range services {
		fmt.Fprintf(&b, "  %s:\n    networks: [%s]\n", s, some("network", "", "one", "two", "one, two", "foreign0"))
		b.WriteString(some("environment", "", "    environment: {A: x}\n", "    environment: {A: y, B: \"\"}\n"))
		b.WriteString(some("config", "", "    configs: [site]\n", "    configs: [{source: site, target: /x, mode: 0400}]\n"))
		b.WriteString(some("secret", "", "    secrets: [password]\n"))
		b.WriteString(some("volume", "", "    volumes: [\"data:/data\", \"/srv:/srv:ro\"]\n", "    volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1M}}]\n"))
		b.WriteString(some("misc", "", "    init: true\n    dns: [10.0.0.1]\n", "    healthcheck: {test: x, interval: 1s}\n    cap_add: [NET_ADMIN]\n    ulimits: {nofile: 10}\n"))
		b.WriteString(some("logging", "", "    logging: {driver: json-file, options: {max-size: 1m}}\n"))
		fmt.Fprintf(&b, "    deploy:\n      %s\n", some("mode", "replicas: 0", "replicas: 1", "replicas: 3"))
		b.WriteString(some("labels", "", "      labels: {rolling.drain: 5s}\n", "      labels: {x: \"\"}\n"))
		b.WriteString(some("update", "", "      update_config: {parallelism: 0}\n", "      update_config: {parallelism: 2, delay: 1s}\n"))
		b.WriteString(some("resources", "", "      resources: {limits: {cpus: 0.3, memory: 64M, pids: 5}}\n"))
		b.WriteString(some("placement", "", "      placement: {constraints: [node.role==worker]}\n      restart_policy: {condition: none}\n"))
	}
	fmt.Fprintf(&b, "networks:\n  one: {driver: \"rolling/net:latest\", x-rolling: {mode: %s}, ipam: {config: [{subnet: 10.0.0.0/24}]}}\n  two: {driver: %s}\n  foreign0: {external: true}\n",
		"routed", some("driver", "overlay", "overlay", "other"))
	fmt.Fprintf(&b, "configs: {site: {file: %s}}\nsecrets: {password: {file: %s}}\nvolumes: {data: }\n", some("content", "a", "b"), some("content", "a", "b"))
	return b.String()
}

// BenchmarkDiff plans 50 services that are as they should be, in a Swarm of 1,050.
func BenchmarkDiff(b *testing.B) {
	var file strings.Builder
	file.WriteString("x-rolling: {project: orders, environments: {test: {stage: test}}}\nservices:\n")
	for i := range 50 {
		fmt.Fprintf(&file, "  s%d: {networks: [app], environment: {A: x, B: y}, deploy: {replicas: 3}}\n", i)
	}
	file.WriteString("networks: {app: {driver: \"rolling/net:latest\", ipam: {config: [{subnet: 10.0.0.0/16}]}}}\n")
	s := deployed(b, file.String())
	for i := range 1000 {
		s.Services = append(s.Services, swarm.Service{ID: fmt.Sprint(i), Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Name: fmt.Sprintf("other%d", i)}}})
	}
	d := build(b, file.String(), "r-1", nil)
	for b.Loop() {
		if !diff(b, d, s).Empty() {
			b.Fatal("there is something to do")
		}
	}
}
