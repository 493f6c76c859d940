package swarm

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

func TestWhichContainersAreWell(t *testing.T) {
	for _, c := range []struct {
		name, state, status string
		want                bool
	}{
		{"running without a health check", "running", "Up 3 minutes", true},
		{"healthy", "running", "Up 3 minutes (healthy)", true},
		{"unhealthy", "running", "Up 3 minutes (unhealthy)", false},
		{"starting", "running", "Up 3 seconds (health: starting)", false},
		{"paused", "paused", "Up 3 minutes (Paused)", false},
		{"restarting", "restarting", "Restarting (1) 3 seconds ago", false},
		{"ended", "exited", "Exited (0) 3 seconds ago", false},
	} {
		if got := well(container.Summary{State: container.ContainerState(c.state), Status: c.status}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// words are the services in one line each.
func words(all []vip.Service) string {
	var lines []string
	for _, s := range all {
		line := fmt.Sprintf("%s %s", s.Name, s.VIP)
		for _, k := range s.Tasks {
			line += fmt.Sprintf(" %s=%s", k.Endpoint, k.Address)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

func TestWhatTheEngineSaysOfServices(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", `{}`, ""},
		{"a service with two tasks", `{"Services":{"web":{"VIP":"10.210.3.9","Tasks":[{"EndpointID":"e1","EndpointIP":"10.210.3.1"},{"EndpointID":"e2","EndpointIP":"10.210.3.2"}]}}}`,
			"web 10.210.3.9 e1=10.210.3.1 e2=10.210.3.2"},
		{"services without a virtual address, by older and newer engines", `{"Services":{"a":{"VIP":"<nil>","Tasks":[]},"b":{"VIP":"","Tasks":null},"c":{"VIP":"10.210.3.9"}}}`, "c 10.210.3.9"},
		{"containers that are no tasks have no service's name", `{"Services":{"":{"VIP":"<nil>","Tasks":[{"EndpointID":"e1","EndpointIP":"10.210.3.1"}]}}}`, ""},
		{"a task without an address", `{"Services":{"web":{"VIP":"10.210.3.9","Tasks":[{"EndpointID":"e1","EndpointIP":"<nil>"}]}}}`, "web 10.210.3.9"},
	} {
		var told told
		if err := json.Unmarshal([]byte(c.text), &told); err != nil {
			t.Fatal(err)
		}
		if got := words(told.services("n1")); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func FuzzToldServices(f *testing.F) {
	f.Add(`{"Services":{"web":{"VIP":"10.210.3.9","Tasks":[{"EndpointID":"e1","EndpointIP":"10.210.3.1"}]}}}`)
	f.Add(`{"Services":{"a":{"VIP":"<nil>"},"b":{"VIP":"fd00::1"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var told told
		if json.Unmarshal([]byte(text), &told) != nil {
			return
		}
		for _, s := range told.services("n1") {
			if !s.VIP.Is4() || s.Name == "" {
				t.Errorf("%q has the service %+v", text, s)
			}
			for _, k := range s.Tasks {
				if !k.Address.Is4() {
					t.Errorf("%q has the task %+v", text, k)
				}
			}
		}
	})
}

// talk is an engine that answers of one network, and may be silent or know nothing of another.
type talk struct{ silent atomic.Bool }

func (e *talk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", "1.41")
	switch {
	case e.silent.Load():
		http.Error(w, `{"message":"it starts"}`, http.StatusServiceUnavailable)
	case strings.HasSuffix(r.URL.Path, "/_ping"):
	case strings.HasSuffix(r.URL.Path, "/containers/json"):
		fmt.Fprint(w, `[{"Id":"c1","State":"running","Status":"Up (unhealthy)","NetworkSettings":{"Networks":{"app":{"EndpointID":"e1"}}}}]`)
	case strings.HasSuffix(r.URL.Path, "/networks/n1") && r.URL.Query().Get("verbose") == "true":
		fmt.Fprint(w, `{"Services":{"web":{"VIP":"10.210.3.9","Tasks":[{"EndpointID":"e1","EndpointIP":"10.210.3.1"}]}}}`)
	default:
		http.NotFound(w, r)
	}
}

func TestALookAtTheEngine(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	engine := &talk{}
	server := &http.Server{Handler: engine, ReadHeaderTimeout: time.Second}
	go server.Serve(l) //nolint:errcheck // ends with Close
	defer server.Close()
	s, err := NewServices("unix://"+socket, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	asked := []vip.Question{{Network: "n1"}, {Network: "n2"}}
	seen, err := s.look(t.Context(), asked)
	if err == nil || !strings.Contains(err.Error(), "/networks/n2") {
		t.Errorf("a network that it does not know: %v", err)
	}
	if _, answered := seen.Services["n2"]; answered || words(seen.Services["n1"]) != "web 10.210.3.9 e1=10.210.3.1" || seen.Young {
		t.Errorf("it saw %+v", seen)
	}
	if well, said := seen.Fit["e1"]; !said || well {
		t.Errorf("the unhealthy container is %v, %v", well, said)
	}
	engine.silent.Store(true)
	if seen, err = s.look(t.Context(), asked); err == nil || seen.Services != nil {
		t.Errorf("a silent engine said %+v, %v", seen, err)
	}
	engine.silent.Store(false)
	if seen, err = s.look(t.Context(), asked[:1]); err != nil || !seen.Young {
		t.Errorf("an engine that answers again: %+v, %v", seen, err)
	}
	if seen, err = s.look(t.Context(), asked[:1]); err != nil || seen.Young {
		t.Errorf("a moment later: %+v, %v", seen, err)
	}
}
