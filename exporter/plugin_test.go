package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// asPlugin makes the test's own binary the plugin: what is killed is the real program.
const asPlugin = "ROLLING_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// node is what the plugin sees of a machine: an engine faked at its API, a recorded tree, a Graphite server that notes lines.
type node struct {
	t        testing.TB
	folder   string
	graphite net.Listener
	cmd      *exec.Cmd

	mu         sync.Mutex // guards what follows
	containers []map[string]any
	told       chan string // events that wait
	last       map[string]float64
	back       []string // counters that went backwards
	seen       map[string]bool
}

var id = "c2" + strings.Repeat("0", 62)

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, folder: t.TempDir(), told: make(chan string, 10), last: map[string]float64{}, seen: map[string]bool{}}
	if err := os.CopyFS(n.folder, os.DirFS("cgroup/testdata/v2")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(n.folder, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: n}
	go s.Serve(l) //nolint:errcheck // ends with Close
	if n.graphite, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go n.listen()
	t.Cleanup(func() { n.kill(); s.Close(); n.graphite.Close() })
	return n
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w.Header().Set("Api-Version", "1.41")
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/_ping"):
	case strings.HasSuffix(path, "/info"):
		_ = json.NewEncoder(w).Encode(map[string]any{"Name": "n1.example"})
	case strings.HasSuffix(path, "/containers/json"):
		list := []map[string]any{}
		for _, c := range n.containers {
			list = append(list, map[string]any{"Id": c["Id"]})
		}
		_ = json.NewEncoder(w).Encode(list)
	case strings.HasSuffix(path, "/events"):
		n.mu.Unlock()
		n.stream(w, r)
		n.mu.Lock()
	default:
		for _, c := range n.containers {
			if strings.Contains(path, c["Id"].(string)) {
				_ = json.NewEncoder(w).Encode(c)
				return
			}
		}
		http.Error(w, `{"message":"no such container"}`, http.StatusNotFound)
	}
}

func (n *node) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-n.told:
			fmt.Fprintf(w, `{"Type":"container","Action":%q,"Actor":{"ID":%q}}`+"\n", e, id)
			w.(http.Flusher).Flush()
		}
	}
}

// runs is what the engine says of the containers; each is a task's.
func (n *node) runs(event string, started time.Time, tasks ...string) {
	n.mu.Lock()
	n.containers = nil
	n.mu.Unlock()
	for _, task := range tasks {
		n.add(id, task, "1", 102, started)
	}
	n.told <- event
}

// add is one more container of the service web.
func (n *node) add(id, task, slot string, pid int, started time.Time) {
	labels := map[string]string{contract.Project: "orders", contract.Environment: "production", contract.Service: "web",
		"com.docker.swarm.service.name": "web", "com.docker.swarm.task.id": task, "com.docker.swarm.task.name": "web." + slot + "." + task}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.containers = append(n.containers, map[string]any{"Id": id, "Name": "/web." + slot + "." + task, "Created": started.Format(time.RFC3339Nano),
		"State": map[string]any{"Running": true, "Pid": pid, "StartedAt": started.Format(time.RFC3339Nano)}, "Config": map[string]any{"Labels": labels},
		"HostConfig": map[string]any{"NetworkMode": "default"}})
}

// used is what the kernel says of the container's CPU time.
func (n *node) used(seconds int) {
	n.t.Helper()
	text := fmt.Sprintf("usage_usec %d\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n", seconds*1_000_000)
	if err := os.WriteFile(filepath.Join(n.folder, "cgroup/docker", id, "cpu.stat"), []byte(text), 0o644); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) listen() {
	for {
		c, err := n.graphite.Accept()
		if err != nil {
			return
		}
		go func() {
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				n.note(lines.Text())
			}
		}()
	}
}

// note looks at each line: one that comes twice is the same, and no counter is less than before.
func (n *node) note(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[line] {
		return
	}
	n.seen[line] = true
	f := strings.Fields(line)
	v, err := strconv.ParseFloat(f[1], 64)
	if err != nil || len(f) != 3 {
		n.back = append(n.back, "no line: "+line)
		return
	}
	if strings.HasSuffix(f[0], "_total") && v < n.last[f[0]] {
		n.back = append(n.back, fmt.Sprintf("%s went from %v to %v", f[0], n.last[f[0]], v))
	}
	n.last[f[0]] = v
}

func (n *node) start(env ...string) {
	n.t.Helper()
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(append(os.Environ(), asPlugin+"=1", "ROLLING_SOCKET="+filepath.Join(n.folder, "p", "metrics.sock"), "ROLLING_STATE="+filepath.Join(n.folder, "state"),
		"ROLLING_ENGINE=unix://"+filepath.Join(n.folder, "docker.sock"), "ROLLING_CGROUPS="+filepath.Join(n.folder, "cgroup"), "ROLLING_PROC="+filepath.Join(n.folder, "proc"),
		"ROLLING_INTERVAL=1s", "ROLLING_CLUSTER=dc", "ROLLING_GRAPHITE="+n.graphite.Addr().String()), env...)
	n.cmd.Stderr = n.t.Output()
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) kill() {
	if n.cmd != nil && n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
	}
}

