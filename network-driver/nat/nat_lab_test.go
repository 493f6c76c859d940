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
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

const virtual = "10.210.9.9"

// world is a node with containers, and a client outside.
type world struct {
	t       *testing.T
	node    lan.Space
	outside lan.Space
	boxes   []lan.Space
	rules   *Rules
	folder  string // with the containers' namespaces alone, as the engine's
}

// newWorld wires n containers as the plugin does; each answers on TCP and UDP port 80 with its own name and the client's
// address.
func newWorld(t *testing.T, n int) *world {
	l := lan.NewLAN(t)
	w := &world{t: t, node: l.Node("n", "10.98.0.21/24"), outside: l.Node("o", "10.98.0.1/24"), folder: t.TempDir()}
	w.node.Set("net/ipv4/ip_forward", "1")
	w.outside.Must("ip route add 10.210.0.0/16 via 10.98.0.21")
	w.node.Must("ip route add default via 10.98.0.1")
	for i := range n {
		b := lan.New(t, fmt.Sprintf("c%d", i))
		w.node.Must(fmt.Sprintf("ip link add rl%d type veth peer name eth0 netns %s", i, b.Name))
		w.node.Must(fmt.Sprintf("ip addr add 169.254.1.1/32 dev rl%d scope link", i))
		w.node.Must(fmt.Sprintf("ip link set rl%d up", i))
		w.node.Must(fmt.Sprintf("ip route add %s/32 dev rl%d", address(i), i))
		b.Must("ip addr add " + address(i) + "/32 dev eth0")
		b.Must("ip link set eth0 up")
		b.Must("ip route add 169.254.1.1/32 dev eth0")
		b.Must("ip route add default via 169.254.1.1 src " + address(i))
		w.boxes = append(w.boxes, b)
		if err := os.Symlink(namespace.Path(b.Name), filepath.Join(w.folder, b.Name)); err != nil {
			t.Fatal(err)
		}
		w.answer(b, address(i))
	}
	w.node.Do(func() (err error) { w.rules, err = Open(w.folder); return err })
	t.Cleanup(func() { w.rules.Close() })
	return w
}

func address(i int) string { return fmt.Sprintf("10.210.3.%d", 10+i) }

func addrs(of ...int) []netip.Addr {
	var all []netip.Addr
	for _, i := range of {
		all = append(all, netip.MustParseAddr(address(i)))
	}
	return all
}

// answer serves in a namespace: each line, and each datagram, is answered by who serves and whom it saw, or by much.
func (w *world) answer(s lan.Space, name string) {
	var tcp net.Listener
	var udp net.PacketConn
	s.Do(func() (err error) {
		if tcp, err = net.Listen("tcp4", ":80"); err != nil {
			return err
		}
		udp, err = net.ListenPacket("udp4", ":80")
		return err
	})
	w.t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					if in.Text() == "much" {
						fmt.Fprintln(c, strings.Repeat("x", 20000))
						continue
					}
					fmt.Fprintf(c, "%s %s\n", name, c.RemoteAddr().(*net.TCPAddr).IP)
				}
			}()
		}
	}()
	go func() {
		b := make([]byte, 100)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(fmt.Sprintf("%s %s\n", name, from.(*net.UDPAddr).IP)), from)
		}
	}()
}

// call is a client's open socket.
type call struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) dial(from lan.Space, network, to string) *call {
	w.t.Helper()
	var c net.Conn
	from.Do(func() (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c, err = new(net.Dialer).DialContext(ctx, network, to+":80")
		return err
	})
	w.t.Cleanup(func() { c.Close() })
	return &call{w.t, c, bufio.NewReader(c)}
}

