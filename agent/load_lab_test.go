//go:build lab

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/loader"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

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
	t.Parallel()
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

func TestSettingsAreLaidAndTakenBack(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
