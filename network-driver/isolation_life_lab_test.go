//go:build lab

package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// at gives the place of a project on a node.
func (w *town) at(project string, node int) place {
	for _, p := range w.places {
		if p.project == project && p.node == node {
			return p
		}
	}
	w.t.Fatalf("no %q on n%d", project, node+1)
	return place{}
}

// conversation is one connection over which a line goes to and fro.
type conversation struct {
	c     net.Conn
	lines atomic.Int64
}

func converse(t *testing.T, from, to place) *conversation {
	t.Helper()
	k := &conversation{}
	from.space.Do(func() (err error) {
		k.c, err = net.DialTimeout("tcp4", net.JoinHostPort(to.address, "8080"), 10*time.Second)
		return err
	})
	t.Cleanup(func() { _ = k.c.Close() })
	go func() {
		for echo(k.c, time.Minute) == nil {
			k.lines.Add(1)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return k
}

func (k *conversation) goesOn(t *testing.T, when string) {
	t.Helper()
	want := k.lines.Load() + 10
	lan.Eventually(t, 15*time.Second, "the connection goes on "+when, func() error {
		if n := k.lines.Load(); n < want {
			return fmt.Errorf("%d lines, want %d", n, want)
		}
		return nil
	})
}

// ends waits until nothing has gone to and fro for a while.
func (k *conversation) ends(t *testing.T, when string) {
	t.Helper()
	lan.Eventually(t, 15*time.Second, "the connection ends "+when, func() error {
		before := k.lines.Load()
		time.Sleep(700 * time.Millisecond)
		if n := k.lines.Load(); n != before {
			return fmt.Errorf("%d lines more", n-before)
		}
		return nil
	})
}

// push is a server that was asked once, and sends on for ever: only as answers of that one question may its packets pass.
func push(t *testing.T, from, to place) *conversation {
	t.Helper()
	var server net.PacketConn
	to.space.Do(func() (err error) {
		server, err = net.ListenPacket("udp4", net.JoinHostPort(to.address, "8080"))
		return err
	})
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		_, asker, err := server.ReadFrom(make([]byte, 64))
		for err == nil {
			time.Sleep(10 * time.Millisecond)
			_, err = server.WriteTo([]byte("more"), asker)
		}
	}()
	k := &conversation{}
	from.space.Do(func() (err error) {
		k.c, err = net.Dial("udp4", net.JoinHostPort(to.address, "8080"))
		if err == nil {
			_, err = k.c.Write([]byte("please"))
		}
		return err
	})
	t.Cleanup(func() { _ = k.c.Close() })
	go func() {
		for b := make([]byte, 64); ; k.lines.Add(1) {
			if _, err := k.c.Read(b); err != nil {
				return
			}
		}
	}()
	return k
}

// tries connects again and again, and counts.
type tries struct {
	good, bad atomic.Int64
	done      chan struct{}
}

func tryOn(from, to place, port string, within time.Duration) *tries {
	k := &tries{done: make(chan struct{})}
	go func() {
		for {
			select {
			case <-k.done:
				return
			default:
			}
			if from.reaches(to, port, within) == nil {
				k.good.Add(1)
			} else {
				k.bad.Add(1)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	return k
}

func TestAPermitsChangeAndThePluginsDeathNeverOpenNorBreak(t *testing.T) {
	paths(t, func(t *testing.T, path string) {
		w := newTown(t, "ROLLING_FASTPATH="+path)
		w.lay(map[string]string{"orders": "payments:8080"})
		from, to := w.at("payments", 0), w.at("orders", 1)
		long, own := converse(t, from, to), converse(t, w.at("orders", 0), to)
		pushed := push(t, from, to)
		for _, k := range []*conversation{long, own, pushed} {
			k.goesOn(t, "at first")
		}
		denied := []*tries{tryOn(from, to, "9090", 100*time.Millisecond), tryOn(w.at("payments", 1), to, "9090", 100*time.Millisecond), tryOn(to, from, "8080", 100*time.Millisecond)}
		allowed := []*tries{tryOn(w.at("orders", 0), to, "9090", 20*time.Second), tryOn(from, to, "8080", 20*time.Second)}

		for range 3 { // what is not spoken of stays as it is
			w.lay(map[string]string{"orders": "payments:8080", "payments": "public"})
			w.lay(map[string]string{"orders": "payments:8080,public"})
		}
		for _, r := range w.nodes {
			r.kill()
		}
		for _, k := range []*conversation{long, own, pushed} {
			k.goesOn(t, "while the plugins are dead")
		}
		for _, r := range w.nodes {
			r.start()
		}
		w.meet()
		for _, k := range []*conversation{long, own, pushed} {
			k.goesOn(t, "after new ones have begun")
		}
		for _, k := range append(denied, allowed...) {
			close(k.done)
		}
		for i, k := range denied {
			if n := k.good.Load(); n != 0 || k.bad.Load() < 5 {
				t.Errorf("what is denied (%d) came through %d times, and did not %d times", i, n, k.bad.Load())
			}
		}
		for i, k := range allowed {
			if n := k.bad.Load(); n != 0 || k.good.Load() < 5 {
				t.Errorf("what is allowed (%d) failed %d times, and did not %d times", i, n, k.good.Load())
			}
		}

		w.lay(nil)
		long.ends(t, "with its permit")
		pushed.ends(t, "with its permit")
		own.goesOn(t, "within the project")
		w.lay(map[string]string{"orders": "payments:8080"})
		converse(t, from, to).goesOn(t, "when it is opened anew")
	})
}

func (r *rig) connections() int {
	r.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(r.space.Must("sysctl -n net.netfilter.nf_conntrack_count")))
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestAttackersInAContainerAreStoppedAndCounted(t *testing.T) {
	t.Parallel()
	w := newTown(t, "ROLLING_FASTPATH=off")
	attacker, victim, neighbour := w.at("payments", 0), w.at("orders", 1), w.at("orders", 0)
	harmed := tryOn(neighbour, victim, "8080", 20*time.Second)

	// The manager's BGP and the agents' port, of its own node and of another one.
	if err := dial(w.outside, nodeAddress(1), "1790", 5*time.Second); err != nil {
		t.Errorf("BGP does not even answer a machine of the company: %v", err)
	}
	for _, from := range []place{attacker, w.at("payments", 1)} {
		for _, port := range []string{"1790", "1791"} {
			if err := dial(from, nodeAddress(1), port, time.Second); err == nil || strings.Contains(err.Error(), "refused") {
				t.Errorf("port %s of the manager's node answers %s: %v", port, from, err)
			}
		}
	}

	// Fragments pass as the whole packet does.
	if out, err := neighbour.space.Try("busybox ping -c 2 -W 2 -s 4000 " + victim.address); err != nil {
		t.Errorf("large packets within the project: %s", out)
	}
	if out, err := attacker.space.Try("busybox ping -c 2 -i 0.1 -W 1 -s 4000 " + victim.address); err == nil {
		t.Errorf("fragments came through: %s", out)
	}

	// It says that it has the gateway's address, and a neighbour's.
	for _, lie := range []string{"169.254.1.1", neighbour.address, victim.address} {
		attacker.space.Must("ip addr add " + lie + "/32 dev eth0")
		_, _ = attacker.space.Try("busybox arping -U -c 2 -w 1 -I eth0 -s " + lie + " " + lie)
		_, _ = attacker.space.Try("busybox arping -c 1 -w 1 -I eth0 -s " + lie + " 169.254.1.2")
		attacker.space.Must("ip addr del " + lie + "/32 dev eth0")
	}
	if err := neighbour.reaches(victim, "8080", 5*time.Second); err != nil {
		t.Errorf("after false ARP: %v", err)
	}

	// A flood of new connections that nobody allows.
	before, dropped := w.nodes[0].connections(), w.nodes[0].state().Isolation.Denied
	attacker.space.Do(func() error {
		for port := range 20000 {
			c, err := net.Dial("udp4", net.JoinHostPort(victim.address, strconv.Itoa(1024+port)))
			if err != nil {
				return err
			}
			_, _ = c.Write([]byte("x")) // what becomes of it is asked below
			_ = c.Close()
		}
		return nil
	})
	if n := w.nodes[0].connections() - before; n > 2000 {
		t.Errorf("20000 denied packets left %d connections behind", n)
	}
	if n := w.nodes[0].state().Isolation.Denied - dropped; n < 19000 {
		t.Errorf("of 20000 denied packets %d were counted", n)
	}
	close(harmed.done)
	if n := harmed.bad.Load(); n != 0 || harmed.good.Load() < 5 {
		t.Errorf("a neighbour's connections failed %d times, and did not %d times", n, harmed.good.Load())
	}
}

// dial only opens a connection.
func dial(from place, address, port string, within time.Duration) error {
	var err error
	from.space.Do(func() error {
		var c net.Conn
		if c, err = net.DialTimeout("tcp4", net.JoinHostPort(address, port), within); err == nil {
			return c.Close()
		}
		return nil
	})
	return err
}
