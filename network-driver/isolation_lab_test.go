//go:build lab

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/policy"
)

// places of a probe: who asks, and who is asked.
type place struct {
	space   lan.Space
	node    int // of the fabric; -1: none
	project string
	open    bool
	address string
}

func (p place) String() string {
	return fmt.Sprintf("%s of %q on n%d", p.address, p.project, p.node+1)
}

// town is two nodes with a container of every project on each, and a machine of the company.
type town struct {
	*mesh
	places  []place
	outside place
}

var wards = []struct {
	project string
	options map[string]any
}{
	{"orders", map[string]any{"rolling.project": "orders"}},
	{"payments", map[string]any{"rolling.project": "payments", "rolling.isolation": "project"}},
	{"public", map[string]any{"rolling.project": "public", "rolling.isolation": "open"}},
	{"", nil},
}

func newTown(t *testing.T, extra ...string) *town {
	t.Helper()
	w := &town{mesh: layFabric(t, 1, 1, extra...)}
	outside := w.lan.Node("outside", "10.98.0.99/24")
	w.outside = place{space: outside, node: -1, address: "10.98.0.99"}
	for i, r := range w.nodes {
		dockersChains(r.space)
		r.start()
		for j, ward := range wards {
			id := fmt.Sprintf("net%d0000000000000000000000", j)
			r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: id, Options: map[string]any{"com.docker.network.generic": ward.options},
				IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: fmt.Sprintf("10.210.%d.0/24", j), Gateway: fmt.Sprintf("169.254.1.%d/32", j+1)}}}, nil)
			address := fmt.Sprintf("10.210.%d.%d", j, i+1)
			box := r.container(endpointID(10*i+j+1), id, address, fmt.Sprintf("c%d%d", i+1, j), 0)
			outside.Must("ip route add " + address + "/32 via " + nodeAddress(i+1))
			w.places = append(w.places, place{box, i, ward.project, ward.project == "public", address})
		}
	}
	for _, p := range append(w.places, w.outside) {
		serve(t, p)
	}
	w.meet()
	return w
}

// meet waits until each node knows whose the other's addresses are.
func (w *town) meet() {
	w.t.Helper()
	lan.Eventually(w.t, 30*time.Second, "both nodes know whose the other's addresses are", func() error {
		for i, r := range w.nodes {
			if s := r.state(); len(s.Routes) != len(wards) || len(s.Isolation.Unknown) != 0 {
				return fmt.Errorf("n%d: routes %v, %+v", i+1, s.Routes, s.Isolation)
			}
		}
		return nil
	})
}

// serve answers on two ports of TCP with what it was sent.
func serve(t *testing.T, p place) {
	t.Helper()
	for _, port := range []string{"8080", "9090"} {
		var l net.Listener
		p.space.Do(func() (err error) { l, err = net.Listen("tcp4", net.JoinHostPort(p.address, port)); return err })
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(c, c)
					_ = c.Close()
				}()
			}
		}()
	}
}

// reaches opens a connection and has a line echoed. Denied packets are dropped, so a no takes its time.
func (p place) reaches(to place, port string, within time.Duration) error {
	var c net.Conn
	var err error
	p.space.Do(func() error {
		d := net.Dialer{Timeout: within}
		c, err = d.Dial("tcp4", net.JoinHostPort(to.address, port))
		return nil
	})
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // it was only a probe
	return echo(c, within)
}

func echo(c net.Conn, within time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	line := []byte("hello")
	if _, err := c.Write(line); err != nil {
		return err
	}
	_, err := io.ReadFull(c, line)
	return err
}

// lay puts a policy on all nodes, and waits until it is in force.
func (w *town) lay(allow map[string]string) permits.Document {
	w.t.Helper()
	return w.layWith(allow)
}

// layWith is lay with pools.
func (w *town) layWith(allow map[string]string, pools ...netip.Prefix) permits.Document {
	w.t.Helper()
	d := permits.Document{Projects: []string{"orders", "payments", "public"}, Pools: pools}
	for to, label := range allow {
		p, err := permits.ParseAllowFrom(label, to, to+"_web")
		if err != nil {
			w.t.Fatal(err)
		}
		d.Permits = append(d.Permits, p...)
	}
	d = d.Seal()
	text, err := d.Text()
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(text)
	for i, r := range w.nodes {
		lan.Eventually(w.t, 10*time.Second, "the policy is in force", func() error {
			if s := r.state().Isolation; s.Revision != d.Revision || s.Trouble != "" {
				return fmt.Errorf("n%d: %+v", i+1, s)
			}
			return nil
		})
	}
	return d
}

