//go:build lab

package nat

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// data is a client behind a router, which spreads what goes to the virtual address over nodes with a container each.
type data struct {
	t      *testing.T
	router lan.Space
	client lan.Space
	nodes  []lan.Space
	rules  []*Rules
	boxes  []lan.Space
}

func newData(t *testing.T, n int) *data {
	l := lan.NewLAN(t)
	d := &data{t: t, router: l.Node("r", "10.98.0.1/24"), client: lan.New(t, "cl")}
	d.router.Set("net/ipv4/ip_forward", "1")
	d.router.Set("net/ipv4/fib_multipath_hash_policy", "1")
	d.router.Must("ip link add toclient type veth peer name eth0 netns " + d.client.Name)
	d.router.Must("ip addr add 10.97.0.1/24 dev toclient")
	d.router.Must("ip link set toclient up")
	d.client.Must("ip addr add 10.97.0.9/24 dev eth0")
	d.client.Must("ip link set eth0 up")
	d.client.Must("ip route add default via 10.97.0.1")
	for i := range n {
		s := l.Node(fmt.Sprintf("n%d", i), via(i)+"/24")
		s.Set("net/ipv4/ip_forward", "1")
		s.Must("ip route add default via 10.98.0.1")
		d.nodes = append(d.nodes, s)
		d.boxes = append(d.boxes, d.box(s, i))
		folder := t.TempDir()
		if err := os.Symlink(namespace.Path(d.boxes[i].Name), filepath.Join(folder, d.boxes[i].Name)); err != nil {
			t.Fatal(err)
		}
		s.Do(func() error {
			r, err := Open(folder)
			d.rules = append(d.rules, r)
			return err
		})
		t.Cleanup(func() { d.rules[i].Close() })
	}
	for i, s := range d.nodes {
		for j := range n {
			if j != i {
				s.Must("ip route add " + address(j) + "/32 via " + via(j))
			}
		}
	}
	return d
}

func via(i int) string { return fmt.Sprintf("10.98.0.%d", 21+i) }

// box wires a container as the plugin does.
func (d *data) box(s lan.Space, i int) lan.Space {
	b := lan.New(d.t, fmt.Sprintf("c%d", i))
	s.Must("ip link add rl0 type veth peer name eth0 netns " + b.Name)
	s.Must("ip addr add 169.254.1.1/32 dev rl0 scope link")
	s.Must("ip link set rl0 up")
	s.Must("ip route add " + address(i) + "/32 dev rl0")
	b.Must("ip addr add " + address(i) + "/32 dev eth0")
	b.Must("ip link set eth0 up")
	b.Must("ip route add 169.254.1.1/32 dev eth0")
	b.Must("ip route add default via 169.254.1.1 src " + address(i))
	(&world{t: d.t}).answer(b, address(i))
	return b
}

// serve makes the rules of all nodes for these containers: those of stay take new flows, those of leave are about to go.
func (d *data) serve(search bool, stay, leave []int) {
	d.t.Helper()
	service := vip.Service{Network: "n", Name: "web", VIP: netip.MustParseAddr(virtual)}
	for _, i := range stay {
		service.Tasks = append(service.Tasks, vip.Task{Endpoint: topology.EndpointID(fmt.Sprint(i)), Address: addrs(i)[0]})
	}
	for _, i := range leave {
		service.Tasks = append(service.Tasks, vip.Task{Endpoint: topology.EndpointID(fmt.Sprint(i)), Address: addrs(i)[0], Leaving: true})
	}
	for i, r := range d.rules {
		p := vip.Place{Ready: true, Pools: []netip.Prefix{netip.MustParsePrefix("10.210.0.0/16")}, Far: map[netip.Addr]bool{}, Nodes: map[netip.Addr]netip.Addr{}}
		p.Endpoints = []vip.Endpoint{{ID: topology.EndpointID(fmt.Sprint(i)), Network: "n", Address: addrs(i)[0], Box: d.boxes[i].Name}}
		for j := range d.rules {
			if j != i {
				p.Far[addrs(j)[0]], p.Nodes[addrs(j)[0]] = true, netip.MustParseAddr(via(j))
			}
		}
		plan := vip.Make([]vip.Service{service}, p, nil)
		vip.Ages{}.Mark(&plan, time.Now())
		if !search {
			plan.Ways = nil
		}
		if err := r.Set(plan, false); err != nil {
			d.t.Fatalf("node %d: %v", i, err)
		}
	}
}

