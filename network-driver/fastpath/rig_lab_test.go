//go:build lab

package fastpath

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/kernel"
	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// both runs a test on each fast path.
func both(t *testing.T, f func(t *testing.T, w Wish)) {
	for _, w := range []Wish{BPF, NFT} {
		t.Run(string(w), func(t *testing.T) {
			t.Parallel()
			f(t, w)
		})
	}
}

// host is a node with a fast path of its own, and what it should hold.
type host struct {
	t     testing.TB
	space lan.Space
	addr  string
	wires *kernel.Wires
	path  *Path
	want  topology.Fast
}

// box is one container.
type box struct {
	lan.Space
	addr string
	leg  topology.Leg
}

func newHost(t testing.TB, l *lan.LAN, name, addr string, w Wish) *host {
	t.Helper()
	h := &host{t: t, space: l.Node(name, addr+"/24"), addr: addr}
	h.want = topology.Fast{Uplinks: []string{"eth0"}, MTU: 1500, Far: map[netip.Addr]topology.Group{}}
	h.space.Set("net/ipv4/ip_forward", "1")
	h.space.Must("iptables-nft -P FORWARD DROP")
	h.space.Must("iptables-nft -A FORWARD -s 10.210.0.0/16 -j ACCEPT")
	h.space.Must("iptables-nft -A FORWARD -d 10.210.0.0/16 -j ACCEPT")
	h.space.Do(func() (err error) { h.wires, err = kernel.OpenWires(); return err })
	t.Cleanup(h.wires.Close)
	h.open(Settings{Wish: w})
	return h
}

func (h *host) open(s Settings) {
	h.t.Helper()
	h.space.Do(func() (err error) { h.path, err = Open(s); return err })
	if s.Wish != Auto && s.Wish != Off && h.path.Name() != string(s.Wish) {
		h.t.Fatalf("the path is %+v, want %s", h.path.Report(), s.Wish)
	}
}

func (h *host) set() {
	h.t.Helper()
	if err := h.path.Set(h.want); err != nil {
		h.t.Fatal(err)
	}
}

// run starts a container.
func (h *host) run(id, addr string, mtu int) box {
	h.t.Helper()
	b := box{Space: lan.New(h.t, "box"+id), addr: addr}
	l := kerneltest.Link(id, addr)
	l.MTU = mtu
	if err := h.wires.Plug(l); err != nil {
		h.t.Fatal(err)
	}
	h.space.Must("ip link set " + l.Peer + " netns " + b.Name)
	b.Must("ip link set " + l.Peer + " name eth0")
	b.Must("ip addr add " + addr + "/32 dev eth0")
	b.Must("ip link set eth0 up")
	b.Must("ip route add 169.254.1.1/32 dev eth0")
	b.Must("ip route add default via 169.254.1.1")
	a := netip.MustParseAddr(addr)
	b.leg = topology.Leg{Name: l.Name, Address: a, MAC: l.MAC, MTU: mtu, Group: topology.Everyone, Sources: []netip.Addr{a}}
	h.want.Legs = append(h.want.Legs, b.leg)
	return b
}

// knows lays the route to another node's container, and puts it among the far ones.
func (h *host) knows(b box, via *host) {
	h.t.Helper()
	h.space.Must("ip route replace " + b.addr + "/32 via " + via.addr + " proto 82")
	h.want.Far[netip.MustParseAddr(b.addr)] = topology.Everyone
}

// forwarded is how many packets went through FORWARD.
func (h *host) forwarded() (n int) {
	h.t.Helper()
	for _, line := range strings.Split(h.space.Must("iptables-nft -nvxL FORWARD"), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "ACCEPT" {
			k, err := strconv.Atoi(f[0])
			if err != nil {
				h.t.Fatal(err)
			}
			n += k
		}
	}
	return n
}

// two hosts with a container each, who know each other; the first has a second container.
func site(t testing.TB, w Wish) (one, two *host, a, b, c box) {
	t.Helper()
	l := lan.NewLAN(t)
	one, two = newHost(t, l, "n1", "10.98.0.21", w), newHost(t, l, "n2", "10.98.0.22", w)
	a, b, c = one.run("a1", "10.210.3.7", 1500), two.run("b2", "10.210.3.8", 1500), one.run("c3", "10.210.3.9", 1500)
	one.knows(b, two)
	two.knows(a, one)
	two.knows(c, one)
	one.set()
	two.set()
	return one, two, a, b, c
}

// talk is a TCP connection over which a line goes to and fro, again and again, until the test ends.
type talk struct {
	t     *testing.T
	lines atomic.Int64
	fail  atomic.Pointer[error]
	end   func()
}

func converse(t *testing.T, from, to box) *talk {
	t.Helper()
	var server net.Listener
	to.Do(func() (err error) { server, err = net.Listen("tcp4", to.addr+":0"); return err })
	go func() {
		if c, err := server.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	var client net.Conn
	from.Do(func() (err error) {
		client, err = net.DialTimeout("tcp4", server.Addr().String(), 5*time.Second)
		return err
	})
	k := &talk{t: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		line := []byte(strings.Repeat("x", 20000))
		for {
			_, err := client.Write(line)
			if err == nil {
				_, err = io.ReadFull(client, line)
			}
			if err != nil {
				k.fail.Store(&err)
				return
			}
			k.lines.Add(1)
			time.Sleep(time.Millisecond)
		}
	}()
	k.end = func() {
		_ = client.Close()
		_ = server.Close()
		<-done
	}
	t.Cleanup(k.end)
	return k
}

// goesOn waits for some more lines.
func (k *talk) goesOn(what string) {
	k.t.Helper()
	want := k.lines.Load() + 20
	lan.Eventually(k.t, 10*time.Second, "the connection goes on after: "+what, func() error {
		if err := k.fail.Load(); err != nil {
			return *err
		}
		if n := k.lines.Load(); n < want {
			return fmt.Errorf("%d lines, want %d", n, want)
		}
		return nil
	})
}

func (h *host) packets(way string) uint64 { return h.path.Report().Packets[way] }

// still says that traffic flows and FORWARD sees nothing of it.
func still(t *testing.T, k *talk, hosts ...*host) {
	t.Helper()
	k.goesOn("warming up") // the stack finds the neighbours
	var before []int
	for _, h := range hosts {
		before = append(before, h.forwarded())
	}
	k.goesOn("counting")
	for i, h := range hosts {
		if n := h.forwarded(); n != before[i] {
			t.Errorf("FORWARD of %s saw %d packets of a permitted connection", h.space.Name, n-before[i])
		}
	}
}
