//go:build lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/rolling-swarm/rolling/lab/namespace"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(speakAs); what != "" {
		fmt.Fprintln(os.Stderr, speak(what))
		os.Exit(1)
	}
	code := m.Run()
	if err := CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestANodeIsAMachineOfItsOwn(t *testing.T) {
	t.Parallel()
	l := Up(t, Options{Managers: 1, Workers: 1})
	ctx := t.Context()
	must(t, l.LoadShell(ctx))

	t.Run("it has its name, its address and its own processes", func(t *testing.T) {
		out, err := l.Exec(ctx, "n2", "sh", "-c", "hostname; ip -4 -o addr show eth0 | awk '{print $4}'; cat /proc/1/cmdline | tr '\\0' ' '")
		must(t, err)
		if want := "n2\n10.99.0.22/24\n/bin/bash /host/engine.sh "; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("the engine has turned forwarding on and dropped the rest", func(t *testing.T) {
		out, err := l.Exec(ctx, "n1", "sh", "-c", "cat /proc/sys/net/ipv4/ip_forward; iptables -S FORWARD | head -n 1")
		must(t, err)
		if out != "1\n-P FORWARD DROP\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("an error of a command holds what it wrote to stderr", func(t *testing.T) {
		_, err := l.Exec(ctx, "n1", "sh", "-c", "echo broken pipe >&2; exit 3")
		if err == nil || !strings.Contains(err.Error(), "broken pipe") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a command ends with its context, and what it started", func(t *testing.T) {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if _, err := l.Exec(short, "n1", "sh", "-c", "sleep 4321; true"); err == nil {
			t.Error("a command that was cut off succeeded")
		}
		must(t, l.Eventually(ctx, 5*time.Second, "no sleep on n1", func() error {
			if out, err := l.Exec(ctx, "n1", "pgrep", "-fx", "sleep 4321"); err == nil {
				return fmt.Errorf("still there: %s", out)
			}
			return nil
		}))
	})
	t.Run("the API is spoken from outside", func(t *testing.T) {
		c, err := l.Client("n1")
		must(t, err)
		defer c.Close()
		got, err := c.NodeList(ctx, client.NodeListOptions{})
		must(t, err)
		if len(got.Items) != 2 {
			t.Errorf("n1 knows %d nodes, want 2", len(got.Items))
		}
	})
	t.Run("a container's network can be entered from outside", func(t *testing.T) { entersContainer(t, l) })
	t.Run("a node that is not there is refused with the names that are", func(t *testing.T) {
		_, err := l.Client("n7")
		if err == nil || !strings.Contains(err.Error(), "n1, n2") {
			t.Errorf("got %v", err)
		}
	})
}

func entersContainer(t *testing.T, l *Lab) {
	id, err := l.Docker(t.Context(), "n1", "run", "-d", "--init", ShellImage, "sleep", "1000")
	must(t, err)
	path, err := l.ContainerNetwork("n1", strings.TrimSpace(id))
	must(t, err)
	var inside string
	must(t, namespace.Do(path, func() error {
		text, err := os.ReadFile("/proc/thread-self/net/fib_trie")
		inside = string(text)
		return err
	}))
	if !strings.Contains(inside, "172.17.0.2") {
		t.Errorf("the container's own address is not in\n%s", inside)
	}
}

func TestPartsStandOnTheRouter(t *testing.T) {
	t.Parallel()
	l := Up(t, Options{Managers: 1})
	ctx := t.Context()
	must(t, l.LoadShell(ctx))
	must(t, l.StartPart(ctx, "registry"))
	must(t, l.StartPart(ctx, "bird"))

	t.Run("a node pushes to the registry and pulls from it", func(t *testing.T) {
		for _, args := range [][]string{{"tag", ShellImage, "10.99.0.1:5000/shell:1"}, {"push", "-q", "10.99.0.1:5000/shell:1"}, {"rmi", "10.99.0.1:5000/shell:1"}, {"pull", "-q", "10.99.0.1:5000/shell:1"}} {
			_, err := l.Docker(ctx, "n1", args...)
			must(t, err)
		}
	})
	t.Run("the registry keeps its images over a kill", func(t *testing.T) {
		must(t, l.KillPart(ctx, "registry"))
		if _, err := l.Docker(ctx, "n1", "pull", "-q", "10.99.0.1:5000/shell:1"); err == nil {
			t.Fatal("a killed registry still answers")
		}
		must(t, l.StartPart(ctx, "registry"))
		_, err := l.Docker(ctx, "n1", "pull", "-q", "10.99.0.1:5000/shell:1")
		must(t, err)
	})
	t.Run("a relay carries this machine's port to it", func(t *testing.T) {
		relaying, stop := context.WithCancel(ctx)
		defer stop()
		addr, err := l.Relay(relaying, 0, "router:5000")
		must(t, err)
		resp, err := http.Get("http://" + addr + "/v2/_catalog")
		must(t, err)
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), "shell") {
			t.Errorf("the catalogue is %q", body)
		}
	})
	t.Run("a relay finds the node that listens on its loopback", func(t *testing.T) {
		relaying, stop := context.WithCancel(ctx)
		defer stop()
		addr, err := l.Relay(relaying, 0, "loopback:2999")
		must(t, err)
		for _, node := range l.Nodes() {
			var listener net.Listener
			must(t, l.InNetwork(node, func() (err error) {
				listener, err = net.Listen("tcp4", "127.0.0.1:2999")
				return err
			}))
			go func() {
				if conn, err := listener.Accept(); err == nil {
					_, _ = io.WriteString(conn, "this is "+node)
					_ = conn.Close()
				}
			}()
			conn, err := net.Dial("tcp4", addr)
			must(t, err)
			if said, err := io.ReadAll(conn); err != nil || string(said) != "this is "+node {
				t.Errorf("%s: %q, %v", node, said, err)
			}
			must(t, errors.Join(conn.Close(), listener.Close()))
		}
	})
	t.Run("a client inside the LAN reaches it by DialContext", func(t *testing.T) {
		c := http.Client{Transport: &http.Transport{DialContext: l.DialContext("n1"), DisableKeepAlives: true}}
		resp, err := c.Get("http://router:5000/v2/")
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("got %s", resp.Status)
		}
	})
	t.Run("the router has no route as long as nobody speaks BGP to it", func(t *testing.T) {
		routes, err := l.Routes(ctx)
		must(t, err)
		if len(routes) != 0 {
			t.Errorf("got %v", routes)
		}
	})
	t.Run("a stopped part is off", func(t *testing.T) {
		must(t, l.StopPart(ctx, "bird"))
		if _, err := l.Routes(ctx); err == nil {
			t.Error("routes of a router that is off")
		}
	})
}

