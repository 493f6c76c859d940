package naming

import (
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/contract"
)

func TestOf(t *testing.T) {
	swarm := func(more map[string]string) map[string]string {
		l := map[string]string{serviceNameLabel: "orders-production_web", taskIDLabel: "abcdefghijklmnopqrstuvwxy", nodeIDLabel: "nodeid1234567890abcdefghi",
			taskNameLabel: "orders-production_web.3.abcdefghijklmnopqrstuvwxy"}
		for k, v := range more {
			l[k] = v
		}
		return l
	}
	ours := map[string]string{contract.Project: "orders", contract.Environment: "production", contract.Service: "web"}
	stack := map[string]string{stackLabel: "orders-production"}
	global := map[string]string{taskNameLabel: "orders-production_web.nodeid1234567890abcdefghi.abcdefghijklmnopqrstuvwxy"}
	for _, c := range []struct {
		name   string
		labels map[string]string
		want   string // project environment service slot task
	}{
		{"the manager's labels name a task", swarm(ours), "orders production web 3 abcdefghijkl"},
		{"a stack without labels is a project without an environment", swarm(stack), "orders-production none web 3 abcdefghijkl"},
		{"a service alone belongs to no project", swarm(nil), "none none orders-production_web 3 abcdefghijkl"},
		{"a global service has the host's name for a slot", swarm(global), "none none orders-production_web n1_example abcdefghijkl"},
		{"a plain container is a service by its name", nil, "none none some.name n1_example "},
		{"a plain container with labels keeps its name in the slot", ours, "orders production web n1_example_some.name "},
		{"a composed container", map[string]string{composeProject: "shop", composeService: "db", composeNumber: "2"}, "shop none db n1_example_2 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := Of("n1.example", "/some.name", c.labels)
			if got := strings.Join(n.Labels("dc")[1:6], " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if n.Node != "n1.example" || n.Labels("dc")[0] != "dc" {
				t.Errorf("node %q, cluster %q", n.Node, n.Labels("dc")[0])
			}
			if len(n.Labels("dc")) != len(contract.MetricLabels()) {
				t.Error("another number of labels than the contract's")
			}
		})
	}
}

func TestPathsHoldNothingThatGraphiteReads(t *testing.T) {
	n := Name{Project: "a b", Environment: "", Service: "x.y{z}", Slot: "1", Task: "abc", Node: "n"}
	if got := n.Path("dc 1"); got != "rolling.dc_1.a_b.none.x_y_z_.1" {
		t.Error(got)
	}
}

func FuzzPath(f *testing.F) {
	f.Add("dc", "orders", "production", "web", "1")
	f.Add("", "..", "a;b=c", "é\n", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, cluster, project, environment, service, slot string) {
		p := Name{Project: project, Environment: environment, Service: service, Slot: slot}.Path(cluster)
		nodes := strings.Split(p, ".")
		if len(nodes) != 6 {
			t.Fatalf("%d pieces: %q", len(nodes), p)
		}
		for _, n := range nodes {
			if n == "" || len(n) > longestNode || strings.Trim(n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
				t.Fatalf("piece %q of %q", n, p)
			}
		}
	})
}
