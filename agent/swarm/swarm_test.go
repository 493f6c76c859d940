package swarm

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rolling-swarm/rolling/agent/member"
)

// fakeEngine answers as the engine's API does, on a unix socket, with the answers laid out by path.
type fakeEngine struct {
	mu      sync.Mutex
	answers map[string]string // guarded by mu: by path without the version; "503 text" is an error
	asked   []string          // guarded by mu: path and query
}

var versionPrefix = regexp.MustCompile(`^/v1\.\d+`)

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := versionPrefix.ReplaceAllString(r.URL.Path, "")
	w.Header().Set("Api-Version", "1.41") // engine 20.10
	w.Header().Set("Content-Type", "application/json")
	if path == "/_ping" {
		return
	}
	f.asked = append(f.asked, path+"?"+r.URL.RawQuery)
	answer, ok := f.answers[path]
	if !ok {
		answer = "404 no such object"
	}
	for code, status := range map[string]int{"404 ": 404, "500 ": 500, "503 ": 503} {
		if text, is := strings.CutPrefix(answer, code); is {
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
			return
		}
	}
	_, _ = w.Write([]byte(answer))
}

func (f *fakeEngine) set(path, answer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[path] = answer
}

func startFake(t *testing.T) (*fakeEngine, *Engine) {
	t.Helper()
	f := &fakeEngine{answers: map[string]string{
		"/info":     `{"Swarm":{"NodeID":"node1"}}`,
		"/swarm":    `{"ID":"cluster1"}`,
		"/nodes":    `[{"ID":"node1","Description":{"Hostname":"n1"}},{"ID":"node2","Description":{"Hostname":"n2"}}]`,
		"/services": `[]`,
		"/tasks":    `[]`,
	}}
	path := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	e, err := New("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return f, e
}

func TestLeading(t *testing.T) {
	for _, c := range []struct {
		name, info, node string
		want, fails      bool
	}{
		{"the leader", `{"Swarm":{"NodeID":"node1"}}`, `{"ID":"node1","ManagerStatus":{"Leader":true,"Reachability":"reachable"}}`, true, false},
		{"a manager that follows", `{"Swarm":{"NodeID":"node1"}}`, `{"ID":"node1","ManagerStatus":{"Reachability":"reachable"}}`, false, false},
		{"a worker", `{"Swarm":{"NodeID":"node1"}}`, "503 This node is not a swarm manager.", false, false},
		{"a node in no Swarm", `{"Swarm":{"NodeID":""}}`, "", false, false},
		{"a node that joined another Swarm", `{"Swarm":{"NodeID":"node1"}}`, "404 node node1 not found", false, false},
		{"a Swarm without a majority", `{"Swarm":{"NodeID":"node1"}}`, "500 rpc error: code = Unknown desc = The swarm does not have a leader.", false, true},
		{"an engine that is ill", "500 no", "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, e := startFake(t)
			f.set("/info", c.info)
			if c.node != "" {
				f.set("/nodes/node1", c.node)
			}
			got, err := e.Leading(t.Context())
			if got != c.want || (err != nil) != c.fails {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// TestAManagerStandsInForADrainedLeader, and one alone: Swarm lets no agent run on a drained node.
func TestAManagerStandsInForADrainedLeader(t *testing.T) {
	node := func(id, availability, state string, leads bool) string {
		return fmt.Sprintf(`{"ID":%q,"Spec":{"Availability":%q},"Status":{"State":%q},"ManagerStatus":{"Leader":%t,"Reachability":"reachable"}}`, id, availability, state, leads)
	}
	for _, c := range []struct {
		name  string
		nodes []string // node1, node2, node3
		want  string
	}{
		{"the leader, while it has an agent", []string{node("node1", "active", "ready", false), node("node2", "pause", "ready", true), node("node3", "active", "ready", false)}, "node2"},
		{"the first of the others", []string{node("node1", "active", "ready", false), node("node2", "drain", "ready", true), node("node3", "active", "ready", false)}, "node1"},
		{"the first that is there", []string{node("node1", "active", "down", false), node("node2", "drain", "ready", true), node("node3", "active", "ready", false)}, "node3"},
		{"the first that is not drained, too", []string{node("node1", "drain", "ready", false), node("node2", "drain", "ready", true), node("node3", "active", "ready", false)}, "node3"},
		{"the leader, where nobody else can", []string{node("node1", "drain", "ready", false), node("node2", "drain", "ready", true), node("node3", "active", "down", false)}, "node2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, n := range c.nodes {
				self := fmt.Sprintf("node%d", i+1)
				f, e := startFake(t)
				f.set("/info", fmt.Sprintf(`{"Swarm":{"NodeID":%q}}`, self))
				f.set("/nodes/"+self, n)
				f.set("/nodes", "["+strings.Join(c.nodes, ",")+"]")
				got, err := e.Leading(t.Context())
				if err != nil || got != (self == c.want) {
					t.Errorf("%s says %t, %v; want %s to do it", self, got, err, c.want)
				}
			}
		})
	}
}

func TestLeadingLooksItsOwnIDUpAgainAfterItLeftTheSwarm(t *testing.T) {
	f, e := startFake(t)
	if _, err := e.Leading(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.set("/info", `{"Swarm":{"NodeID":"node9"}}`)
	f.set("/nodes/node9", `{"ManagerStatus":{"Leader":true}}`)
	if leads, err := e.Leading(t.Context()); err != nil || !leads {
		t.Errorf("got %v, %v", leads, err)
	}
}

const oneService = `[{"ID":"s1","CreatedAt":"2026-03-02T09:00:00Z",
	"Spec":{"Name":"orders_web","Labels":{"rolling.discovery.nginx":"orders:8080"},"Mode":{"Replicated":{"Replicas":2}}},
	"PreviousSpec":{"Name":"orders_web","Labels":{"a":"b"},"Mode":{"Replicated":{"Replicas":0}}}},
	{"ID":"s2","Spec":{"Name":"off","Mode":{"Replicated":{"Replicas":0}}}},
	{"ID":"s3","Spec":{"Name":"everywhere","Mode":{"Global":{}}}}]`

const twoTasks = `[{"ID":"t1","ServiceID":"s1","Slot":2,"NodeID":"node2","UpdatedAt":"2026-03-02T09:00:05.25Z","DesiredState":"running",
	"Status":{"State":"running"},"Spec":{"ContainerSpec":{"Labels":{"rolling.release":"r7"}}},
	"NetworksAttachments":[
	  {"Network":{"Spec":{"Name":"ingress"},"DriverState":{"Name":"overlay"}},"Addresses":["10.0.0.7/24"]},
	  {"Network":{"Spec":{"Name":"orders_app"},"DriverState":{"Name":"rolling/net:latest"}},"Addresses":["10.210.3.7/24"]}]},
	{"ID":"t2","ServiceID":"s1","Slot":1,"NodeID":"gone","DesiredState":"remove","Status":{"State":"failed"},
	"NetworksAttachments":[{"Network":{"Spec":{"Name":"orders_app","DriverConfiguration":{"Name":"rolling/net:latest"}}},"Addresses":[]}]}]`

func TestObserve(t *testing.T) {
	f, e := startFake(t)
	f.set("/services", oneService)
	f.set("/tasks", twoTasks)
	o, err := e.Observe(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Whole || len(o.Services) != 3 || len(o.Tasks) != 2 {
		t.Fatalf("got %+v", o)
	}
	s := o.Services[0]
	if s.Name != "orders_web" || s.Stopped || s.Labels["rolling.discovery.nginx"] != "orders:8080" || s.Previous["a"] != "b" || s.Created.IsZero() {
		t.Errorf("service %+v", s)
	}
	if !o.Services[1].Stopped || o.Services[2].Stopped {
		t.Errorf("stopped: %+v", o.Services)
	}
	task := o.Tasks[0]
	if task.Slot != 2 || task.Node != "n2" || task.State != member.Running || task.Desired != member.Running || task.Release != "r7" || task.Updated.IsZero() {
		t.Errorf("task %+v", task)
	}
	if len(task.Addresses) != 1 || task.Addresses[0].Network != "orders_app" || task.Addresses[0].Host.String() != "10.210.3.7" {
		t.Errorf("addresses %+v", task.Addresses)
	}
	if len(o.Tasks[1].Addresses) != 0 || o.Tasks[1].Desired != member.Remove {
		t.Errorf("task %+v", o.Tasks[1])
	}
}

func TestObserveAsksForNamesOnceAndForRunningTasksOnly(t *testing.T) {
	f, e := startFake(t)
	f.set("/tasks", twoTasks)
	for range 3 {
		if _, err := e.Observe(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	nodes := 0
	for _, a := range f.asked {
		if strings.HasPrefix(a, "/nodes?") {
			nodes++
		}
		if strings.HasPrefix(a, "/tasks?") && !strings.Contains(a, "desired-state") {
			t.Errorf("asked %s", a)
		}
	}
	if nodes != 1 {
		t.Errorf("nodes were listed %d times", nodes)
	}
}

func TestObserveIsWholeOrAnError(t *testing.T) {
	for _, path := range []string{"/tasks", "/services", "/nodes"} {
		for _, answer := range []string{"500 broken", `[{"ID":"t1","No`} {
			t.Run(path+" "+answer[:4], func(t *testing.T) {
				f, e := startFake(t)
				f.set("/tasks", twoTasks)
				f.set("/services", oneService)
				f.set(path, answer)
				if o, err := e.Observe(t.Context(), true); err == nil {
					t.Errorf("got %+v", o)
				}
			})
		}
	}
}

func TestAnEngineThatIsAwayIsAnError(t *testing.T) {
	e, err := New("unix://" + filepath.Join(t.TempDir(), "nobody.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := e.Leading(ctx); err == nil {
		t.Error("no error")
	}
	if _, err := e.Cluster(ctx); err == nil {
		t.Error("no error")
	}
}
