//go:build lab

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/loader"
	"github.com/rolling-swarm/rolling/agent/status"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/program"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/plugins/bundle"
)

// onNode is where a node has the agent and the bundles.
const onNode = "/opt/rolling"

// bundles makes this checkout's bundles in a folder of the test.
func bundles(t *testing.T) string {
	t.Helper()
	root, err := lab.Checkout()
	must(t, err)
	t.Chdir(root)
	cache := os.Getenv("ROLLING_CACHE")
	if cache == "" {
		cache = "/var/cache/rolling"
	}
	maker := bundle.Maker{Out: t.TempDir(), Cache: cache, Log: t.Logf}
	for _, r := range bundle.Recipes() {
		must(t, maker.Make(t.Context(), r))
	}
	return maker.Out
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

func clear(ctx context.Context, t *testing.T, l *lab.Lab, folder string) {
	t.Helper()
	found, err := loader.Find(folder)
	must(t, err)
	for _, f := range found {
		for _, verb := range []string{"disable", "rm"} {
			_, err := l.Docker(ctx, "n1", "plugin", verb, "-f", f.Alias) // it may be in any state
			t.Log(verb, f.Alias, err)
		}
	}
}

func TestALoadThatWasKilledAnywhereIsFinishedByTheNext(t *testing.T) {
	from := bundles(t)
	l := node(t, from)
	ctx := t.Context()
	finish := func(t *testing.T) {
		t.Helper()
		if out, err := load(ctx, l); err != nil {
			t.Fatalf("load: %v\n%s", err, out)
		}
		must(t, asIn(ctx, l, "n1", from))
		if out, err := load(ctx, l); err != nil || out != "" {
			t.Errorf("a load of what is loaded did something: %v\n%s", err, out)
		}
	}
	for _, delay := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, time.Second, 1600 * time.Millisecond} {
		t.Run(fmt.Sprintf("the agent after %s", delay), func(t *testing.T) {
			clear(ctx, t, l, from)
			short, cancel := context.WithTimeout(ctx, delay)
			defer cancel()
			out, err := load(short, l)
			state, _ := plugins(ctx, l, "n1")
			t.Logf("killed: %v; left %v\n%s", err, state, out)
			finish(t)
		})
	}
	for _, delay := range []time.Duration{300 * time.Millisecond, 1200 * time.Millisecond} {
		t.Run(fmt.Sprintf("the engine after %s", delay), func(t *testing.T) {
			clear(ctx, t, l, from)
			ended := make(chan string, 1)
			go func() {
				out, err := load(ctx, l)
				ended <- fmt.Sprintf("%v\n%s", err, out)
			}()
			time.Sleep(delay)
			must(t, l.KillEngine(ctx, "n1"))
			t.Logf("the load whose engine was killed: %s", <-ended)
			finish(t)
		})
	}
	t.Run("the node", func(t *testing.T) {
		clear(ctx, t, l, from)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = load(ctx, l) // it ends with its node
		}()
		time.Sleep(800 * time.Millisecond)
		must(t, l.Kill(ctx, "n1"))
		<-ended
		must(t, l.Start(ctx, "n1"))
		finish(t)
	})
}