// ask tells who answered, and whom it saw.
func (c *call) ask() (server, client string) {
	c.t.Helper()
	text, err := "", error(nil)
	for range 20 { // a datagram may be lost on its way
		_ = c.conn.SetDeadline(time.Now().Add(time.Second))
		if _, err = fmt.Fprintln(c.conn, "who"); err == nil {
			if text, err = c.in.ReadString('\n'); err == nil {
				break
			}
		}
		if _, stream := c.conn.(*net.TCPConn); stream {
			break
		}
	}
	if err != nil {
		c.t.Fatal(err)
	}
	server, client, _ = strings.Cut(strings.TrimSpace(text), " ")
	return server, client
}

func (w *world) spread(from lan.Space, network string, n int) map[string]int {
	w.t.Helper()
	seen := map[string]int{}
	for range n {
		c := w.dial(from, network, virtual)
		server, _ := c.ask()
		seen[server]++
		c.conn.Close()
	}
	return seen
}

func (w *world) set(p vip.Plan) {
	w.t.Helper()
	if err := w.rules.Set(p, false); err != nil {
		w.t.Fatal(err)
	}
}

func inside(box string, backends ...int) vip.Plan {
	return vip.Plan{Boxes: map[string][]vip.Balance{box: {{VIP: netip.MustParseAddr(virtual), Backends: addrs(backends...)}}}}
}

func TestClientsInsideReachAllBackendsEvenlyAndThemselvesToo(t *testing.T) {
	w := newWorld(t, 3)
	client := w.boxes[0] // a backend itself
	w.set(inside(client.Name, 0, 1, 2))
	for _, network := range []string{"tcp4", "udp4"} {
		seen := w.spread(client, network, 30)
		for i := range 3 {
			if seen[address(i)] != 10 {
				t.Errorf("%s: %v, want 10 each", network, seen)
			}
		}
	}
	client.Must("nft list ruleset")
	one := w.dial(client, "tcp4", virtual)
	server, saw := one.ask()
	if saw != address(0) {
		t.Errorf("%s saw %s, want the client's own address", server, saw)
	}
}

func TestConnectionsStayAndDatagramsMoveWhenABackendGoes(t *testing.T) {
	w := newWorld(t, 3)
	client := w.boxes[0]
	w.set(inside(client.Name, 1, 2))
	var tcp, udp []*call
	server := map[*call]string{}
	for range 4 {
		a, b := w.dial(client, "tcp4", virtual), w.dial(client, "udp4", virtual)
		server[a], _ = a.ask()
		server[b], _ = b.ask()
		tcp, udp = append(tcp, a), append(udp, b)
	}
	w.set(inside(client.Name, 2))
	for _, c := range tcp {
		if s, _ := c.ask(); s != server[c] {
			t.Errorf("a connection moved from %s to %s", server[c], s)
		}
	}
	for _, c := range udp {
		if s, _ := c.ask(); s != address(2) {
			t.Errorf("datagrams still go to %s", s)
		}
	}
	if seen := w.spread(client, "tcp4", 4); seen[address(2)] != 4 {
		t.Errorf("new connections go to %v", seen)
	}
	w.set(inside(client.Name))
	client.Do(func() error {
		begun := time.Now()
		c, err := net.DialTimeout("tcp4", virtual+":80", 10*time.Second)
		if err == nil {
			c.Close()
			t.Error("without a backend a connection was made")
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("without a backend: %v after %v, want a refusal", err, time.Since(begun))
		}
		return nil
	})
	for _, c := range tcp {
		if s, _ := c.ask(); s != server[c] {
			t.Errorf("a connection moved from %s to %s", server[c], s)
		}
	}
}

