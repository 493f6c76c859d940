package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDefaultsWork(t *testing.T) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "ROLLING_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Socket: "/run/docker/plugins/metrics.sock", State: "/var/lib/rolling/metrics", Engine: "unix:///run/docker.sock", EngineMetrics: "/run/docker/metrics.sock",
		Groups: "/host/cgroup", Proc: "/host/proc", Interval: 10 * time.Second, Cluster: "main", GraphiteBuffer: 500_000, LogLevel: slog.LevelInfo,
	}
	if c != want || c.StatusSocket() != "/var/lib/rolling/metrics/metrics.sock" {
		t.Fatalf("got %+v", c)
	}
}

func TestAllProblemsAreSaidAtOnce(t *testing.T) {
	for k, v := range map[string]string{
		"ROLLING_SOCKET": "metrics.sock", "ROLLING_STATE": "/" + strings.Repeat("x", 120), "ROLLING_ENGINE": "", "ROLLING_INTERVAL": "1500ms",
		"ROLLING_CLUSTER": "a.b", "ROLLING_GRAPHITE_BUFFER": "10", "ROLLING_GRAPHITE": "graphite", "ROLLING_METRICS_LISTEN": "9324", "ROLLING_PROC": "proc",
	} {
		t.Setenv(k, v)
	}
	_, err := readConfig()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"settings: 8 problems:", `ROLLING_SOCKET: "metrics.sock": want an absolute path`, "ROLLING_STATE: ", "ROLLING_INTERVAL: 1.5s: want whole seconds",
		`ROLLING_CLUSTER: "a.b"`, "ROLLING_GRAPHITE_BUFFER: 10", "ROLLING_GRAPHITE: address graphite", "ROLLING_METRICS_LISTEN: ", `ROLLING_PROC: "proc"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %q:\n%v", want, err)
		}
	}
}

func TestDashboardsAreWritten(t *testing.T) {
	out := t.TempDir()
	if err := command([]string{"dashboards", "--project", "orders", "--environment", "test", "--environment", "production", "--out", out}, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dashboards/orders.json", "provisioning/datasources/rolling.yaml", "provisioning/dashboards/rolling.yaml"} {
		if text, err := os.ReadFile(filepath.Join(out, name)); err != nil || len(text) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, wrong := range [][]string{{"dashboard"}, {"dashboards"}, {"dashboards", "--project", "x"}, {"dashboards", "--project", "x", "--environment", ""}, {"dashboards", "--project", "x", "--environment", "y", "z"}} {
		if err := command(wrong, io.Discard); err == nil {
			t.Errorf("%v is accepted", wrong)
		}
	}
}
