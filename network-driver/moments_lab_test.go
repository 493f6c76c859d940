//go:build lab

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

const (
	// spyPort is one that no permit ever names.
	spyPort = 7777
	// everyMoment: so often each way is tried.
	everyMoment = 8 * time.Millisecond
)

// spies try again and again to get through to another project, while others of the own project may: a single datagram that
// arrives is a moment of openness.
type spies struct {
	t        *testing.T
	done     chan struct{}
	group    sync.WaitGroup
	mu       sync.Mutex // guards the rest
	breaches []string
	sent     atomic.Int64
	own      atomic.Int64 // datagrams that may arrive, and did
}

func newSpies(t *testing.T) *spies {
	k := &spies{t: t, done: make(chan struct{})}
	t.Cleanup(k.end)
	return k
}

func (k *spies) end() {
	select {
	case <-k.done:
	default:
		close(k.done)
	}
	k.group.Wait()
}

func (k *spies) socket(s lan.Space, port int) (c *net.UDPConn) {
	s.Do(func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		return err
	})
	k.group.Go(func() {
		<-k.done
		_ = c.Close()
	})
	return c
}

// watch listens for what another project sends.
func (k *spies) watch(s lan.Space, project, name string) {
	c := k.socket(s, spyPort)
	k.group.Go(func() {
		for b := make([]byte, 128); ; {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if bytes.HasPrefix(b[:n], []byte(project+" ")) {
				k.own.Add(1)
				continue
			}
			k.mu.Lock()
			k.breaches = append(k.breaches, fmt.Sprintf("%s %s got %q from %s", time.Now().Format("05.000"), name, b[:n], from))
			k.mu.Unlock()
		}
	})
}

// send sends to all these, ever again.
func (k *spies) send(s lan.Space, project, name string, to []netip.AddrPort) {
	c := k.socket(s, 0)
	k.group.Go(func() {
		tick := time.NewTicker(everyMoment)
		defer tick.Stop()
		for {
			for _, a := range to {
				if _, err := c.WriteToUDPAddrPort([]byte(project+" "+name+" to "+a.String()), a); err == nil {
					k.sent.Add(1)
				}
			}
			select {
			case <-k.done:
				return
			case <-tick.C:
			}
		}
	})
}

// goesOn wants that what may arrive does, and that nothing else did.
func (k *spies) goesOn(when string) {
	k.t.Helper()
	want := k.own.Load() + 50
	lan.Eventually(k.t, 20*time.Second, "own datagrams arrive "+when, func() error {
		if n := k.own.Load(); n < want {
			return fmt.Errorf("%d, want %d", n, want)
		}
		return nil
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, b := range k.breaches {
		if i < 5 {
			k.t.Errorf("%s: %s", when, b)
		}
	}
	if n := len(k.breaches); n > 0 {
		k.t.Errorf("%s: %d datagrams of others arrived", when, n)
	}
	k.breaches = nil
}

// targets are all ways to a project's residents, those on a node to come as well.
func (m *matrix) targets(project string) (all []netip.AddrPort) {
	for _, r := range m.residents {
		if r.project != project {
			continue
		}
		for _, w := range r.ways {
			port := uint16(spyPort)
			if w.name == "published" {
				port = w.ports[0] - 8080 + spyPort
			}
			all = append(all, netip.AddrPortFrom(w.address, port))
		}
	}
	return all
}

// joining is the node that comes later: its containers of a project have these addresses.
func joining(j, i int) []netip.AddrPort {
	address := wardAddress(j, i+1)
	return []netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr(address), spyPort), netip.AddrPortFrom(netip.MustParseAddr(sixOf(address)), spyPort),
		netip.AddrPortFrom(netip.MustParseAddr(wardAddress(j, 91+i)), spyPort), netip.AddrPortFrom(netip.MustParseAddr(nodeAddress(i+1)), uint16(18080+j-8080+spyPort)),
	}
}

// moments: while permits come and go, plugins die and come back, and a node joins, nothing gets through that no label
// permits, and what is allowed always does.
func (m *matrix) moments(join bool) {
	m.t.Helper()
	m.lay(map[string]string{"orders": "payments:8080"})
	k := newSpies(m.t)
	defer k.end()
	other := map[string]string{"orders": "payments", "payments": "orders"}
	spy := func(r *resident, more []netip.AddrPort) {
		if other[r.project] != "" {
			k.watch(r.space, r.project, r.String())
			k.send(r.space, r.project, r.String(), append(m.targets(other[r.project]), more...))
			if own := m.targets(r.project); len(own) > 0 {
				k.send(r.space, r.project, r.String(), own[:1])
			}
		}
	}
	for _, r := range m.residents {
		var more []netip.AddrPort
		if join {
			more = joining(map[string]int{"orders": 1, "payments": 0}[r.project], 2)
		}
		spy(r, more)
	}
	k.goesOn("at first")
	for range 3 {
		m.lay(map[string]string{"orders": "payments:9090/udp", "payments": "public"})
		m.lay(map[string]string{"orders": "payments:8080,public", "public": "orders,payments"})
	}
	k.goesOn("after permits came and went")
	for _, r := range m.nodes {
		r.kill()
	}
	k.goesOn("while the plugins are dead")
	for _, r := range m.nodes {
		r.start()
	}
	k.goesOn("after the plugins' start")
	if join {
		m.born = func(r *resident) { spy(r, nil) }
		m.join()
		k.goesOn("after a node joined")
	}
	m.lay(nil)
	k.goesOn("after all was closed")
	k.end()
	m.t.Logf("%d datagrams of others tried, %d of the own arrived", k.sent.Load(), k.own.Load())
}

// join is a third node, which never saw a policy.
func (m *matrix) join() {
	m.t.Helper()
	i := len(m.nodes)
	m.all = append(m.all, member{nodeAddress(i + 1), false})
	s := m.lan.Node(fmt.Sprintf("n%d", i+1), nodeAddress(i+1)+"/24")
	s.Set("net/ipv4/ip_forward", "1")
	m.nodes = append(m.nodes, newRig(m.t, s, append([]string{"ROLLING_BGP_HOLD=3s"}, m.extra...)...))
	m.prepare(i)
	m.tell()
	for n := range m.nodes {
		m.services(n, i+1)
	}
	m.settle(i)
	m.known(2 * (3*len(wards) + 2*2))
}