// routes lets the router spread over these nodes.
func (d *data) routes(of ...int) {
	d.t.Helper()
	line := "ip route replace " + virtual + "/32"
	for _, i := range of {
		line += " nexthop via " + via(i)
	}
	d.router.Must(line)
}

// streams are flows with data every ten milliseconds.
type streams struct {
	stop context.CancelFunc
	done sync.WaitGroup

	tcp, udp  atomic.Int64 // begun
	broke     atomic.Int64 // connections that ended, or were answered by another
	moved     atomic.Int64 // flows of datagrams that were answered by another
	exchanges atomic.Int64

	mu    sync.Mutex // guards the rest
	where map[string]int
	why   string
}

func (d *data) stream(tcp, udp int) *streams {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &streams{stop: cancel, where: map[string]int{}}
	d.t.Cleanup(s.end)
	w := &world{t: d.t}
	for range tcp {
		c := w.dial(d.client, "tcp4", virtual)
		server, saw := c.ask()
		if saw != "10.97.0.9" {
			d.t.Errorf("the container saw %s", saw)
		}
		s.tcp.Add(1)
		s.done.Go(func() { s.follow(ctx, c, server, &s.broke) })
	}
	for range udp {
		c := w.dial(d.client, "udp4", virtual)
		server, _ := c.ask()
		s.udp.Add(1)
		s.done.Go(func() { s.follow(ctx, c, server, &s.moved) })
	}
	return s
}

func (s *streams) follow(ctx context.Context, c *call, server string, count *atomic.Int64) {
	s.mu.Lock()
	s.where[server]++
	s.mu.Unlock()
	_, stream := c.conn.(*net.TCPConn)
	in := bufio.NewReader(c.conn)
	for ctx.Err() == nil {
		_ = c.conn.SetDeadline(time.Now().Add(5 * time.Second))
		if !stream {
			_ = c.conn.SetDeadline(time.Now().Add(time.Second))
		}
		_, err := fmt.Fprintln(c.conn, "who")
		text := ""
		if err == nil {
			text, err = in.ReadString('\n')
		}
		if got, _, _ := strings.Cut(text, " "); ctx.Err() == nil && (stream && err != nil || err == nil && got != server) {
			count.Add(1)
			s.mu.Lock()
			s.why = fmt.Sprintf("%s to %s was answered by %q, %v", c.conn.LocalAddr(), server, got, err)
			s.mu.Unlock()
			if stream {
				return
			}
			server = got
		}
		s.exchanges.Add(1)
		time.Sleep(10 * time.Millisecond)
	}
}

// goesOn waits until every flow that is left had its turn, twice.
func (s *streams) goesOn(t *testing.T, what string) {
	t.Helper()
	want := s.exchanges.Load() + 3*(s.tcp.Load()+s.udp.Load())
	lan.Eventually(t, 20*time.Second, "data after: "+what, func() error {
		if n := s.exchanges.Load(); n < want && s.broke.Load()+s.moved.Load() < s.tcp.Load()+s.udp.Load() {
			return fmt.Errorf("%d exchanges, want %d", n, want)
		}
		return nil
	})
	t.Logf("%s: of %d connections %d broke, of %d flows of datagrams %d moved", what, s.tcp.Load(), s.broke.Load(), s.udp.Load(), s.moved.Load())
}

func (s *streams) end() {
	s.stop()
	s.done.Wait()
}

