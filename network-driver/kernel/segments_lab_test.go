//go:build lab

package kernel

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func openSegments(t *testing.T, s lan.Space) *Segments {
	var g *Segments
	s.Do(func() (err error) { g, err = OpenSegments(nodeRun(s)); return err })
	t.Cleanup(g.Close)
	return g
}

// nodeRun is the folder that stands for the space's /run.
func nodeRun(s lan.Space) string { return filepath.Join(os.TempDir(), s.Name+".run") }

func openPorts(t *testing.T, s lan.Space) *Ports {
	var p *Ports
	s.Do(func() (err error) { p, err = OpenPorts(); return err })
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// onLAN is a link of a container that hangs on eth0's bridge.
func onLAN(id, address string) topology.Link {
	l := kerneltest.Link(id, address)
	l.Pool, l.Gateway, l.MTU = netip.MustParsePrefix("10.98.0.0/24"), netip.MustParseAddr("10.98.0.1"), 1500
	l.Segment = topology.Segment{Parent: "eth0", Attach: topology.Bridged}
	return l
}

// hang plays the engine: the container's end moves into its namespace.
func hang(t *testing.T, host lan.Space, l topology.Link, name string) lan.Space {
	t.Helper()
	box := lan.New(t, name)
	host.Must("ip link set " + l.Peer + " netns " + box.Name)
	box.Must("ip link set " + l.Peer + " name eth0")
	box.Must(fmt.Sprintf("ip addr add %s/%d dev eth0", l.Address, l.Pool.Bits()))
	box.Must("ip link set eth0 up")
	box.Must("ip route add default via " + l.Gateway.String())
	return box
}

func ping(from lan.Space, to string) error {
	out, err := from.Try("busybox ping -c 1 -W 2 " + to)
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// whole is Everything, less what comes and goes by itself.
func whole(s lan.Space) string {
	s.Must("ip neigh flush all")
	return s.Everything() + s.Must("ip -6 route show table all proto static") + s.Must("bridge link")
}

func TestAParentWithTheNodesAddressBecomesAPortAndIsGivenBack(t *testing.T) {
	net := lan.NewLAN(t)
	router := net.Node("router", "10.98.0.1/24")
	router.Must("ip addr add 192.0.2.1/32 dev lo")
	host := net.Node("n1", "10.98.0.21/24")
	host.Set("net/ipv4/ip_forward", "1")
	host.Must("ip addr add 10.98.0.121/24 brd + dev eth0")
	host.Must("ip addr add fd00:98::21/64 dev eth0 nodad")
	host.Must("ip route add default via 10.98.0.1")
	host.Must("ip route add 192.0.2.0/24 via 10.98.0.1 metric 50 mtu 1400")
	host.Must("ip route add 198.51.100.0/24 dev eth0 src 10.98.0.121 table 77")
	host.Must("ip -6 route add fd00:99::/64 via fd00:98::1 proto static")
	before := whole(host)
	g, w, p := openSegments(t, host), openWires(t, host), openPorts(t, host)
	link := onLAN("a1", "10.98.0.77")
	set := func(links ...topology.Link) {
		t.Helper()
		var all []topology.Segment
		var ports []topology.Port
		for _, l := range links {
			all = append(all, l.Segment)
			ports = append(ports, topology.Port{Name: l.Name, MAC: l.MAC, Sources: []netip.Addr{l.Address}})
		}
		if err := p.Set(ports); err != nil {
			t.Fatal(err)
		}
		if len(links) > 0 {
			if err := g.Set(all); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Set(links); err != nil {
			t.Fatal(err)
		}
		if err := g.Set(all); err != nil {
			t.Fatal(err)
		}
	}
	during := stream(t, host, "10.98.0.1")
	set(link)
	once := whole(host)
	for _, want := range []string{
		"inet 10.98.0.21/24 scope global rb-eth0", "10.98.0.121/24 brd 10.98.0.255 scope global secondary rb-eth0", "default via 10.98.0.1 dev rb-eth0",
		"192.0.2.0/24 via 10.98.0.1 dev rb-eth0 metric 50 mtu 1400", "198.51.100.0/24 dev rb-eth0 table 77 scope link src 10.98.0.121",
		"fd00:99::/64 via fd00:98::1 dev rb-eth0",
	} {
		if !strings.Contains(once, want) {
			t.Errorf("after Set the host lacks %q:\n%s", want, once)
		}
	}
	if strings.Contains(host.Must("ip -4 -o addr show dev eth0"), "10.98") {
		t.Errorf("the port has kept an address")
	}
	set(link)
	if twice := whole(host); twice != once {
		t.Errorf("the second Set changed something:\n%s\nwas:\n%s", twice, once)
	}
	box := hang(t, host, link, "c1")
	for what, err := range map[string]error{
		"router to container": ping(router, "10.98.0.77"), "host to its container": ping(host, "10.98.0.77"),
		"container to host": ping(box, "10.98.0.21"), "container past the router": ping(box, "192.0.2.1"), "host to the router": ping(host, "10.98.0.1"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	set()
	during("10.98.0.1")
	if after := whole(host); after != before {
		t.Errorf("Set of nothing left something:\n%s\nbefore:\n%s", after, before)
	}
}

// stream keeps a TCP connection busy from the space to the router; the end of it says whether all came through.
func stream(t *testing.T, s lan.Space, to string) (done func(to string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan string, 1)
	go func() {
		c := s.Command(ctx, "busybox", "ping", "-i", "0.01", "-W", "1", "-c", "100000", to)
		c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
		text, _ := c.CombinedOutput()
		out <- string(text)
	}()
	return func(string) {
		t.Helper()
		cancel()
		lines := strings.Split(strings.TrimSpace(<-out), "\n")
		for _, l := range lines {
			var sent, got int
			if n, _ := fmt.Sscanf(l, "%d packets transmitted, %d packets received", &sent, &got); n == 2 {
				t.Logf("while the parent's address moved forth and back: %d of %d answers", got, sent)
				if sent-got > 3 {
					t.Errorf("%d of %d packets to the router were lost", sent-got, sent)
				}
				return
			}
		}
		t.Errorf("no count of packets in %q", lines)
	}
}

func macOf(s lan.Space, device string) string {
	return strings.TrimSpace(s.Must("cat /sys/class/net/" + device + "/address"))
}

var lifetimes = regexp.MustCompile(`(valid|preferred)_lft \S+`)

func TestAParentThatCannotBeTakenIsRefusedAndLeftAlone(t *testing.T) {
	bridged := topology.Segment{Parent: "eth0", Attach: topology.Bridged}
	for _, c := range []struct {
		name    string
		prepare []string
		segment topology.Segment
		refuse  string
	}{
		{"there is none", nil, topology.Segment{Parent: "eth7", Attach: topology.Bridged}, "this node has no such interface"},
		{"it is down", []string{"ip link set eth0 down"}, bridged, "it is down"},
		{"a lease of DHCP", []string{"ip addr add 10.98.0.99/24 dev eth0 valid_lft 600 preferred_lft 600"}, bridged, "leased by DHCP"},
		{"a route of DHCP beside a fixed address", []string{"ip route add default via 10.98.0.1 proto dhcp"}, bridged, "its route 0.0.0.0/0 came by DHCP"},
		{"NetworkManager has it", []string{"@manage"}, bridged, "NetworkManager manages it"},
		{"loopback", nil, topology.Segment{Parent: "lo", Attach: topology.Bridged}, "it is the loopback interface"},
		{"macvlans on loopback", nil, topology.Segment{Parent: "lo", Attach: topology.Macvlan}, "it is the loopback interface"},
		{"macvlans on a port of another bridge", []string{"ip link add br7 type bridge", "ip link set eth0 master br7"}, topology.Segment{Parent: "eth0", Attach: topology.Macvlan}, "it is a part of br7"},
		{"a port of another bridge", []string{"ip link add br7 type bridge", "ip link set eth0 master br7"}, bridged, "it is a part of br7: name that as the parent"},
		{"a routing rule names it", []string{"ip rule add iif eth0 lookup 77"}, bridged, "a routing rule names it"},
		{"routes by several interfaces", []string{"ip link add eth1 type veth peer name p1", "ip link set eth1 up", "ip link set p1 up", "ip addr add 10.97.0.1/24 dev eth1",
			"ip route add 192.0.2.0/24 nexthop via 10.98.0.1 nexthop via 10.97.0.2"}, bridged, "goes by it and by others"},
		{"macvlans sit on it", []string{"ip link add link eth0 name mv0 type macvlan mode bridge", "ip link set mv0 up"}, bridged, "macvlans or the like sit on it"},
		{"a stranger has the bridge's name", []string{"ip link add rb-eth0 type bridge", "ip link set rb-eth0 alias mine"}, bridged, "is not ours"},
		{"a VLAN on nothing", nil, topology.Segment{Parent: "eth7.5", Attach: topology.Bridged}, "this node has no interface eth7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := lan.NewLAN(t)
			net.Node("router", "10.98.0.1/24")
			host := net.Node("n1", "10.98.0.21/24")
			for _, line := range c.prepare {
				if line == "@manage" {
					manage(t, host)
				} else {
					host.Must(line)
				}
			}
			timeless := func() string { return lifetimes.ReplaceAllString(host.Everything(), "") }
			before := timeless()
			g := openSegments(t, host)
			if _, err := g.Lay(c.segment); err == nil || !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("Lay = %v; want %q", err, c.refuse)
			}
			if after := timeless(); after != before {
				t.Errorf("the refusal left\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// manage writes what NetworkManager would of eth0.
func manage(t *testing.T, host lan.Space) {
	t.Helper()
	devices := filepath.Join(nodeRun(host), "NetworkManager", "devices")
	t.Cleanup(func() { _ = os.RemoveAll(nodeRun(host)) })
	index, _, _ := strings.Cut(host.Must("ip -o link show eth0"), ":")
	err := os.MkdirAll(devices, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(devices, index), []byte("[device]\nconnection-uuid=x\nmanaged=true\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestABridgeOfTheAdministratorsIsUsedAsItIs(t *testing.T) {
	net := lan.NewLAN(t)
	router := net.Node("router", "10.98.0.1/24")
	host := net.Node("n1", "10.98.0.21/24")
	for _, line := range []string{"ip link add br7 type bridge", "ip link set br7 up", "ip addr flush dev eth0", "ip link set eth0 master br7", "ip addr add 10.98.0.21/24 dev br7"} {
		host.Must(line)
	}
	before := whole(host)
	g, w := openSegments(t, host), openWires(t, host)
	l := onLAN("a1", "10.98.0.77")
	l.Segment.Parent = "br7"
	if err := g.Set([]topology.Segment{l.Segment}); err != nil {
		t.Fatal(err)
	}
	if err := w.Set([]topology.Link{l}); err != nil {
		t.Fatal(err)
	}
	hang(t, host, l, "c1")
	if err := ping(router, "10.98.0.77"); err != nil {
		t.Error(err)
	}
	if err := w.Set(nil); err != nil {
		t.Fatal(err)
	}
	if err := g.Set(nil); err != nil {
		t.Fatal(err)
	}
	if after := whole(host); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestAMacvlanIsKnownByItsParentAlone(t *testing.T) {
	net := lan.NewLAN(t)
	router := net.Node("router", "10.98.0.1/24")
	host := net.Node("n1", "10.98.0.21/24")
	g, w := openSegments(t, host), openWires(t, host)
	l := onLAN("a1", "10.98.0.77")
	l.Segment.Attach = topology.Macvlan
	if err := g.Set([]topology.Segment{l.Segment}); err != nil {
		t.Fatal(err)
	}
	if err := w.Plug(l); err != nil {
		t.Fatal(err)
	}
	if p, found, err := w.Find(l.Name); err != nil || !found || !p.PeerHome || p.Link != l {
		t.Fatalf("Find = %+v, %t, %v", p, found, err)
	}
	hang(t, host, l, "c1")
	if err := ping(router, "10.98.0.77"); err != nil {
		t.Error(err)
	}
	if riders, err := g.Riders("eth0"); err != nil || !riders[l.MAC] {
		t.Errorf("Riders = %v, %v; want %s", riders, err, l.MAC)
	}
	if err := w.Set([]topology.Link{l}); err != nil {
		t.Fatal(err)
	}
	if err := ping(router, "10.98.0.77"); err != nil {
		t.Errorf("Set cut it off: %v", err)
	}
	second := onLAN("b2", "10.98.0.78")
	second.Segment.Attach = topology.Macvlan
	if err := w.Plug(second); err != nil { // no engine ever takes it
		t.Fatal(err)
	}
	if err := w.Set(nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(host.Must("ip -o link"), second.Peer) {
		t.Error("a macvlan that no container has was left")
	}
}

func TestNobodyTakesAnothersPlaceOnTheLAN(t *testing.T) {
	net := lan.NewLAN(t)
	router := net.Node("router", "10.98.0.1/24")
	victim := net.Node("victim", "10.98.0.50/24")
	host := net.Node("n1", "10.98.0.21/24")
	g, w, p := openSegments(t, host), openWires(t, host), openPorts(t, host)
	l, neighbour := onLAN("a1", "10.98.0.77"), onLAN("b2", "10.98.0.78")
	ports := []topology.Port{{Name: l.Name, MAC: l.MAC, Sources: []netip.Addr{l.Address}}, {Name: neighbour.Name, MAC: neighbour.MAC, Sources: []netip.Addr{neighbour.Address}}}
	if err := g.Set([]topology.Segment{l.Segment}); err != nil {
		t.Fatal(err)
	}
	if err := p.Set(ports); err != nil {
		t.Fatal(err)
	}
	if err := w.Set([]topology.Link{l, neighbour}); err != nil {
		t.Fatal(err)
	}
	box, other := hang(t, host, l, "c1"), hang(t, host, neighbour, "c2")
	for _, to := range []string{"10.98.0.1", "10.98.0.21", "10.98.0.50", "10.98.0.78"} {
		if err := ping(box, to); err != nil {
			t.Fatalf("before the attack: %v", err)
		}
	}
	for _, c := range []struct {
		name, address, mac string
	}{
		{"another's address", "10.98.0.78/24", l.MAC},
		{"a node's address", "10.98.0.50/24", l.MAC},
		{"the router's address", "10.98.0.1/24", l.MAC},
		{"a MAC of nobody", "10.98.0.77/24", "02:42:de:ad:be:ef"},
		{"the neighbour's MAC and address", "10.98.0.78/24", neighbour.MAC},
		{"the router's MAC", "10.98.0.77/24", macOf(router, "eth0")},
	} {
		t.Run(c.name, func(t *testing.T) {
			dropped := droppedBy(t, p)
			box.Must("ip addr flush dev eth0")
			box.Must("ip link set eth0 address " + c.mac)
			box.Must("ip addr add " + c.address + " dev eth0")
			box.Must("ip neigh flush all")
			address, _, _ := strings.Cut(c.address, "/")
			_, _ = box.Try("busybox arping -U -c 1 -w 1 -I eth0 " + address) // gratuitous
			to := "10.98.0.50"
			if address == to {
				to = "10.98.0.1"
			}
			if _, err := box.Try("busybox ping -c 1 -W 1 " + to); err == nil {
				t.Error("the attacker is answered")
			}
			if droppedBy(t, p) == dropped {
				t.Error("nothing is counted as dropped")
			}
			for _, s := range []lan.Space{router, victim, host} {
				if out := s.Must("ip neigh show to " + address); address != "10.98.0.77" && strings.Contains(out, l.MAC) {
					t.Errorf("%s believes the attacker: %s", s.Name, out)
				}
			}
			for _, from := range []lan.Space{victim, host} {
				if err := ping(from, "10.98.0.1"); err != nil {
					t.Errorf("a bystander is harmed: %v", err)
				}
			}
			if err := ping(other, "10.98.0.50"); err != nil {
				t.Errorf("the neighbour is harmed: %v", err)
			}
		})
	}
	box.Must("ip addr flush dev eth0")
	box.Must("ip link set eth0 address " + l.MAC)
	box.Must("ip addr add 10.98.0.77/24 dev eth0")
	lan.Eventually(t, 5*time.Second, "the container is let in again with what is its own", func() error { return ping(box, "10.98.0.50") })
}

func droppedBy(t *testing.T, p *Ports) uint64 {
	t.Helper()
	n, err := p.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheCheckOfAThousandPortsIsSetAtOnceAndOnlyOnce(t *testing.T) {
	host := lan.New(t, "many")
	before := host.Must("nft list ruleset")
	p := openPorts(t, host)
	var ports []topology.Port
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 98, byte(i >> 8), byte(i)})
		ports = append(ports, topology.Port{Name: fmt.Sprintf("rl%011x", i), MAC: topology.MACOf(a), Sources: []netip.Addr{a}})
	}
	for range 2 {
		if err := p.Set(ports); err != nil {
			t.Fatal(err)
		}
	}
	once := host.Must("nft -a list ruleset") // with handles: what is made anew has others
	if n := strings.Count(once, "02:42:0a:62"); n != 2000 {
		t.Fatalf("%d elements, want 2000", n)
	}
	if err := p.Set(ports); err != nil {
		t.Fatal(err)
	}
	if twice := host.Must("nft -a list ruleset"); twice != once {
		t.Error("the second Set changed something")
	}
	host.Must("nft flush chain bridge rolling-l2 source")
	if err := p.Set(ports); err != nil {
		t.Fatal(err)
	}
	if mended := host.Must("nft list ruleset"); strings.Count(mended, "drop") != 2 {
		t.Errorf("rules that were flushed by hand are not mended:\n%.400s", mended)
	}
	if err := p.Set(nil); err != nil {
		t.Fatal(err)
	}
	if after := host.Must("nft list ruleset"); after != before {
		t.Errorf("left behind:\n%s", after)
	}
}

// This kernel need not have 8021q: an interface that carries the alias of a VLAN stands for one.
func TestAVLANOfOursGoesWithTheLastSegmentThatNeedsIt(t *testing.T) {
	host := lan.New(t, "vlan")
	g := openSegments(t, host)
	strange, mine := topology.Segment{Parent: "eth0.6", Attach: topology.Bridged}, topology.Segment{Parent: "eth0.5", Attach: topology.Bridged}
	host.Must("ip link add eth0.5 type veth peer name p5")
	host.Must("ip link add eth0.6 type veth peer name p6")
	if out, err := host.Command(t.Context(), "ip", "link", "set", "eth0.5", "alias", mine.VLANAlias()).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	host.Must("ip link set eth0.6 up")
	for _, wanted := range [][]topology.Segment{{mine, strange}, {mine}, {mine}, nil} {
		if err := g.Set(wanted); err != nil {
			t.Fatal(err)
		}
		links := host.Must("ip -br link")
		if got := strings.Contains(links, "eth0.5@"); got != (len(wanted) > 0) {
			t.Errorf("with %v there are\n%s", wanted, links)
		}
		if !strings.Contains(links, "eth0.6@") {
			t.Errorf("an interface of the administrators was removed:\n%s", links)
		}
	}
}