func (n *node) ask(socket, path string) (string, error) {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.folder, socket))
	}}}
	resp, err := c.Get("http://plugin" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}

// reaches waits until the slot's CPU time in Graphite is that.
func (n *node) reaches(seconds float64) {
	n.t.Helper()
	eventually(n.t, fmt.Sprintf("the slot's CPU time is %v", seconds), func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if got := n.last["rolling.dc.orders.production.web.1.cpu_seconds_total"]; got != seconds {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// TestACounterGoesOnOverEveryKindOfRestart: of the plugin by SIGKILL, of the container in between, of the task in its slot.
func TestACounterGoesOnOverEveryKindOfRestart(t *testing.T) {
	n := newNode(t)
	began := time.Now().Add(-time.Hour)
	n.used(100)
	n.runs("start", began, "task1")
	n.start()
	n.reaches(100)
	n.used(150)
	n.reaches(150)
	n.kill()
	n.used(160)
	n.start()
	n.reaches(160)
	n.kill()
	n.used(7)
	n.runs("start", began.Add(time.Minute), "task1") // started anew while nobody looked
	n.start()
	n.reaches(167)
	n.used(3)
	n.runs("start", began.Add(2*time.Minute), "task2")
	n.reaches(170)
	metrics, err := n.ask("state/metrics.sock", "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	want := `rolling_container_cpu_seconds_total{cluster="dc",environment="production",node="n1.example",project="orders",service="web",slot="1",task="task2"} 3`
	if !strings.Contains(metrics, want) || strings.Contains(metrics, `task="task1"`) {
		t.Errorf("want %s and nothing of task1 in\n%s", want, metrics)
	}
	n.runs("die", began)
	eventually(t, "the series ends with its container", func() error {
		metrics, err := n.ask("state/metrics.sock", "/metrics")
		if err == nil && strings.Contains(metrics, "rolling_container_") {
			err = errors.New("it goes on")
		}
		return err
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.back) > 0 {
		t.Error(strings.Join(n.back, "\n"))
	}
}

func TestThePluginsPages(t *testing.T) {
	n := newNode(t)
	n.runs("start", time.Now(), "task1")
	n.start("ROLLING_ENGINE_METRICS=" + filepath.Join(n.folder, "engine.sock"))
	for _, call := range []struct{ path, want string }{
		{"/Plugin.Activate", `{"Implements":["MetricsCollector"]}`}, {"/MetricsCollector.StartMetrics", `{"Err":""}`}, {"/MetricsCollector.StopMetrics", `{"Err":""}`},
	} {
		eventually(t, call.path, func() error {
			got, err := n.ask("p/metrics.sock", call.path)
			if err == nil && strings.TrimSpace(got) != call.want {
				err = fmt.Errorf("%s answers %s, want %s", call.path, got, call.want)
			}
			return err
		})
	}
	if _, err := n.ask("p/metrics.sock", "/MetricsCollector.Nonsense"); err == nil {
		t.Error("a call that is none is answered")
	}
	eventually(t, "ready", func() error { _, err := n.ask("state/metrics.sock", "/readyz"); return err })
	for path, want := range map[string]string{"/healthz": "ok", "/recent": `"task":"task1"`, "/debug/state": `"path": "rolling.dc.orders.production.web.1"`, "/metrics": "rolling_metrics_rounds_total"} {
		if got, err := n.ask("state/metrics.sock", path); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, lacks %q: %s", path, err, want, got)
		}
	}
	if _, err := n.ask("state/metrics.sock", "/metrics/engine"); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("without the engine's socket: %v", err)
	}
	l, err := net.Listen("unix", filepath.Join(n.folder, "engine.sock"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.URL.Path, "engine_daemon_engine_cpus 2")
	})}
	go s.Serve(l) //nolint:errcheck // ends with Close
	defer s.Close()
	if got, err := n.ask("state/metrics.sock", "/metrics/engine"); err != nil || got != "/metrics engine_daemon_engine_cpus 2\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := n.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("it does not end well: %v", err)
	}
}

func TestATornRecordIsSaidAndMeasuringGoesOn(t *testing.T) {
	n := newNode(t)
	if err := os.MkdirAll(filepath.Join(n.folder, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.folder, "state", "totals"), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.used(5)
	n.runs("start", time.Now(), "task1")
	n.start()
	n.reaches(5)
}

func TestABadSettingEndsTheProcessWithAReason(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asPlugin+"=1", "ROLLING_INTERVAL=1ms")
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(text), "ROLLING_INTERVAL: 1ms") {
		t.Fatalf("%v: %s", err, text)
	}
}