func TestTwoLabsStandSideBySide(t *testing.T) {
	t.Parallel()
	one, two := Up(t, Options{Managers: 1}), Up(t, Options{Managers: 1})
	ctx := t.Context()
	if one.Address("n1") != two.Address("n1") {
		t.Fatal("the labs have different addresses, so this proves nothing")
	}
	_, err := one.Exec(ctx, "n1", "touch", "/only-here")
	must(t, err)
	if out, err := two.Exec(ctx, "n1", "ls", "/only-here"); err == nil {
		t.Errorf("the other lab's node has it too: %s", out)
	}
	must(t, two.Down(ctx))
	if _, err := one.Docker(ctx, "n1", "node", "ls"); err != nil {
		t.Errorf("the first lab fell with the second: %v", err)
	}
}

func TestTheSwarmSurvivesWhatADataCentreDoes(t *testing.T) {
	t.Parallel()
	l := Up(t, Options{Managers: 3})
	ctx := t.Context()
	leader, err := l.Leader(ctx)
	must(t, err)
	others := slices.DeleteFunc(l.Nodes(), func(n string) bool { return n == leader })

	t.Run("the disk of a node outlives a power loss", func(t *testing.T) {
		_, err := l.Exec(ctx, others[0], "sh", "-c", "mkdir -p /var/lib/rolling && echo kept >/var/lib/rolling/file && sync")
		must(t, err)
		must(t, l.Kill(ctx, others[0]))
		if l.On(others[0]) {
			t.Fatal("it is still on")
		}
		must(t, l.Start(ctx, others[0]))
		out, err := l.Exec(ctx, others[0], "cat", "/var/lib/rolling/file")
		must(t, err)
		if out != "kept\n" {
			t.Errorf("got %q", out)
		}
		rejoins(ctx, t, l)
	})
	t.Run("a new leader follows one that lost its power, which comes back", func(t *testing.T) {
		started := time.Now()
		must(t, l.Kill(ctx, leader))
		must(t, l.Eventually(ctx, 60*time.Second, "a new leader", func() error { _, err := l.Leader(ctx); return err }))
		t.Logf("new leader after %.1f s", time.Since(started).Seconds())
		started = time.Now()
		must(t, l.Start(ctx, leader))
		rejoins(ctx, t, l)
		t.Logf("back in the Swarm after %.1f s", time.Since(started).Seconds())
	})
	t.Run("a cut node is silent, is down for the others, and comes back", func(t *testing.T) {
		must(t, l.Cut(ctx, "n3"))
		hears(ctx, t, l, "n1", "n3", false)
		must(t, l.Eventually(ctx, 60*time.Second, "n3 down", func() error { return swarmSees(ctx, l, "n3", "down") }))
		must(t, l.Join(ctx, "n3"))
		hears(ctx, t, l, "n1", "n3", true)
		rejoins(ctx, t, l)
	})
	t.Run("a partition parts the groups and nothing else", func(t *testing.T) {
		must(t, l.Partition(ctx, []string{"n1", "n2"}, []string{"n3", Router}))
		hears(ctx, t, l, "n1", "n2", true)
		hears(ctx, t, l, "n3", Router, true)
		hears(ctx, t, l, "n1", "n3", false)
		hears(ctx, t, l, "n3", "n2", false)
		hears(ctx, t, l, "n1", Router, false)
		must(t, l.Partition(ctx, []string{"n1"}, []string{"n3"}))
		hears(ctx, t, l, "n1", Router, true)
		hears(ctx, t, l, "n2", "n3", true)
		hears(ctx, t, l, "n1", "n3", false)
		must(t, l.Heal(ctx))
		hears(ctx, t, l, "n1", "n3", true)
		rejoins(ctx, t, l)
	})
	t.Run("a killed engine comes back by itself", func(t *testing.T) {
		before, err := l.Exec(ctx, "n2", "cat", "/run/docker.pid")
		must(t, err)
		must(t, l.KillEngine(ctx, "n2"))
		must(t, l.Eventually(ctx, 30*time.Second, "another engine", func() error {
			after, err := l.Exec(ctx, "n2", "cat", "/run/docker.pid")
			if err == nil && after == before {
				err = errors.New("it is the same")
			}
			return err
		}))
		must(t, l.waitEngine(ctx, "n2"))
		rejoins(ctx, t, l)
	})
	t.Run("a delay is laid, or the kernel's lack is named", func(t *testing.T) { slows(ctx, t, l) })
	t.Run("up brings back what is off and adds a worker", func(t *testing.T) {
		must(t, l.Kill(ctx, "n3"))
		must(t, l.Cut(ctx, "n2"))
		must(t, l.Up(ctx, Options{Workers: 1, Log: t.Logf}))
		if want := []string{"n1", "n2", "n3", "n4"}; !slices.Equal(l.Nodes(), want) {
			t.Errorf("nodes are %v, want %v", l.Nodes(), want)
		}
		s, err := l.Status(ctx)
		must(t, err)
		for _, n := range s.Nodes {
			if n.Power != "on" || n.Cable != "joined" || n.Swarm != "ready" || (n.Role == "worker") != (n.Name == "n4") {
				t.Errorf("got %+v", n)
			}
		}
	})
}

