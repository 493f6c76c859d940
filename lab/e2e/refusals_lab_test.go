//go:build lab

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
)

// create are the arguments that make a network of ours with that subnet.
func create(name, subnet string, more ...string) []string {
	args := []string{"network", "create", "--scope", "swarm", "--attachable", "-d", contract.PluginNet, "--ipam-driver", contract.PluginIPAM, "--subnet", subnet}
	return append(append(args, more...), name)
}

// Docker validates a network on the manager that got the call before Swarm keeps it, and Swarm answers a failed
// allocation with a network that has no driver: either way the plugin's sentence has to reach a person, in the
// command's answer or in the engine's log, and no address may be spent.
func TestBadNetworksAreRefusedWithTheRemedy(t *testing.T) {
	l := lab.Shared(t)
	leader, err := l.Leader(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, subnet string
		more         []string
		want         []string
	}{
		{"bad-key", "10.211.1.0/24", []string{"-o", "rolling.projct=orders"}, []string{"rolling.projct", `did you mean "rolling.project"`}},
		{"bad-mode", "10.211.2.0/24", []string{"-o", "rolling.mode=routd"}, []string{"routd", "routed"}},
		{"l2-without-parent", "10.211.3.0/24", []string{"-o", "rolling.mode=l2", "--ipam-opt", "rolling.gateway=10.211.3.1"}, []string{"rolling.parent: mode l2 needs it"}},
		{"l2-without-router", "10.211.5.0/24", []string{"-o", "rolling.mode=l2", "-o", "rolling.parent=eth0"}, []string{"name the router with --ipam-opt rolling.gateway"}},
		{"bad-ipam-key", "10.211.4.0/24", []string{"--ipam-opt", "rolling.quotta=4"}, []string{"rolling.quotta", `did you mean "rolling.quota"`}},
		{"bad-cidr", "10.211.300.0/24", nil, []string{"10.211.300.0/24"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, err := l.Docker(within(t, time.Minute), leader, create(c.name, c.subnet, c.more...)...)
			if err == nil {
				t.Cleanup(func() { mustDocker(t, l, leader, "network", "rm", c.name) })
			} else {
				answer += err.Error()
			}
			err = l.Eventually(t.Context(), 30*time.Second, "the refusal is said", func() error {
				logs, err := engineLog(l, leader)
				if err != nil {
					return err
				}
				return contains(answer+logs, c.want)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

type missing struct{ text string }

func (m missing) Error() string { return "nothing says " + m.text }

func contains(text string, want []string) error {
	text = strings.ReplaceAll(text, `\"`, `"`)
	for _, w := range want {
		if !strings.Contains(text, w) {
			return missing{w}
		}
	}
	return nil
}

func TestFullPoolKeepsTheThirdTaskWaitingAndServesItWhenAnAddressIsFree(t *testing.T) {
	l := lab.Shared(t)
	leader, err := l.Leader(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.LoadShell(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	mustDocker(t, l, leader, create("tiny", "10.211.8.0/31", "--ipam-opt", "rolling.quarantine=0s")...)
	mustDocker(t, l, leader, "service", "create", "--detach", "--no-resolve-image", "--name", "tiny", "--network", "tiny", "--endpoint-mode", "dnsrr",
		"--stop-grace-period", "1s", "--replicas", "3", lab.ShellImage, "sleep", "1000000")
	t.Cleanup(func() {
		mustDocker(t, l, leader, "service", "rm", "tiny")
		removeNetwork(t, l, leader, "tiny")
	})
	running := func(want string) func() error {
		return func() error {
			out, err := l.Docker(t.Context(), leader, "service", "ls", "--filter", "name=tiny", "--format", "{{.Replicas}}")
			if err == nil && !strings.HasPrefix(out, want) {
				err = missing{want + " replicas, but " + out}
			}
			return err
		}
	}
	if err := l.Eventually(t.Context(), time.Minute, "two of three run", running("2/3")); err != nil {
		t.Fatal(err)
	}
	if err := l.Eventually(t.Context(), 30*time.Second, "the engine's log says why", func() error {
		logs, err := engineLog(l, leader)
		if err != nil {
			return err
		}
		return contains(logs, []string{"no available addresses", "10.211.8.0/31"})
	}); err != nil {
		t.Error(err)
	}
	mustDocker(t, l, leader, "service", "scale", "--detach", "tiny=2")
	if err := l.Eventually(t.Context(), time.Minute, "two of two run", running("2/2")); err != nil {
		t.Error(err)
	}
}

// removeNetwork waits until Swarm lets a network go: its tasks hold it for seconds.
func removeNetwork(t *testing.T, l *lab.Lab, leader, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's own context is over in a cleanup
	defer cancel()
	if err := l.Eventually(ctx, time.Minute, "network "+name+" removed", func() error {
		_, err := l.Docker(ctx, leader, "network", "rm", name)
		return err
	}); err != nil {
		t.Error(err)
	}
}
