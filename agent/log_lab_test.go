//go:build lab

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/images"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// writing is a node with a container on it that writes numbered lines to rolling/log all the while.
type writing struct {
	*testing.T
	lab       *lab.Lab
	bundle    string // of rolling/log, on the node, as seen from here
	container string
}

func newWriting(t *testing.T) *writing {
	t.Helper()
	l := node(t, bundles(t))
	w := &writing{T: t, lab: l}
	var err error
	w.bundle, err = l.Path("n1", onNode+"/bundles/log")
	must(t, err)
	tar, err := l.Path("n1", "/opt/lines.tar")
	must(t, err)
	image, err := images.Recipes("")["lines"](t.Context(), t.TempDir())
	must(t, err)
	_, err = image.Save(tar)
	must(t, err)
	w.docker("load", "-q", "-i", "/opt/lines.tar")
	if out, err := load(t.Context(), l); err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	w.container = strings.TrimSpace(w.docker("run", "--detach", "--log-driver", contract.PluginLog,
		"--env", "LINES=1000000000", "--env", "RATE=2000", image.Tag))
	return w
}

func (w *writing) docker(args ...string) string {
	w.Helper()
	out, err := w.lab.Docker(w.Context(), "n1", args...)
	must(w.T, err)
	return out
}

// plugin is the engine's id of rolling/log: another one means another root file system, without the pipes of before.
func (w *writing) plugin() string {
	return strings.TrimSpace(w.docker("plugin", "inspect", "--format", "{{.ID}}", contract.PluginLog))
}

// load brings the plugins in order with a setting of rolling/log.
func (w *writing) load(setting string) (string, error) {
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	out, err := w.lab.Command(ctx, "n1", "env", "ROLLING_SET_LOG="+setting, onNode+"/agent", "load", "--bundles", onNode+"/bundles").CombinedOutput()
	return string(out), err
}

// goesOn waits until a line is seen that was written after now.
func (w *writing) goesOn(after string) {
	w.Helper()
	before := len(w.docker("logs", w.container))
	must(w.T, w.lab.Eventually(w.Context(), 20*time.Second, "new lines after "+after, func() error {
		if len(w.docker("logs", w.container)) == before {
			return fmt.Errorf("none")
		}
		return nil
	}))
}

// whole ends the container, and wants every line, once, in order, up to the one that it says was the last.
func (w *writing) whole() {
	w.Helper()
	w.docker("stop", w.container)
	n := 0
	for line := range strings.Lines(w.docker("logs", w.container)) {
		if strings.HasPrefix(line, fmt.Sprintf("end after %d lines", n)) {
			w.Logf("%d lines, each once, in order", n)
			return
		}
		if n++; !strings.HasPrefix(line, fmt.Sprintf("line %d ", n)) {
			w.Fatalf("after line %d comes %.40q", n-1, line)
		}
	}
	w.Fatalf("line %d is the last", n)
}

// other makes the bundle on the node another build, changed as the test wants.
func (w *writing) other(tag string, change func()) {
	w.Helper()
	rename(w.T, filepath.Join(w.bundle, "config.json"), `"sha256:`, `"sha256:`+tag)
	rename(w.T, filepath.Join(w.bundle, "rootfs/etc/rolling/build"), "sha256:", "sha256:"+tag)
	change()
}

func TestUpgradesOfTheLogPluginLoseNoLine(t *testing.T) {
	t.Parallel()
	w := newWriting(t)
	plugin := w.plugin()
	took := func(what string, load func() (string, error), want string) {
		t.Helper()
		begun := time.Now()
		out, err := load()
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		t.Logf("%s in %.1f s", what, time.Since(begun).Seconds())
		w.goesOn(what)
		if now := w.plugin(); now != plugin {
			t.Fatalf("%s made another plugin of it", what)
		}
	}
	took("another setting", func() (string, error) { return w.load("ROLLING_LOG_LEVEL=debug") }, `steps="[lay await]"`)
	w.other("cccc", func() {})
	took("another build", func() (string, error) { return w.load("ROLLING_LOG_LEVEL=debug") }, "build=cccc")
	took("a frame that is in use", func() (string, error) {
		w.other("dddd", w.reframe)
		return w.load("ROLLING_LOG_LEVEL=debug")
	}, "waits until no container uses it")
	w.whole()
	w.docker("rm", "-f", w.container)
	if out, err := w.load("ROLLING_LOG_LEVEL=debug"); err != nil || !strings.Contains(out, "build=dddd") || w.plugin() == plugin {
		t.Errorf("with nobody using it, the frame was not replaced: %v\n%s", err, out)
	}
}

// reframe says that the bundle needs to be created anew.
func (w *writing) reframe() {
	w.Helper()
	file := filepath.Join(w.bundle, "config.json")
	text, err := os.ReadFile(file)
	must(w.T, err)
	_, after, found := strings.Cut(string(text), contract.FrameVariable)
	digest := strings.SplitN(after, `"value": "`, 2)
	if !found || len(digest) != 2 {
		w.Fatalf("%s has no %s", file, contract.FrameVariable)
	}
	old, _, _ := strings.Cut(digest[1], `"`)
	rename(w.T, file, old, strings.Repeat("e", len(old)))
}

// TestAKilledLogPluginGoesOnWhereItWas kills the program, which the launcher starts again, and the launcher, which the
// engine starts again. What was read from a pipe and is not in the spool yet would be lost: at this rate nothing is.
func TestAKilledLogPluginGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWriting(t)
	for _, name := range []string{"/tmp/worker-", "/launcher", "/tmp/worker-"} {
		w.goesOn("the start")
		_, err := w.lab.Exec(t.Context(), "n1", "pkill", "-KILL", "-f", "^"+name)
		must(t, err)
		begun := time.Now()
		w.goesOn("a kill of " + name)
		t.Logf("lines go on %.1f s after a kill of %s", time.Since(begun).Seconds(), name)
	}
	w.whole()
}
