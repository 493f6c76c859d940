//go:build lab

package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// Docker's own networks beside one of ours in a service: with bridge, which then has the default route, ports of the node
// are published by Docker, and the container is reached at its own address all the same; with host the engine refuses it.
func TestDockersOwnNetworksBesideOurs(t *testing.T) {
	l := lab.Shared(t)
	ctx := within(t, 3*time.Minute)
	leader, err := l.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.LoadShell(ctx); err != nil {
		t.Fatal(err)
	}
	mustDocker(t, l, leader, create("beside", "10.201.78.0/24")...)
	t.Cleanup(func() { removeNetwork(t, l, leader, "beside") })
	serve := func(name, own string, more ...string) error {
		args := append([]string{"service", "create", "--detach", "--no-resolve-image", "--name", name, "--network", "beside", "--network", own,
			"--endpoint-mode", "dnsrr", "--mode", "global", "--stop-signal", "SIGKILL", "--restart-delay", "1s"}, more...)
		_, err := l.Docker(ctx, leader, append(args, lab.ShellImage, "sleep", "1000000")...)
		if err == nil {
			t.Cleanup(func() { mustDocker(t, l, leader, "service", "rm", name) })
		}
		return err
	}
	if err := serve("withbridge", "bridge", "--publish", "mode=host,published=18090,target=80"); err != nil {
		t.Fatal(err)
	}
	replicas(t, l, "withbridge", "3/3", 90*time.Second)
	for _, p := range places(t, l, "withbridge", "beside") {
		space, err := l.ContainerNetwork(p.node, p.container)
		if err != nil {
			t.Fatal(err)
		}
		tellClients(t, space)
		for what, at := range map[string]string{"at its own address": p.address + ":80", "at its node's port": net.JoinHostPort(l.Address(p.node).String(), "18090")} {
			if err := l.Eventually(ctx, 30*time.Second, p.node+"'s container answers "+what, func() error {
				seen, err := asked(ctx, l, "tcp", at)
				if err == nil && !strings.HasPrefix(seen, "10.99.0.1:") {
					err = fmt.Errorf("the container saw %q", seen)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		}
	}
	refusal := serve("withhost", "host")
	if refusal == nil {
		err = l.Eventually(ctx, 60*time.Second, "the engine refuses host beside another network", func() error {
			said, err := l.Docker(ctx, leader, "service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", "withhost")
			if err == nil && !strings.Contains(said, "host") {
				err = errors.New(said)
			}
			refusal = errors.New(said)
			return err
		})
	}
	if err != nil || !strings.Contains(refusal.Error(), "host") {
		t.Errorf("host beside ours: %v, %v", refusal, err)
	}
	t.Logf("host beside ours: %v", refusal)
}
