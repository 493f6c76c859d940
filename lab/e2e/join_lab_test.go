//go:build lab

package e2e

import (
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

func TestANodeThatJoinsLaterGetsThePluginsAndTasks(t *testing.T) {
	l := lab.Up(t, lab.Options{Managers: 1, Install: true})
	ctx := within(t, 5*time.Minute)
	if err := l.Up(ctx, lab.Options{Managers: 1, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range contract.Plugins() {
		if err := l.Eventually(ctx, time.Minute, plugin+" enabled on the new node", func() error {
			out, err := l.Docker(ctx, "n2", "plugin", "ls", "--filter", "enabled=true", "--format", "{{.Name}}")
			if err != nil {
				return err
			}
			return contains(out, []string{plugin})
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.LoadShell(ctx); err != nil {
		t.Fatal(err)
	}
	mustDocker(t, l, "n1", create("late", "10.211.9.0/24")...)
	mustDocker(t, l, "n1", "service", "create", "--detach", "--no-resolve-image", "--name", "late", "--network", "late", "--endpoint-mode", "dnsrr",
		"--constraint", "node.hostname==n2", lab.ShellImage, "sleep", "1000000")
	if err := l.Eventually(ctx, time.Minute, "a task runs there", func() error {
		out, err := l.Docker(ctx, "n1", "service", "ps", "late", "--format", "{{.Node}} {{.CurrentState}}")
		if err != nil {
			return err
		}
		return contains(out, []string{"n2 Running"})
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := world(t, l).Observe(ctx, false); err != nil {
		t.Error(err)
	}
}
