package status

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serving starts the door on a socket of the test.
func serving(t *testing.T, socket string, pages Pages) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, socket, pages.Handler()) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, err := Ask(t.Context(), socket, "/healthz")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestThePagesSayWhatTheRoomsSay(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent", "agent.sock")
	problems := []string{}
	count := prometheus.NewGauge(prometheus.GaugeOpts{Name: "rolling_agent_sample"})
	count.Set(7)
	serving(t, socket, Pages{
		Problems:   func() []string { return problems },
		State:      func() any { return map[string]int{"sample": 8} },
		Collectors: []prometheus.Collector{count},
	})
	for page, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "rolling_agent_sample 7", "/debug/state": `"sample": 8`} {
		if got, err := Ask(t.Context(), socket, page); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, no %q in\n%s", page, err, want, got)
		}
	}
	problems = []string{"plugin a: x", "plugin b: y"}
	_, err := Ask(t.Context(), socket, "/readyz")
	if err == nil || err.Error() != "not ready: plugin a: x\nnot ready: plugin b: y" {
		t.Errorf("readyz says %v", err)
	}
	if _, err := Ask(t.Context(), socket, "/healthz"); err != nil {
		t.Errorf("an agent that is not ready is not alive: %v", err)
	}
	if s, err := os.Stat(filepath.Dir(socket)); err != nil || s.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder: %v, %v", s, err)
	}
}

func TestASocketThatAKilledAgentLeftIsTakenOver(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	serving(t, socket, Pages{Problems: func() []string { return nil }})
}

func TestNobodyThereIsAnError(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	if _, err := Ask(t.Context(), socket, "/readyz"); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("got %v", err)
	}
}
