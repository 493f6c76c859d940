package loader

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/bundle"
)

const config = `{"entrypoint": ["/net"],
 "mounts": [{"source": "/var/lib/rolling/net", "destination": "/var/lib/rolling/net"}, {"source": "/var/run/docker.sock", "destination": "/run/docker.sock"}],
 "env": [{"name": "ROLLING_BUILD", "value": "sha256:b1"}, {"name": "ROLLING_LOG_LEVEL", "value": "info", "settable": ["value"]}]}`

// lay writes a bundle; a text of "" leaves its config.json out.
func lay(t *testing.T, folder, name, text string) {
	t.Helper()
	rootfs := filepath.Join(folder, name, "rootfs", "sbin")
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(rootfs, "multi"), []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("multi", filepath.Join(rootfs, "iptables")); err != nil {
		t.Fatal(err)
	}
	if text == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(folder, name, "config.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheFakeEngineBehavesLikeARealOne(t *testing.T) {
	_, host := engine(t)
	folder := t.TempDir()
	lay(t, folder, "net", config)
	conform(t, host, filepath.Join(t.TempDir(), "rolling"), folder, "rolling/net:latest")
}

func one(t *testing.T) (*wire, *Engine, bundle.Bundle) {
	t.Helper()
	w, host := engine(t)
	folder := t.TempDir()
	lay(t, folder, "net", config)
	found, err := Find(folder)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(host, t.TempDir(), found)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return w, e, found[0].Bundle
}

func TestABundleArrivesWithItsLinks(t *testing.T) {
	w, e, b := one(t)
	if err := e.Do(t.Context(), b, bundle.Step{Verb: bundle.Create}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range w.files[b.Alias] {
		name, _, _ := strings.Cut(f, " ")
		got = append(got, name)
	}
	slices.Sort(got)
	if strings.Join(got, " ") != "rootfs/ rootfs/etc/rolling/creation rootfs/sbin/ rootfs/sbin/iptables rootfs/sbin/multi" {
		t.Errorf("got %v", got)
	}
}

func TestWhateverHappensToACallTheErrorSaysWhichOneItWas(t *testing.T) {
	for _, c := range []struct{ fault, want string }{
		{"refuse", "no space left on device"},
		{"reset", ""},
		{"stall", "deadline exceeded"},
	} {
		for _, verb := range []bundle.Verb{bundle.Create, bundle.Enable, bundle.Disable, bundle.Remove, bundle.Set} {
			t.Run(c.fault+" "+string(verb), func(t *testing.T) {
				w, e, b := one(t)
				ctx := t.Context()
				if c.fault == "stall" {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
					defer cancel()
				}
				w.next(c.fault)
				err := e.Do(ctx, b, bundle.Step{Verb: verb})
				if err == nil || !strings.Contains(err.Error(), string(verb)+" plugin rolling/net:latest") || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestAnUnreadableBundleIsNotMistakenForARefusal(t *testing.T) {
	_, e, b := one(t)
	if err := os.RemoveAll(e.folders[b.Alias]); err != nil {
		t.Fatal(err)
	}
	err := e.Do(t.Context(), b, bundle.Step{Verb: bundle.Create})
	if err == nil || !strings.Contains(err.Error(), "pack "+e.folders[b.Alias]) {
		t.Errorf("got %v", err)
	}
}

func TestWatchEndsWithTheEngine(t *testing.T) {
	w, e, _ := one(t)
	ended := make(chan error, 1)
	told := make(chan struct{}, 10)
	go func() { ended <- e.Watch(t.Context(), func() { told <- struct{}{} }) }()
	<-told
	w.events <- "disable"
	<-told
	w.events <- "crash"
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "engine") {
		t.Errorf("got %v", err)
	}
}

func TestAnEngineThatIsNotThereIsAnErrorAndNotAMissingPlugin(t *testing.T) {
	e, err := New("unix://"+filepath.Join(t.TempDir(), "none.sock"), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Installed(t.Context(), "rolling/net:latest"); err == nil {
		t.Error("installed: no error")
	}
	if err := e.Watch(t.Context(), func() { t.Error("told") }); err == nil {
		t.Error("watch: no error")
	}
}

func TestFind(t *testing.T) {
	good := t.TempDir()
	lay(t, good, "net", config)
	found, err := Find(good)
	if err != nil || len(found) != 1 {
		t.Fatalf("got %v, %v", found, err)
	}
	f := found[0]
	if f.Alias != "rolling/net:latest" || f.Build != "sha256:b1" || len(f.Defaults) != 1 || f.Defaults["ROLLING_LOG_LEVEL"] != "info" || strings.Join(f.Folders, " ") != "/var/lib/rolling/net" {
		t.Errorf("got %+v", f)
	}
	for _, c := range []struct{ name, config, want string }{
		{"a folder without bundles", "", "no bundle in"},
		{"a config.json that is no JSON", "{", "config.json"},
		{"a config.json without a build", "{}", "no ROLLING_BUILD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			lay(t, folder, "net", c.config)
			if _, err := Find(folder); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	t.Run("a bundle without a root file system", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(good, "net", "rootfs")); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(good); err == nil || !strings.Contains(err.Error(), "no rootfs") {
			t.Errorf("got %v", err)
		}
	})
}

func TestOneAgentAtATime(t *testing.T) {
	alone := Alone(filepath.Join(t.TempDir(), "agent", "lock"))
	release, err := alone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := alone(short); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second one got %v", err)
	}
	got := make(chan error, 1)
	go func() {
		release, err := alone(t.Context())
		if err == nil {
			release()
		}
		got <- err
	}()
	release()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
