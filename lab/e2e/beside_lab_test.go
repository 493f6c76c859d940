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
		neighbour := another(l, p.node)
		for _, c := range []struct{ what, from, at, seen string }{
			{"at its own address", neighbour, p.address + ":80", l.Address(neighbour).String()},
			{"at its node's port", lab.Router, net.JoinHostPort(l.Address(p.node).String(), "18090"), "10.99.0.1"},
		} {
			if err := l.Eventually(ctx, 30*time.Second, p.node+"'s container answers "+c.what, func() error {
				seen, err := askedFrom(ctx, l, c.from, "tcp", c.at)
				if err == nil && !strings.HasPrefix(seen, c.seen+":") {
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
			refusal = errors.New(said)
			if err == nil && !strings.Contains(said, alone) {
				err = refusal
			}
			return err
		})
	}
	if err != nil || !strings.Contains(refusal.Error(), alone) {
		t.Errorf("host beside ours: %v, %v", refusal, err)
	}
}

// alone is what the engine says of a container on the host's network.
const alone = "cannot be connected to any other network"

// another is a node that is not this one.
func another(l *lab.Lab, node string) string {
	for _, n := range l.Nodes() {
		if n != node {
			return n
		}
	}
	return node
}
