//go:build lab

package lab

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInstallPutsThisCheckoutOnTheSwarm(t *testing.T) {
	t.Parallel()
	l := Open(fmt.Sprintf("install-%d", os.Getpid()))
	before := traces(t, l.Name())
	t.Cleanup(func() {
		l.Log = nil
		l.keepLogs(t)
		l.Down(context.Background())
	})
	ctx := t.Context()
	must(t, l.Up(ctx, Options{Managers: 2, Workers: 1, Install: true, Log: t.Logf}))
	r, err := l.readRecord()
	must(t, err)
	agents := func() []string {
		t.Helper()
		out, err := l.Docker(ctx, "n1", "service", "ps", "-q", "-f", "desired-state=running", stack+"_agent")
		must(t, err)
		ids := strings.Fields(out)
		slices.Sort(ids)
		return ids
	}
	first := agents()
	if len(first) != 3 {
		t.Fatalf("%d agents run on 3 nodes", len(first))
	}
	t.Run("once more changes nothing", func(t *testing.T) {
		image, err := l.image("agent")
		must(t, err)
		must(t, l.Install(ctx))
		if now, err := l.image("agent"); err != nil || now != image {
			t.Skipf("the checkout was edited meanwhile, so this was an upgrade from %s to %s (%v)", image, now, err)
		}
		if again := agents(); !slices.Equal(again, first) {
			t.Errorf("agents were %v and are %v", first, again)
		}
	})
	t.Run("a node that lost its power has its plugins and its agent again", func(t *testing.T) {
		must(t, l.Kill(ctx, "n3"))
		must(t, l.Start(ctx, "n3"))
		rejoins(ctx, t, l)
		must(t, l.Eventually(ctx, 60*time.Second, "the plugins of n3", func() error { return l.pluginsKnown(ctx, r) }))
		must(t, l.Eventually(ctx, 60*time.Second, "the agent on n3", func() error {
			out, err := l.Docker(ctx, "n3", "ps", "-q", "-f", "label=com.docker.swarm.service.name="+stack+"_agent")
			if err == nil && strings.TrimSpace(out) == "" {
				err = fmt.Errorf("none runs")
			}
			return err
		}))
	})
	t.Run("down leaves no trace of plugins and agents", func(t *testing.T) {
		must(t, l.Down(ctx))
		mustLeaveNoTrace(ctx, t, l, before)
	})
}
