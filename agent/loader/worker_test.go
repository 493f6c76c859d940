package loader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/internal/worker"
)

const framedConfig = `{"entrypoint": ["/launcher", "/var/lib/rolling/log/worker", "/run/docker/plugins/log.sock", "/logdriver"],
 "mounts": [{"source": "/var/lib/rolling/log", "destination": "/var/lib/rolling/log"}],
 "env": [{"name": "ROLLING_BUILD", "value": "sha256:b1"}, {"name": "ROLLING_FRAME", "value": "f1"}, {"name": "ROLLING_LOG_LEVEL", "value": "info", "settable": ["value"]}]}`

// framed is an engine that has a plugin with a launcher.
func framed(t *testing.T) (*wire, *Engine, bundle.Bundle, string) {
	t.Helper()
	folder, state := t.TempDir(), filepath.Join(t.TempDir(), "rolling")
	lay(t, folder, "log", framedConfig)
	if err := os.WriteFile(filepath.Join(folder, "log", "rootfs", "logdriver"), []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	found, err := Find(folder)
	if err != nil || len(found) != 1 || found[0].Frame != "f1" {
		t.Fatalf("found %+v, %v", found, err)
	}
	w, host := engine(t)
	e, err := New(host, state, found)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return w, e, found[0].Bundle, filepath.Join(state, "log", worker.Folder)
}

func do(t *testing.T, e *Engine, b bundle.Bundle, verb bundle.Verb, settings ...string) {
	t.Helper()
	if err := e.Do(t.Context(), b, bundle.Step{Verb: verb, Settings: settings}); err != nil {
		t.Fatal(err)
	}
}

func TestWhatTheLauncherSaysIsWhatRuns(t *testing.T) {
	_, e, b, folder := framed(t)
	do(t, e, b, bundle.Lay, "ROLLING_LOG_LEVEL=debug")
	do(t, e, b, bundle.Create)
	if i, err := e.Installed(t.Context(), b.Alias); err != nil || i.Build != "" || i.Frame != "f1" {
		t.Errorf("before its launcher said anything: %+v, %v", i, err)
	}
	order, err := worker.Ordered(folder)
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.Fetch(folder, order.Name, filepath.Join(t.TempDir(), "p"))
	if err != nil || w.Build != b.Build || w.Settings["ROLLING_LOG_LEVEL"] != "debug" {
		t.Fatalf("laid %+v, %v", w, err)
	}
	said := worker.Status{Running: order.Name, Build: w.Build, Settings: w.Settings, Order: order}
	if err := worker.WriteStatus(folder, said); err != nil {
		t.Fatal(err)
	}
	do(t, e, b, bundle.Await)
	if i, err := e.Installed(t.Context(), b.Alias); err != nil || i.Build != b.Build || i.Values["ROLLING_LOG_LEVEL"] != "debug" {
		t.Errorf("it has %+v, %v", i, err)
	}
	said.Problem = "it ended: exit status 1"
	if err := worker.WriteStatus(folder, said); err != nil {
		t.Fatal(err)
	}
	if err := e.Do(t.Context(), b, bundle.Step{Verb: bundle.Await}); err == nil || !strings.Contains(err.Error(), said.Problem) {
		t.Errorf("a program that does not work: %v", err)
	}
}

func TestRetireLeavesWhatAContainerUses(t *testing.T) {
	w, e, b, _ := framed(t)
	do(t, e, b, bundle.Create)
	do(t, e, b, bundle.Enable)
	w.use(b.Alias, true)
	retire := bundle.Step{Verb: bundle.Retire}
	if err := e.Do(t.Context(), b, retire); !errors.Is(err, bundle.ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	do(t, e, b, bundle.Disable) // by force, by a person
	if err := e.Do(t.Context(), b, retire); !errors.Is(err, bundle.ErrInUse) {
		t.Errorf("in use and disabled: %v", err)
	}
	if i, err := e.Installed(t.Context(), b.Alias); err != nil || !i.Enabled {
		t.Errorf("what a container uses is left disabled: %+v, %v", i, err)
	}
	w.use(b.Alias, false)
	do(t, e, b, bundle.Retire)
	if i, err := e.Installed(t.Context(), b.Alias); err != nil || i.Present {
		t.Errorf("it is still there: %+v, %v", i, err)
	}
}
