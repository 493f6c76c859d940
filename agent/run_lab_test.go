//go:build lab

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/agent/status"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

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
	t.Parallel()
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
	t.Parallel()
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
