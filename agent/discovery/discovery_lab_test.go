//go:build lab

package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
)

// fakeEngine is the engine's API of a leader, for one service whose tasks are programs of this test.
type fakeEngine struct {
	mu    sync.Mutex
	tasks []*fakeTask // guarded by mu
}

// fakeTask is a task with a real server behind it, on a loopback address of its own.
type fakeTask struct {
	ID, ServiceID, NodeID string
	Slot                  int
	UpdatedAt             time.Time
	DesiredState          string
	Status                struct{ State string }
	NetworksAttachments   []any

	server *http.Server
	hits   atomic.Int64
}

var apiVersion = regexp.MustCompile(`^/v1\.\d+`)

func (f *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Api-Version", "1.44")
	w.Header().Set("Content-Type", "application/json")
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch apiVersion.ReplaceAllString(r.URL.Path, "") {
	case "/info":
		answer(map[string]any{"Swarm": map[string]any{"NodeID": "node1"}})
	case "/nodes/node1":
		answer(map[string]any{"ID": "node1", "ManagerStatus": map[string]any{"Leader": true}})
	case "/swarm":
		answer(map[string]any{"ID": "cluster1"})
	case "/nodes":
		answer([]any{map[string]any{"ID": "node1", "Description": map[string]any{"Hostname": "n1"}}})
	case "/services":
		answer([]any{map[string]any{"ID": "s", "Spec": map[string]any{"Name": "orders_web", "Labels": map[string]string{
			"rolling.project": "orders", "rolling.discovery.nginx": "orders:8080", "rolling.discovery.zookeeper": "/service/orders:8080"}}}})
	case "/tasks":
		running := strings.Contains(r.URL.RawQuery, "desired-state")
		answer(slices.DeleteFunc(slices.Clone(f.tasks), func(t *fakeTask) bool { return running && t.DesiredState != "running" }))
	}
}

// join starts a task's program and lets Swarm call it healthy.
func (f *fakeEngine) join(t *testing.T, slot int) *fakeTask {
	t.Helper()
	host := fmt.Sprintf("127.200.0.%d", slot)
	listener, err := net.Listen("tcp", host+":8080")
	if err != nil {
		t.Fatal(err)
	}
	task := &fakeTask{ID: fmt.Sprint("t", slot), ServiceID: "s", NodeID: "node1", Slot: slot, DesiredState: "running", UpdatedAt: time.Now()}
	task.Status.State = "running"
	task.NetworksAttachments = []any{map[string]any{"Addresses": []string{host + "/24"},
		"Network": map[string]any{"Spec": map[string]any{"Name": "app"}, "DriverState": map[string]any{"Name": "rolling/net:latest"}}}}
	task.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		task.hits.Add(1)
		_, _ = io.WriteString(w, task.ID)
	})}
	go func() { _ = task.server.Serve(listener) }()
	t.Cleanup(func() { _ = task.server.Close() })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tasks = append(f.tasks, task)
	return task
}

// stop does what Swarm does: it decides, and the program gets its signal 3.1 s later.
func (f *fakeEngine) stop(task *fakeTask) {
	f.mu.Lock()
	task.DesiredState, task.UpdatedAt = "shutdown", time.Now()
	f.mu.Unlock()
	time.Sleep(3100 * time.Millisecond)
	_ = task.server.Shutdown(context.Background())
	f.mu.Lock()
	task.Status.State = "shutdown"
	f.mu.Unlock()
}