// rejoins waits until every node is Ready and every manager reachable.
func rejoins(ctx context.Context, t *testing.T, l *Lab) {
	t.Helper()
	r, err := l.readRecord()
	must(t, err)
	must(t, l.waitReady(ctx, r))
}

func swarmSees(ctx context.Context, l *Lab, node, state string) error {
	s, err := l.Status(ctx)
	if err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if n.Name == node && n.Swarm != state {
			return fmt.Errorf("%s is %s", node, n.Swarm)
		}
	}
	return nil
}

// hears dials a closed port: a refusal has come all the way from the other node, silence has not.
func hears(ctx context.Context, t *testing.T, l *Lab, from, to string, want bool) {
	t.Helper()
	probe := func() bool {
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		conn, err := l.DialContext(from)(ctx, "tcp4", netip.AddrPortFrom(l.Address(to), 9).String())
		if err == nil {
			conn.Close()
		}
		return err == nil || strings.Contains(err.Error(), "refused")
	}
	err := l.Eventually(ctx, 15*time.Second, fmt.Sprintf("%s to hear %s: %t", from, to, want), func() error {
		if probe() != want {
			return errors.New("not so")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func slows(ctx context.Context, t *testing.T, l *Lab) {
	err := l.Slow(ctx, "n1", 200*time.Millisecond)
	if err != nil {
		if !strings.Contains(err.Error(), "netem") {
			t.Errorf("the error does not say what the kernel lacks: %v", err)
		}
		return
	}
	started := time.Now()
	hears(ctx, t, l, "n1", "n2", true)
	if took := time.Since(started); took < 200*time.Millisecond {
		t.Errorf("a round trip over a slow cable took %s", took)
	}
	must(t, l.Slow(ctx, "n1", 0))
}

func TestOtherEngines(t *testing.T) {
	t.Parallel()
	for suite, version := range map[string]string{"trixie": "26.", "bookworm": "20.10"} {
		t.Run(suite, func(t *testing.T) {
			l := Up(t, Options{Managers: 1, Workers: 1, Engine: suite})
			must(t, l.LoadShell(t.Context()))
			s, err := l.Status(t.Context())
			must(t, err)
			if !strings.HasPrefix(s.Nodes[1].Version, version) {
				t.Errorf("n2 runs %s, want %s…", s.Nodes[1].Version, version)
			}
			out, err := l.Docker(t.Context(), "n2", "run", "--rm", ShellImage, "echo", "hello")
			must(t, err)
			if out != "hello\n" {
				t.Errorf("got %q", out)
			}
		})
	}
}
