//go:build lab

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/namespace"
)

// place is one task of a service: where it runs and by which address.
type place struct{ node, container, address string }

// places are the running containers of a service, by node.
func places(t *testing.T, l *lab.Lab, service, network string) (all []place) {
	t.Helper()
	for _, node := range l.Nodes() {
		ids := strings.Fields(mustDocker(t, l, node, "ps", "-q", "--filter", "label=com.docker.swarm.service.name="+service))
		for _, id := range ids {
			a := mustDocker(t, l, node, "inspect", "--format", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", network), id)
			all = append(all, place{node, id, strings.TrimSpace(a)})
		}
	}
	return all
}

func replicas(t *testing.T, l *lab.Lab, service, want string, within time.Duration) {
	t.Helper()
	leader, err := l.Leader(t.Context())
	if err == nil {
		err = l.Eventually(t.Context(), within, service+" runs "+want, func() error {
			out, err := l.Docker(t.Context(), leader, "service", "ls", "--filter", "name="+service, "--format", "{{.Replicas}}")
			if err == nil && !strings.HasPrefix(out, want) {
				said, _ := l.Docker(t.Context(), leader, "service", "ps", "--no-trunc", "--format", "{{.Node}} {{.CurrentState}} {{.Error}}", service)
				err = fmt.Errorf("%s: %s", strings.TrimSpace(out), said)
			}
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func pinged(ctx context.Context, l *lab.Lab, from string, prefix []string, to string) error {
	_, err := l.Exec(ctx, from, append(slices.Clone(prefix), "busybox", "ping", "-c", "1", "-W", "2", to)...)
	return err
}

// meet says that all reach all: the router, the other containers and the hosts.
func meet(ctx context.Context, l *lab.Lab, all []place) error {
	var problems []error
	for _, p := range all {
		problems = append(problems, pinged(ctx, l, lab.Router, nil, p.address), pinged(ctx, l, p.node, []string{"docker", "exec", p.container}, "10.99.0.1"))
		for _, q := range all {
			problems = append(problems, pinged(ctx, l, p.node, []string{"docker", "exec", p.container}, q.address))
			if p.node == q.node { // its own host, too
				problems = append(problems, pinged(ctx, l, p.node, []string{"docker", "exec", p.container}, l.Address(p.node).String()))
			}
		}
	}
	return errors.Join(problems...)
}

// onLAN runs a task on each node, on an l2 network that is the nodes' own LAN.
func onLAN(t *testing.T, l *lab.Lab, name, addresses string) (remove func()) {
	t.Helper()
	leader, err := l.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.LoadShell(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	mustDocker(t, l, leader, create(name, "10.99.0.0/24", "-o", "rolling.mode=l2", "-o", "rolling.parent=eth0", "-o", "rolling.gateway=10.99.0.1",
		"--ipam-opt", "rolling.gateway=10.99.0.1", "--ipam-opt", "rolling.range="+addresses)...)
	mustDocker(t, l, leader, "service", "create", "--detach", "--no-resolve-image", "--name", name, "--network", name, "--endpoint-mode", "dnsrr",
		"--mode", "global", "--cap-add", "NET_ADMIN", "--stop-signal", "SIGKILL", "--restart-delay", "1s", lab.ShellImage, "sleep", "1000000")
	removed := false
	remove = func() {
		if !removed {
			removed = true
			mustDocker(t, l, leader, "service", "rm", name)
			removeNetwork(t, l, leader, name)
		}
	}
	t.Cleanup(remove)
	replicas(t, l, name, "3/3", 90*time.Second)
	return remove
}

// cables are the addresses of each node's interface.
func cables(ctx context.Context, t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, n := range l.Nodes() {
		out, err := l.Exec(ctx, n, "ip", "-4", "-o", "addr", "show", "dev", "eth0")
		if err != nil {
			t.Fatal(err)
		}
		all[n] = plain(out)
	}
	return all
}

// givenBack waits until each node's interface has its addresses again, and nothing is left of bridges.
func givenBack(ctx context.Context, t *testing.T, l *lab.Lab, before map[string]string) {
	t.Helper()
	for _, n := range l.Nodes() {
		if err := l.Eventually(ctx, 40*time.Second, n+" has its interface back", func() error {
			out, err := l.Exec(ctx, n, "ip", "-4", "-o", "addr", "show", "dev", "eth0")
			if links, lerr := l.Exec(ctx, n, "ip", "-br", "link"); err != nil || lerr != nil || strings.Contains(links, "rb-") {
				return fmt.Errorf("%w: %s", errors.Join(err, lerr), links)
			}
			if plain(out) != before[n] {
				err = fmt.Errorf("has %s, had %s", plain(out), before[n])
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}

// The nodes' own LAN as an l2 network: its first address is somebody's already, whom nobody has told Swarm of.
func TestAServiceOnTheNodesOwnLAN(t *testing.T) {
	l := lab.Shared(t)
	ctx := within(t, 4*time.Minute)
	leader, err := l.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	before := cables(ctx, t, l)
	if _, err := l.Exec(ctx, lab.Router, "ip", "addr", "add", "10.99.0.230/24", "dev", "lan"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = l.Exec(context.Background(), lab.Router, "ip", "addr", "del", "10.99.0.230/24", "dev", "lan")
	})
	remove := onLAN(t, l, "onlan", "10.99.0.230-10.99.0.240")
	history := mustDocker(t, l, leader, "service", "ps", "--no-trunc", "--format", "{{.Error}}", "onlan")
	if !strings.Contains(history, "address 10.99.0.230 is in use already by") {
		t.Errorf("no task met the neighbour: %s", history)
	}
	all := places(t, l, "onlan", "onlan")
	if err := l.Eventually(ctx, 20*time.Second, "all reach all", func() error { return meet(ctx, l, all) }); err != nil {
		t.Fatal(err)
	}
	attack(t, l, all)
	pluginDies(ctx, t, l, follower(all, leader), all)
	remove()
	givenBack(ctx, t, l, before)
}

// follower is a place on a node that does not lead.
func follower(all []place, leader string) place {
	for _, p := range all {
		if p.node != leader {
			return p
		}
	}
	return all[0]
}

// plain is the line up to the lifetimes.
func plain(line string) string {
	head, _, _ := strings.Cut(line, " valid_lft")
	return strings.Join(strings.Fields(head), " ")
}

// attack lets a container pose as the router.
func attack(t *testing.T, l *lab.Lab, all []place) {
	t.Helper()
	attacker, bystander := all[0], all[1]
	in := func(args ...string) {
		_, _ = l.Docker(t.Context(), attacker.node, append([]string{"exec", attacker.container}, args...)...) // refusing is the point
	}
	in("ip", "addr", "add", "10.99.0.1/32", "dev", "eth0")
	in("arping", "-U", "-c", "2", "-w", "2", "-I", "eth0", "10.99.0.1")
	own := "02:42:0a:63:00"
	for _, who := range [][]string{{bystander.node, "ip", "neigh", "show", "to", "10.99.0.1"}, {bystander.node, "docker", "exec", bystander.container, "ip", "neigh", "show", "to", "10.99.0.1"}} {
		out, err := l.Exec(t.Context(), who[0], who[1:]...)
		if err != nil || strings.Contains(out, own) {
			t.Errorf("%v believes that a container is the router: %s %v", who, out, err)
		}
	}
	if err := pinged(t.Context(), l, bystander.node, []string{"docker", "exec", bystander.container}, "10.99.0.1"); err != nil {
		t.Errorf("a bystander lost the router: %v", err)
	}
	in("ip", "addr", "del", "10.99.0.1/32", "dev", "eth0")
}

// pluginDies while a container is pinged from the router.
func pluginDies(ctx context.Context, t *testing.T, l *lab.Lab, victim place, all []place) {
	t.Helper()
	long := make(chan string, 1)
	go func() {
		out, _ := l.Exec(ctx, lab.Router, "busybox", "ping", "-c", "60", "-i", "0.05", "-W", "2", victim.address)
		long <- out
	}()
	pid, err := l.Exec(ctx, victim.node, "pidof", "/network-driver")
	if err == nil {
		_, err = l.Exec(ctx, victim.node, "kill", "-9", strings.Fields(pid)[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	if out := <-long; !strings.Contains(out, " 0% packet loss") {
		t.Errorf("the plugin's death cost packets: %s", out)
	}
	if err := l.Eventually(ctx, 20*time.Second, "all reach all after the plugin's death", func() error { return meet(ctx, l, all) }); err != nil {
		t.Error(err)
	}
}

// A port of the host leads to the container of that node, over TCP and UDP, and the container sees who asks.
func TestPublishedPortsOfTheHost(t *testing.T) {
	l := lab.Shared(t)
	ctx := within(t, 3*time.Minute)
	leader, err := l.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.LoadShell(ctx); err != nil {
		t.Fatal(err)
	}
	mustDocker(t, l, leader, create("ported", "10.201.77.0/24")...)
	t.Cleanup(func() { removeNetwork(t, l, leader, "ported") })
	serve := func(name string, port int) {
		mustDocker(t, l, leader, "service", "create", "--detach", "--no-resolve-image", "--name", name, "--network", "ported", "--endpoint-mode", "dnsrr",
			"--mode", "global", "--stop-signal", "SIGKILL", "--restart-delay", "1s", "--publish", fmt.Sprintf("mode=host,published=%d,target=80", port),
			"--publish", fmt.Sprintf("mode=host,published=%d,target=80,protocol=udp", port), lab.ShellImage, "sleep", "1000000")
		t.Cleanup(func() { mustDocker(t, l, leader, "service", "rm", name) })
	}
	serve("ports", 18080)
	replicas(t, l, "ports", "3/3", 90*time.Second)
	for _, p := range places(t, l, "ports", "ported") {
		space, err := l.ContainerNetwork(p.node, p.container)
		if err != nil {
			t.Fatal(err)
		}
		tellClients(t, space)
	}
	for _, n := range l.Nodes() {
		for _, proto := range []string{"tcp", "udp"} {
			at := net.JoinHostPort(l.Address(n).String(), "18080")
			if err := l.Eventually(ctx, 20*time.Second, at+" over "+proto, func() error {
				seen, err := asked(ctx, l, proto, at)
				if err == nil && !strings.HasPrefix(seen, "10.99.0.1:") {
					err = fmt.Errorf("the container saw %q", seen)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		}
	}
	for _, n := range l.Nodes() { // what docker-proxy does elsewhere: the node itself asks 127.0.0.1
		for _, proto := range []string{"tcp", "udp"} {
			seen, err := askedFrom(ctx, l, n, proto, "127.0.0.1:18080")
			if err != nil || !strings.HasPrefix(seen, l.Address(n).String()+":") {
				t.Errorf("%s asks its 127.0.0.1 over %s: the container saw %q, %v", n, proto, seen, err)
			}
		}
	}
	var held net.Listener
	if err := l.InNetwork(leader, func() (err error) { held, err = net.Listen("tcp4", ":18081"); return err }); err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // the same
	serve("refused", 18081)
	if err := l.Eventually(ctx, 60*time.Second, "the taken port is named", func() error {
		said, err := l.Docker(ctx, leader, "service", "ps", "--no-trunc", "--format", "{{.Node}}: {{.Error}}", "refused")
		if err == nil && (!strings.Contains(said, "port 18081/tcp of the node is taken by ") || !strings.Contains(said, "which has 0.0.0.0:18081")) {
			err = errors.New(said)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// tellClients answers on port 80 of a namespace with the client's address, until the test ends.
func tellClients(t *testing.T, space string) {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	err := namespace.Do(space, func() (err error) {
		if tcp, err = net.Listen("tcp4", ":80"); err == nil {
			udp, err = net.ListenPacket("udp4", ":80")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(tcp.Close(), udp.Close()) })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(c, c.RemoteAddr())
			_ = c.Close()
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(from.String()), from)
		}
	}()
}

// asked connects from the router and tells what the container answered.
func asked(ctx context.Context, l *lab.Lab, proto, at string) (string, error) {
	return askedFrom(ctx, l, lab.Router, proto, at)
}

func askedFrom(ctx context.Context, l *lab.Lab, node, proto, at string) (string, error) {
	c, err := l.DialContext(node)(ctx, proto, at)
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // it was only asked
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return "", err
	}
	if proto == "udp" {
		if _, err := c.Write([]byte("?\n")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 128)
	n, err := c.Read(b)
	return string(b[:n]), err
}