// A backend that lost its power answers no SYN: the next one of the same socket goes to another.
func TestAConnectionThatNobodyAnswersYetChoosesAnew(t *testing.T) {
	w := newWorld(t, 3)
	client := w.boxes[0]
	w.set(inside(client.Name, 1))
	w.node.Must("iptables-nft -I FORWARD -d " + address(1) + " -j DROP")
	done := make(chan string, 1)
	go func() {
		c := w.dial(client, "tcp4", virtual)
		s, _ := c.ask()
		done <- s
	}()
	lan.Eventually(t, 10*time.Second, "the SYN is on its way", func() error {
		out, err := w.node.Try("iptables-nft -nvxL FORWARD")
		if err == nil && !strings.Contains(out, "DROP") || strings.Contains(out, " 0        0 DROP") {
			err = fmt.Errorf("nothing yet: %s", out)
		}
		return err
	})
	w.set(inside(client.Name, 2))
	if got := <-done; got != address(2) {
		t.Errorf("answered by %s", got)
	}
}

func TestClientsOutsideAreServedByContainersOfThisNodeAndKeepTheirAddress(t *testing.T) {
	w := newWorld(t, 3)
	w.node.Must("iptables-nft -P FORWARD ACCEPT") // iptables makes its chains at their first use, and keeps them
	before := w.node.Everything()
	plan := vip.Plan{Node: []vip.Balance{{VIP: netip.MustParseAddr(virtual), Backends: addrs(0, 1)}}, Pools: []netip.Prefix{netip.MustParsePrefix("10.210.0.0/16")}}
	w.set(plan)
	for _, network := range []string{"tcp4", "udp4"} {
		if seen := w.spread(w.outside, network, 10); seen[address(0)] != 5 || seen[address(1)] != 5 {
			t.Errorf("%s: %v, want 5 each", network, seen)
		}
	}
	if _, saw := w.dial(w.outside, "tcp4", virtual).ask(); saw != "10.98.0.1" {
		t.Errorf("the backend saw %s, want the client's own address", saw)
	}
	if server, saw := w.dial(w.boxes[2], "tcp4", virtual).ask(); saw == address(2) {
		t.Errorf("%s saw a container that came by the node as itself: its answer would be carried past the node", server)
	}
	w.dial(w.node, "tcp4", virtual).ask()
	w.set(vip.Plan{})
	if after := w.node.Everything(); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestRulesAreMendedForeignOnesStayAndNothingIsLeft(t *testing.T) {
	w := newWorld(t, 2)
	box := w.boxes[0]
	box.Must("nft add table ip other")
	before := box.Everything()
	plan := inside(box.Name, 0, 1)
	w.set(plan)
	once := box.Must("nft -a list ruleset")
	if err := w.rules.Set(plan, true); err != nil {
		t.Fatal(err)
	}
	if twice := box.Must("nft -a list ruleset"); twice != once {
		t.Errorf("the second Set changed something:\n%s\nwas:\n%s", twice, once)
	}
	for _, breakage := range []string{"nft flush table ip rolling-vip", "nft delete table ip rolling-vip", "nft add rule ip rolling-vip output accept"} {
		box.Must(breakage)
		if err := w.rules.Set(plan, true); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(box.Must("nft list ruleset"), "dnat to"); got != 1 {
			t.Errorf("after %q: %d rules", breakage, got)
		}
		if seen := w.spread(box, "tcp4", 2); len(seen) != 2 {
			t.Errorf("after %q: %v", breakage, seen)
		}
	}
	var next *Rules // an earlier process's rules are found by the next
	w.node.Do(func() (err error) { next, err = Open(w.folder); return err })
	defer next.Close()
	if err := next.Set(vip.Plan{}, false); err != nil {
		t.Fatal(err)
	}
	if after := box.Everything(); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestWhatTheFirewallForbidsToABackendIsForbiddenByTheVirtualAddress(t *testing.T) {
	w := newWorld(t, 2)
	w.set(inside(w.boxes[0].Name, 1))
	w.node.Must("iptables-nft -I FORWARD -s " + address(0) + " -d " + address(1) + " -j REJECT")
	w.boxes[0].Do(func() error {
		if c, err := net.DialTimeout("tcp4", virtual+":80", 5*time.Second); err == nil {
			c.Close()
			t.Error("a connection was made past the firewall")
		}
		return nil
	})
}