func (w *town) write(text []byte) {
	w.t.Helper()
	for _, r := range w.nodes {
		file := policy.File(filepath.Join(r.folder, "state"))
		if err := errors.Join(os.WriteFile(file+".next", text, 0o600), os.Rename(file+".next", file)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// expect probes every cell at the same time.
func (w *town) expect(when string, allowed func(from, to place, port string) bool) {
	w.t.Helper()
	var all sync.WaitGroup
	for _, from := range append(w.places, w.outside) {
		for _, to := range w.places {
			for _, port := range []string{"8080", "9090"} {
				if from.address == to.address {
					continue
				}
				all.Go(func() {
					within, want := 700*time.Millisecond, allowed(from, to, port)
					if want {
						within = 10 * time.Second
					}
					if err := from.reaches(to, port, within); (err == nil) != want {
						w.t.Errorf("%s: from %s to %s port %s: %v, want %t", when, from, to, port, err, want)
					}
				})
			}
		}
	}
	all.Wait()
}

func paths(t *testing.T, f func(t *testing.T, path string)) {
	for _, path := range []string{"bpf", "nft", "off"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f(t, path)
		})
	}
}

func TestProjectsAreKeptApartOnEachPath(t *testing.T) {
	paths(t, func(t *testing.T, path string) {
		w := newTown(t, "ROLLING_FASTPATH="+path)
		base := func(from, to place) bool {
			return to.open || to.project == "" || from.project == to.project || from.project == ""
		}
		w.expect("without a policy", func(from, to place, _ string) bool { return base(from, to) })
		between := func(from, to place) bool { return from.project == "payments" && to.project == "orders" }
		w.lay(map[string]string{"orders": "payments:8080"})
		w.expect("with a port open", func(from, to place, port string) bool {
			return base(from, to) || between(from, to) && port == "8080"
		})
		if got := w.explain(w.places[1], w.places[4], "8080"); !got.Allowed || !strings.Contains(got.Why, "orders_web") || !strings.Contains(got.By, "ROLLING-ISOLATE") {
			t.Errorf("it explains %+v", got)
		}
		w.lay(map[string]string{"orders": "payments"})
		w.expect("with all ports open one way", func(from, to place, _ string) bool { return base(from, to) || between(from, to) })
		w.lay(map[string]string{"orders": "payments", "payments": "orders"})
		w.expect("with all ports open both ways", func(from, to place, _ string) bool {
			return base(from, to) || between(from, to) || between(to, from)
		})
		if got := w.explain(w.places[1], w.places[4], "9090"); path != "off" && !strings.Contains(got.By, "fast path ("+path+")") {
			t.Errorf("it explains %+v", got)
		}
		w.write([]byte("{half a docu"))
		w.lookFor("an unreadable policy is said", func(s page) bool {
			return strings.Contains(s.Isolation.Trouble, "stays in force") && s.Problems["policy"] != ""
		})
		w.expect("while an unreadable one is there", func(from, to place, _ string) bool {
			return base(from, to) || between(from, to) || between(to, from)
		})
		w.lay(nil)
		w.expect("closed again", func(from, to place, _ string) bool { return base(from, to) })
		w.lookFor("what was denied is counted", func(s page) bool { return s.Isolation.Denied > 0 })
	})
}

func (w *town) lookFor(what string, good func(page) bool) {
	w.t.Helper()
	for i, r := range w.nodes {
		lan.Eventually(w.t, 10*time.Second, what, func() error {
			if s := r.state(); !good(s) {
				return fmt.Errorf("n%d: %+v, %v", i+1, s.Isolation, s.Problems)
			}
			return nil
		})
	}
}

func (w *town) explain(from, to place, port string) (e node.Explanation) {
	w.t.Helper()
	text, err := w.nodes[to.node].page("/explain?from=" + from.address + "&to=" + to.address + ":" + port)
	if err == nil {
		err = json.Unmarshal([]byte(text), &e)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if a := netip.MustParseAddr(from.address); e.From.Address != a {
		w.t.Errorf("it explains for %s", e.From.Address)
	}
	return e
}
