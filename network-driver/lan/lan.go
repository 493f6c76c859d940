//go:build lab

// Package lan gives tests a network of their own: network namespaces for nodes and containers, joined by a bridge in one
// more, all gone when the test ends. It knows iproute2 and processes; it knows no plugin, no Swarm and no engine.
package lan

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

// Space is one network namespace.
type Space struct {
	t    testing.TB
	Name string
}

// made counts the namespaces of this process: tests run side by side.
var made atomic.Int64

// New makes an empty namespace with a loopback interface that is up.
func New(t testing.TB, name string) Space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	s := Space{t, fmt.Sprintf("rt%d-%d-%s", os.Getpid(), made.Add(1), name)}
	if err := namespace.Make(s.Name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespace.Remove(s.Name); err != nil {
			t.Error(err)
		}
	})
	s.Must("ip link set lo up")
	return s
}

// Do runs f on a thread inside the namespace; sockets that f makes stay inside for good.
func (s Space) Do(f func() error) {
	s.t.Helper()
	if err := namespace.Do(namespace.Path(s.Name), f); err != nil {
		s.t.Fatal(err)
	}
}

// Command is a process inside the namespace; its id is that of the process itself.
func (s Space) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + namespace.Path(s.Name), "--"}, args...)...)
}

// Try runs a line of words inside, and gives its output.
func (s Space) Try(line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	c := s.Command(ctx, strings.Fields(line)...)
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

// Must is Try for what cannot fail.
func (s Space) Must(line string) string {
	s.t.Helper()
	out, err := s.Try(line)
	if err != nil {
		s.t.Fatalf("%s: %s: %v: %s", s.Name, line, err, out)
	}
	return out
}

// Set writes a switch under /proc/sys of the namespace.
func (s Space) Set(key, value string) {
	s.t.Helper()
	s.Do(func() error { return namespace.Set(key, value) })
}

// Picture is all that the host has, as people see it, less the carrier, which comes up a little later.
func (s Space) Picture() string {
	s.t.Helper()
	var links strings.Builder
	for _, l := range strings.Split(s.Must("ip -o link"), "\n") {
		_, rest, _ := strings.Cut(l, ": ")
		name, _, _ := strings.Cut(rest, ":")
		if _, mtu, ok := strings.Cut(rest, " mtu "); ok { // iproute2 may add a remark of its own
			links.WriteString(name + " mtu " + strings.Fields(mtu)[0] + "\n")
		}
	}
	return links.String() + s.Must("ip -4 -o addr") + strings.ReplaceAll(s.Must("ip -4 route show table all"), " linkdown", "") + s.Must("iptables-nft -S")
}

// Everything is Picture, and all else that somebody could leave behind: rules of nftables and of tc, and the switches.
func (s Space) Everything() string {
	s.t.Helper()
	text := s.Picture() + s.Must("nft -s list ruleset") + s.Must("tc qdisc")
	for _, line := range strings.Split(s.Must("ip -o link"), "\n") {
		if f := strings.Fields(line); len(f) > 1 && strings.HasSuffix(f[0], ":") && strings.Contains(line, " mtu ") {
			name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
			for _, way := range []string{"ingress", "egress"} {
				filters, _ := s.Try("tc filter show dev " + name + " " + way) // there is no discipline on most
				text += filters
			}
		}
	}
	// An address is tentative for a second.
	text += strings.ReplaceAll(s.Must("ip -6 -o addr"), " tentative", "") + s.Must("ip -6 route show table all proto 82")
	return text + s.Must("sysctl -a --pattern ^net.ipv4.(conf|ip_forward)") + s.Must("sysctl -a --pattern ^net.ipv6.conf.*(forwarding|accept_ra|disable_ipv6)$")
}

// LAN is a bridge and what is plugged into it.
type LAN struct {
	t      testing.TB
	bridge Space
	n      int
}

// NewLAN makes the bridge, in a namespace without an uplink.
func NewLAN(t testing.TB) *LAN {
	t.Helper()
	b := New(t, "lan")
	b.Must("ip link add br0 type bridge forward_delay 0")
	b.Must("ip link set br0 up")
	return &LAN{t: t, bridge: b}
}

// Node is a namespace with one cable to the bridge: eth0, with the address.
func (l *LAN) Node(name, cidr string) Space {
	l.t.Helper()
	s := New(l.t, name)
	l.n++
	port := fmt.Sprintf("p%d", l.n)
	l.bridge.Must(fmt.Sprintf("ip link add %s type veth peer name eth0 netns %s", port, s.Name))
	l.bridge.Must("ip link set " + port + " master br0")
	l.bridge.Must("ip link set " + port + " up")
	s.Must("ip addr add " + cidr + " dev eth0")
	s.Must("ip link set eth0 up")
	return s
}

// Eventually polls until the check finds nothing to say, and fails with what it said last.
func Eventually(t *testing.T, within time.Duration, what string, check func() error) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		err := check()
		if err == nil {
			return time.Since(begun)
		}
		if time.Since(begun) > within {
			t.Fatalf("%s: not within %v: %v", what, within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Differences are the lines that only one of two texts has.
func Differences(before, after string) string {
	count := map[string]int{}
	for _, l := range strings.Split(before, "\n") {
		count[l]--
	}
	for _, l := range strings.Split(after, "\n") {
		count[l]++
	}
	var all []string
	for l, n := range count {
		if n != 0 {
			all = append(all, fmt.Sprintf("%+d %s", n, l))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
