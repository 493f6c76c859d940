//go:build lab

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/loader"
	"github.com/rolling-swarm/rolling/internal/program"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/plugins/bundle"
)

// onNode is where a node has the agent and the bundles.
const onNode = "/opt/rolling"

// Each test has nodes of its own, and waits for engines most of the time: they run side by side, the longest, of another
// image, before the others. All work in the checkout's folder.
func TestMain(m *testing.M) {
	root, err := lab.Checkout()
	if err == nil {
		err = os.Chdir(root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(made.folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// made are this checkout's bundles, once for all tests, which only copy them.
var made struct {
	once   sync.Once
	folder string
	err    error
}

func bundles(t *testing.T) string {
	t.Helper()
	made.once.Do(func() {
		cache := os.Getenv("ROLLING_CACHE")
		if cache == "" {
			cache = "/var/cache/rolling"
		}
		if made.folder, made.err = os.MkdirTemp("", "bundles"); made.err != nil {
			return
		}
		maker := bundle.Maker{Out: made.folder, Cache: cache, Log: t.Logf}
		for _, r := range bundle.Recipes() {
			made.err = errors.Join(made.err, maker.Make(t.Context(), r))
		}
	})
	must(t, made.err)
	return made.folder
}

// node is a Swarm of one, with the agent and the bundles laid on it and nothing loaded.
func node(t *testing.T, from string) *lab.Lab {
	t.Helper()
	l := lab.Up(t, lab.Options{Managers: 1})
	folder, err := l.Path("n1", onNode)
	must(t, err)
	must(t, os.MkdirAll(folder, 0o755))
	must(t, program.Build(t.Context(), "./agent", filepath.Join(folder, "agent")))
	copyAll(t.Context(), t, from, filepath.Join(folder, "bundles"))
	return l
}

func copyAll(ctx context.Context, t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(ctx, "cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func agent(ctx context.Context, l *lab.Lab, args ...string) *exec.Cmd {
	return l.Command(ctx, "n1", append([]string{onNode + "/agent"}, args...)...)
}

func load(ctx context.Context, l *lab.Lab) (string, error) {
	out, err := agent(ctx, l, "load", "--bundles", onNode+"/bundles").CombinedOutput()
	return string(out), err
}

// plugins says what a node has: alias, whether enabled, and the build.
func plugins(ctx context.Context, l *lab.Lab, node string) (map[string]string, error) {
	c, err := l.Client(node)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	list, err := c.PluginList(ctx, client.PluginListOptions{})
	if err != nil {
		return nil, err
	}
	got := map[string]string{}
	for _, p := range list.Items {
		build, err := l.PluginBuild(node, p)
		if err != nil {
			return nil, err
		}
		got[p.Name] = fmt.Sprintf("enabled=%t %s", p.Enabled, build)
	}
	return got, nil
}

// asIn compares the node's plugins with a folder of bundles.
func asIn(ctx context.Context, l *lab.Lab, node, folder string) error {
	found, err := loader.Find(folder)
	if err != nil {
		return err
	}
	got, err := plugins(ctx, l, node)
	if err != nil {
		return err
	}
	var problems []error
	for _, f := range found {
		if want := "enabled=true " + f.Build; got[f.Alias] != want {
			problems = append(problems, fmt.Errorf("%s: plugin %s is %q, want %q", node, f.Alias, got[f.Alias], want))
		}
	}
	return errors.Join(problems...)
}