func startEngine(t *testing.T) (*fakeEngine, string) {
	t.Helper()
	f := &fakeEngine{}
	path := filepath.Join(t.TempDir(), "docker.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return f, "unix://" + path
}

func startLoop(t *testing.T, c Config, engine, node string) *Loop {
	t.Helper()
	l, err := Open(c, engine, node, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return l
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

// TestRealRolloutFailsNoRequest rolls a service of three over, start-first, under steady requests through nginx, while a
// finagle reader's view of ZooKeeper is compared, ZooKeeper is killed and nginx is killed.
func TestRealRolloutFailsNoRequest(t *testing.T) {
	n, z := alone.New(t, "nginx"), alone.New(t, "zookeeper")
	n.Start()
	z.Start()
	engine, host := startEngine(t)
	first := []*fakeTask{engine.join(t, 1), engine.join(t, 2), engine.join(t, 3)}
	l := startLoop(t, Config{Nginx: []string{parts.NginxDoor(n.Site)}, NginxToken: parts.NginxToken, ZooKeeper: []string{parts.ZooKeeperAddress(z.Site)}}, host, "n1")
	inStep := func() bool {
		r := l.Report()
		return len(r.Registries) == 2 && r.Registries[0].InStep && r.Registries[1].InStep
	}
	eventually(t, "both registries in step", inStep)

	var total, bad atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for ctx.Err() == nil {
				total.Add(1)
				if ask(n) != http.StatusOK {
					bad.Add(1)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	var lags []time.Duration
	for i, old := range first {
		fresh := engine.join(t, 4+i)
		eventually(t, "the new one is asked", func() bool { return fresh.hits.Load() > 0 })
		lags = append(lags, time.Since(fresh.UpdatedAt))
		engine.stop(old)
		if i == 0 {
			z.Kill() // the rest of the rollout goes on without it
		}
	}
	stop()
	clients.Wait()
	t.Logf("%d requests, %d bad; healthy → first request through nginx %v", total.Load(), bad.Load(), lags)
	if bad.Load() > 0 || total.Load() < 500 {
		t.Errorf("%d of %d requests went wrong", bad.Load(), total.Load())
	}

	z.Start()
	eventually(t, "both registries in step", inStep)
	c, _, err := zk.Connect([]string{parts.ZooKeeperAddress(z.Site)}, 4*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names, _, err := c.Children("/service/orders")
	if err != nil || len(names) != 3 {
		t.Errorf("members in ZooKeeper: %v, %v", names, err)
	}
}

func ask(n *alone.Part) int {
	request, err := http.NewRequest(http.MethodGet, "http://"+n.Site.Router.String()+"/", nil)
	if err != nil {
		return 0
	}
	request.Host = "orders"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

// TestRealLagFromHealthyToNginx measures what a person waits for: a task is healthy, nginx has it.
func TestRealLagFromHealthyToNginx(t *testing.T) {
	n := alone.New(t, "nginx")
	n.Start()
	engine, host := startEngine(t)
	engine.join(t, 1)
	l := startLoop(t, Config{Nginx: []string{parts.NginxDoor(n.Site)}, NginxToken: parts.NginxToken}, host, "n1")
	eventually(t, "in step", func() bool { r := l.Report(); return len(r.Registries) == 1 && r.Registries[0].Writes == 1 })
	var lags []time.Duration
	for i := range 20 {
		time.Sleep(time.Duration(i*37%500) * time.Millisecond) // at any moment between two looks
		writes := l.Report().Registries[0].Writes
		engine.join(t, 2+i)
		eventually(t, "a push", func() bool { return l.Report().Registries[0].Writes > writes })
		lags = append(lags, l.Report().Registries[0].Lag)
	}
	slices.Sort(lags)
	t.Logf("healthy → nginx: p50 %v, longest %v", lags[10], lags[19])
	if lags[19] > 5*time.Second {
		t.Errorf("the longest took %v", lags[19])
	}
}

// TestRealTwoLeadersAreHarmless lets two agents believe that they lead, as they may for some seconds.
func TestRealTwoLeadersAreHarmless(t *testing.T) {
	n := alone.New(t, "nginx")
	n.Start()
	engine, host := startEngine(t)
	engine.join(t, 1)
	c := Config{Nginx: []string{parts.NginxDoor(n.Site)}, NginxToken: parts.NginxToken}
	old := startLoop(t, c, host, "n1")
	eventually(t, "the old one in step", func() bool { r := old.Report(); return len(r.Registries) == 1 && r.Registries[0].InStep })
	time.Sleep(2500 * time.Millisecond) // a leader that is deposed decided a while ago
	young := startLoop(t, c, host, "n2")
	eventually(t, "the young one in step", func() bool { r := young.Report(); return len(r.Registries) == 1 && r.Registries[0].InStep })
	eventually(t, "the old one yields", func() bool {
		return strings.Contains(old.Report().Registries[0].Error, "agent of n2") || !young.Report().Registries[0].InStep
	})
	for range 50 {
		if status := ask(n); status != http.StatusOK {
			t.Fatalf("got %d", status)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if !young.Report().Registries[0].InStep {
		t.Errorf("the young one: %+v", young.Report().Registries[0])
	}
}