// A router that spreads over other nodes than before moves flows between those that stay. Each still reaches the container
// that it began with, and without the search many do not.
func TestFlowsOutliveARoutersChange(t *testing.T) {
	for _, search := range []bool{true, false} {
		t.Run(map[bool]string{true: "searched for", false: "not searched for"}[search], func(t *testing.T) {
			d := newData(t, 4)
			d.serve(search, []int{0, 1, 2}, nil)
			d.routes(0, 1, 2)
			s := d.stream(60, 30)
			if len(s.where) != 3 {
				t.Errorf("only %v serve", s.where)
			}
			s.goesOn(t, "nothing")
			d.routes(0, 1)
			s.goesOn(t, "a node is no next hop any more, and lives")
			d.routes(2, 0, 1)
			s.goesOn(t, "it is again, at another place")
			d.serve(search, []int{0, 1, 2, 3}, nil)
			d.routes(2, 0, 1, 3)
			s.goesOn(t, "a container came on a fourth node")
			d.routes(2, 3)
			s.goesOn(t, "half of the nodes are no next hops any more")
			if broke, moved := s.broke.Load(), s.moved.Load(); search != (broke+moved == 0) {
				t.Errorf("%d connections broke, %d flows of datagrams moved (%s)", broke, moved, s.why)
			}
		})
	}
}

// The connections of a container that is about to go stay with it until it ends, though its node is no next hop any more;
// its datagrams go to others at once, and nobody else's move.
func TestFlowsOfAContainerThatLeavesStayUntilItEnds(t *testing.T) {
	d := newData(t, 4)
	d.serve(true, []int{0, 1, 2}, nil)
	d.routes(0, 1, 2)
	s := d.stream(60, 30)
	d.serve(true, []int{0, 1}, []int{2})
	d.routes(0, 1)
	s.goesOn(t, "a container is about to go")
	lan.Eventually(t, 20*time.Second, "its datagrams go to others", func() error {
		if s.moved.Load() == 0 {
			return fmt.Errorf("none did; they were with %v", s.where)
		}
		return nil
	})
	s.goesOn(t, "datagrams have moved")
	moved := s.moved.Load()
	d.serve(true, []int{0, 1, 3}, []int{2})
	d.routes(0, 1, 3)
	s.goesOn(t, "another came")
	d.routes(1, 3)
	s.goesOn(t, "the router moved some")
	d.routes(3, 0, 1)
	s.goesOn(t, "and again")
	if n := s.moved.Load(); n != moved {
		t.Errorf("%d more flows of datagrams moved: %s", n-moved, s.why)
	}
	if s.broke.Load() > 0 || s.moved.Load() == 0 || s.moved.Load() >= s.udp.Load() {
		t.Errorf("of %d connections %d broke, of %d flows of datagrams %d moved (%s)", s.tcp.Load(), s.broke.Load(), s.udp.Load(), s.moved.Load(), s.why)
	}
}

// A router that cannot pass on a large packet tells the virtual address, and any of the nodes hears it: the container that
// sent the packet must.
func TestARoutersWordOnALargePacketReachesTheContainerThatSentIt(t *testing.T) {
	d := newData(t, 3)
	d.router.Set("net/ipv4/icmp_ratelimit", "0")
	d.router.Must("ip link set toclient mtu 1000")
	d.serve(true, []int{0, 1, 2}, nil)
	d.routes(0, 1, 2)
	d.router.Must("ip route add " + virtual + "/32 via " + via(0) + " table 100") // Linux itself hashes what the word is about
	d.router.Must("ip rule add ipproto icmp lookup 100")
	seen := map[string]bool{}
	for n := 0; n < 100 && len(seen) < 3; n++ {
		c := (&world{t: t}).dial(d.client, "tcp4", virtual)
		server, _ := c.ask()
		if seen[server] {
			continue // it has heard of it
		}
		seen[server] = true
		_ = c.conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintln(c.conn, "much")
		if text, err := c.in.ReadString('\n'); err != nil || len(text) != 20001 {
			t.Errorf("%s sent %d bytes: %v", server, len(text), err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("only %v serve", seen)
	}
}
