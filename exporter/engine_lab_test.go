//go:build lab

package main

import (
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
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// onEngine is a node with the managed plugin, made of this checkout, on a real engine and a real kernel.
type onEngine struct {
	t *testing.T
	*lab.Lab
}

func install(t *testing.T) onEngine {
	t.Helper()
	l := lab.Up(t, lab.Options{Managers: 1})
	root, err := lab.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	make := exec.Command("go", "run", "./plugins/bundle/cmd", "-out", out, "metrics")
	make.Dir = root
	if text, err := make.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	e := onEngine{t, l}
	place, err := l.Path("n1", "/var/lib/bundle")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(place, os.DirFS(filepath.Join(out, "metrics"))); err != nil {
		t.Fatal(err)
	}
	if err := l.LoadShell(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.exec("mkdir", "-p", contract.StateRoot+"/metrics")
	e.docker("plugin", "create", contract.PluginMetrics, "/var/lib/bundle")
	e.docker("plugin", "set", contract.PluginMetrics, "ROLLING_INTERVAL=1s", "ROLLING_CLUSTER=lab")
	e.docker("plugin", "enable", contract.PluginMetrics)
	return e
}

func (e onEngine) exec(args ...string) string {
	e.t.Helper()
	out, err := e.Exec(e.t.Context(), "n1", args...)
	if err != nil {
		e.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (e onEngine) docker(args ...string) string {
	e.t.Helper()
	return e.exec(append([]string{"docker"}, args...)...)
}

func (e onEngine) page(path string) (string, error) {
	socket, err := e.Path("n1", contract.StateRoot+"/metrics/metrics.sock")
	if err != nil {
		return "", err
	}
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := c.Get("http://metrics" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, text)
	}
	return string(text), err
}

// figures are those of a service, by name without the prefix.
func (e onEngine) figures(service string) (map[string]float64, error) {
	text, err := e.page("/metrics")
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, "{")
		if !ok || !strings.HasPrefix(name, contract.MetricPrefix) || !strings.Contains(rest, fmt.Sprintf("service=%q", service)) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' '):], &v); err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		found[strings.TrimPrefix(name, contract.MetricPrefix)] = v
	}
	return found, nil
}

// has waits until the figures of a service are as wanted, and gives them.
func (e onEngine) has(service, what string, right func(f map[string]float64) bool) map[string]float64 {
	e.t.Helper()
	var f map[string]float64
	eventually(e.t, service+" "+what, func() (err error) {
		if f, err = e.figures(service); err == nil && !right(f) {
			err = fmt.Errorf("%v", f)
		}
		return err
	})
	return f
}

func TestARealEngineTakesThePluginAndItMeasuresRealContainers(t *testing.T) {
	e := install(t)
	e.docker("run", "-d", "--name", "busy", "--cpus", "0.2", "--memory", "64m", lab.ShellImage, "sh", "-c", "dd if=/dev/zero of=/tmp/f bs=1M count=8 2>/dev/null; while :; do :; done")
	e.docker("run", "-d", "--name", "shared", "--network", "host", lab.ShellImage, "sleep", "100000")
	f := e.has("busy", "is held back", func(f map[string]float64) bool { return f["cpu_cores"] > 0.05 && f["cpu_throttled_periods_total"] > 5 })
	if f["cpu_cores"] > 0.5 || f["memory_limit_bytes"] != 64<<20 || f["pids"] < 1 || f["cpu_seconds_total"] <= 0 {
		t.Errorf("figures: %v", f)
	}
	e.has("busy", "has received its neighbours' packets", func(f map[string]float64) bool { return f["network_receive_packets_total"] > 0 })
	if f := e.has("shared", "is there", func(f map[string]float64) bool { return len(f) > 0 }); f["network_receive_bytes_total"] != 0 {
		t.Errorf("the node's own traffic is told as a container's: %v", f)
	}
	e.sameAsDocker("busy")
	before := e.has("busy", "goes on", func(f map[string]float64) bool { return len(f) > 0 })
	e.exec("sh", "-c", "kill -9 $(pidof /exporter)")
	e.docker("restart", "-t", "0", "busy")
	after := e.has("busy", "has begun anew", func(g map[string]float64) bool { return g["restarts_total"] == 1 })
	for name, v := range before {
		if strings.HasSuffix(name, "_total") && after[name] < v {
			t.Errorf("%s went from %v to %v", name, v, after[name])
		}
	}
	e.docker("rm", "-f", "busy")
	e.has("busy", "is gone", func(f map[string]float64) bool { return len(f) == 0 })
	if text, err := e.page("/metrics/engine"); err != nil || !strings.Contains(text, "engine_daemon_engine_cpus_cpus") {
		t.Errorf("the engine's own metrics: %v: %.300s", err, text)
	}
	// The round that met the container's end may tell of files that vanished under it.
	eventually(t, "everything is read again", func() error {
		text, err := e.page("/debug/state")
		if err == nil && !strings.Contains(text, `"unread": []`) {
			err = errors.New(text)
		}
		return err
	})
	e.docker("plugin", "disable", contract.PluginMetrics)
	e.docker("plugin", "rm", contract.PluginMetrics)
}

// sameAsDocker compares with what the engine says of the same container at about the same time.
func (e onEngine) sameAsDocker(name string) {
	e.t.Helper()
	c, err := e.Client("n1")
	if err != nil {
		e.t.Fatal(err)
	}
	defer c.Close()
	got, err := c.ContainerStats(e.t.Context(), name, client.ContainerStatsOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	defer got.Body.Close()
	var s container.StatsResponse
	if err := json.NewDecoder(got.Body).Decode(&s); err != nil {
		e.t.Fatal(err)
	}
	// Time goes on between the two: ours is read later, until it has passed Docker's.
	want := float64(s.CPUStats.CPUUsage.TotalUsage) / 1e9
	f := e.has(name, fmt.Sprintf("has used %.2f s", want), func(f map[string]float64) bool { return f["cpu_seconds_total"] >= want })
	if f["cpu_seconds_total"] > want+5 {
		e.t.Errorf("CPU time: Docker says %v s, we %v s", want, f["cpu_seconds_total"])
	}
	for name, of := range map[string]struct{ docker, slack float64 }{
		"memory_usage_bytes":            {float64(s.MemoryStats.Usage), 4 << 20},
		"memory_limit_bytes":            {float64(s.MemoryStats.Limit), 0},
		"pids":                          {float64(s.PidsStats.Current), 2},
		"network_receive_packets_total": {float64(s.Networks["eth0"].RxPackets), 30},
	} {
		if d := f[name] - of.docker; d > of.slack || d < -of.slack {
			e.t.Errorf("%s: Docker says %v, we %v", name, of.docker, f[name])
		}
	}
}