// running starts `agent run` on n1; what it logs can be read at any time. It is stopped at the test's end.
func running(t *testing.T, l *lab.Lab, env ...string) (log *lines, stop func() error) {
	t.Helper()
	log = &lines{}
	command := append([]string{"env", "ROLLING_BUNDLES=" + onNode + "/bundles"}, env...)
	cmd := l.Command(context.WithoutCancel(t.Context()), "n1", append(command, onNode+"/agent", "run")...)
	cmd.Stdout, cmd.Stderr = log, log
	must(t, cmd.Start())
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() {
			// The command's own process only waits for the agent: end that one by its name inside the node.
			if out, err := l.Exec(context.WithoutCancel(t.Context()), "n1", "pkill", "-TERM", "-fx", onNode+"/agent run"); err != nil {
				result = fmt.Errorf("stop: %w: %s", err, out)
			}
			result = errors.Join(result, cmd.Wait())
		})
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return log, stop
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func healthy(ctx context.Context, l *lab.Lab) error {
	out, err := agent(ctx, l, "health").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestARunningAgentBringsBackWhatWasChangedByHand(t *testing.T) {
	from := bundles(t)
	l := node(t, from)
	ctx := t.Context()
	if err := healthy(ctx, l); err == nil {
		t.Error("healthy without an agent")
	}
	log, stop := running(t, l)
	must(t, l.Eventually(ctx, time.Minute, "the agent healthy", func() error { return healthy(ctx, l) }))
	must(t, asIn(ctx, l, "n1", from))

	for _, hand := range [][]string{
		{"plugin", "disable", "-f", contract.PluginNet},
		{"plugin", "disable", "-f", contract.PluginIPAM},
	} {
		_, err := l.Docker(ctx, "n1", hand...)
		must(t, err)
		must(t, l.Eventually(ctx, 30*time.Second, "after "+strings.Join(hand, " "), func() error { return asIn(ctx, l, "n1", from) }))
	}
	for _, hand := range [][]string{ // an agent that were faster would have the second refused: "the plugin is enabled"
		{"plugin", "disable", "-f", contract.PluginIPAM},
		{"plugin", "set", contract.PluginIPAM, "ROLLING_LOG_LEVEL=debug"},
		{"plugin", "enable", contract.PluginIPAM},
	} {
		_, err := l.Docker(ctx, "n1", hand...)
		must(t, err)
	}
	must(t, l.Eventually(ctx, 30*time.Second, "settings as the agent has them", func() error {
		out, err := l.Docker(ctx, "n1", "plugin", "inspect", "--format", "{{.Enabled}} {{.Settings.Env}}", contract.PluginIPAM)
		if err == nil && (!strings.HasPrefix(out, "true") || !strings.Contains(out, "ROLLING_LOG_LEVEL=info")) {
			err = errors.New(out)
		}
		return err
	}))
	_, err := l.Exec(ctx, "n1", "sh", "-c", "docker plugin disable -f "+contract.PluginNet+"; docker plugin rm -f "+contract.PluginNet)
	must(t, err)
	must(t, l.Eventually(ctx, 30*time.Second, "after a removal", func() error { return asIn(ctx, l, "n1", from) }))
	if !strings.Contains(log.String(), "cause=disabled") {
		t.Errorf("the log does not tell what was done:\n%s", log)
	}

	t.Run("an engine that crashed is waited for", func(t *testing.T) {
		must(t, l.KillEngine(ctx, "n1"))
		must(t, l.Eventually(ctx, time.Minute, "engine, plugins and agent at work", func() error {
			return errors.Join(asIn(ctx, l, "n1", from), healthy(ctx, l))
		}))
	})
	t.Run("its pages say how it stands", func(t *testing.T) {
		must(t, l.Eventually(ctx, time.Minute, "the agent healthy", func() error { return healthy(ctx, l) }))
		socket, err := l.Path("n1", contract.StateRoot+"/agent/agent.sock")
		must(t, err)
		for page, want := range map[string]string{
			"/healthz":     "ok",
			"/readyz":      "ready",
			"/metrics":     `rolling_agent_plugin_ready{plugin="rolling/net:latest"} 1`,
			"/debug/state": `"engine": "ok"`,
		} {
			if got, err := status.Ask(ctx, socket, page); err != nil || !strings.Contains(got, want) {
				t.Errorf("%s: %v, no %s in\n%s", page, err, want, got)
			}
		}
	})
	must(t, stop())
	must(t, asIn(ctx, l, "n1", from)) // a stopped agent leaves the plugins at work
}

func TestAPluginThatDoesNotStartLeavesTheOthersAtWork(t *testing.T) {
	from := bundles(t)
	l := node(t, from)
	ctx := t.Context()
	broken, err := l.Path("n1", onNode+"/bundles/broken")
	must(t, err)
	copyAll(ctx, t, filepath.Join(from, "ipam"), broken)
	config, err := os.ReadFile(filepath.Join(broken, "config.json"))
	must(t, err)
	config = bytes.ReplaceAll(config, []byte("/ipam-driver"), []byte("/no-such-program"))
	must(t, os.WriteFile(filepath.Join(broken, "config.json"), config, 0o644))
	must(t, os.WriteFile(filepath.Join(broken, "rootfs/etc/rolling/plugin"), []byte("rolling/broken:latest\n"), 0o644))

	log, _ := running(t, l)
	must(t, l.Eventually(ctx, time.Minute, "the good plugins", func() error { return asIn(ctx, l, "n1", from) }))
	must(t, l.Eventually(ctx, time.Minute, "a word on the broken one", func() error {
		err := healthy(ctx, l)
		if err == nil || !strings.Contains(err.Error(), "rolling/broken:latest") || strings.Contains(err.Error(), contract.PluginNet) {
			return fmt.Errorf("health says %w", err)
		}
		return nil
	}))
	if text := log.String(); !strings.Contains(text, "rolling/broken:latest") || !strings.Contains(text, "no-such-program") {
		t.Errorf("the log does not say what is wrong:\n%s", text)
	}
	if out, err := load(ctx, l); err == nil || !strings.Contains(out, "rolling/broken:latest") {
		t.Errorf("a load of it gave %v\n%s", err, out)
	}
	must(t, asIn(ctx, l, "n1", from))
}

func TestSettingsAreLaidAndTakenBack(t *testing.T) {
	from := bundles(t)
	l := node(t, from)
	ctx := t.Context()
	loadWith := func(settings string) (string, error) {
		out, err := l.Command(ctx, "n1", "env", "ROLLING_SET_NET="+settings, onNode+"/agent", "load", "--bundles", onNode+"/bundles").CombinedOutput()
		return string(out), err
	}
	env := func() []string {
		c, err := l.Client("n1")
		must(t, err)
		defer c.Close()
		got, err := c.PluginInspect(ctx, contract.PluginNet, client.PluginInspectOptions{})
		must(t, err)
		return got.Plugin.Settings.Env
	}
	for _, step := range []struct{ settings, want string }{
		{"ROLLING_ROUTERS=10.99.0.1 ROLLING_BGP_HOLD=6s", "ROLLING_BGP_HOLD=6s"},
		{"ROLLING_BGP_HOLD=12s", "ROLLING_BGP_HOLD=12s"},
		{"", "ROLLING_ROUTERS="},
	} {
		out, err := loadWith(step.settings)
		if err != nil {
			t.Fatalf("load with %q: %v\n%s", step.settings, err, out)
		}
		if !slices.Contains(env(), step.want) {
			t.Errorf("with %q: no %s in %v", step.settings, step.want, env())
		}
		must(t, asIn(ctx, l, "n1", from))
	}
	out, err := loadWith("ROLLING_ROUTER=10.99.0.1")
	if err == nil || !strings.Contains(out, "did you mean ROLLING_ROUTERS?") {
		t.Errorf("a setting that is not there gave %v\n%s", err, out)
	}
	must(t, asIn(ctx, l, "n1", from))
}

// TestSeveralAgentsTakeTurns: none finds half a plugin that another is at.
func TestSeveralAgentsTakeTurns(t *testing.T) {
	from := bundles(t)
	l := node(t, from)
	ctx := t.Context()
	results := make(chan string, 4)
	for range cap(results) {
		go func() {
			out, err := load(ctx, l)
			if err != nil {
				out += err.Error()
			}
			results <- out
		}()
	}
	made := 0
	for range cap(results) {
		out := <-results
		made += strings.Count(out, "not installed")
		if strings.Contains(out, "already") || strings.Contains(out, "exit status") {
			t.Errorf("they came into each other's way:\n%s", out)
		}
	}
	if found, err := loader.Find(from); err != nil || made != len(found) {
		t.Errorf("%d plugins were installed by four agents, want each once: %v", made, err)
	}
	must(t, asIn(ctx, l, "n1", from))
}
