//go:build lab

package kernel

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	nft    = "/usr/sbin/iptables-nft"
	legacy = "/usr/sbin/iptables-legacy"
)

func openWires(t *testing.T, s lan.Space) *Wires {
	var w *Wires
	s.Do(func() (err error) { w, err = OpenWires(); return err })
	t.Cleanup(w.Close)
	return w
}

func openRoads(t *testing.T, s lan.Space) *Roads {
	var r *Roads
	s.Do(func() (err error) { r, err = OpenRoads(); return err })
	t.Cleanup(r.Close)
	return r
}

func TestSetTwiceChangesNothingAndSetNothingLeavesTheHostAsItWas(t *testing.T) {
	s := lan.New(t, "host")
	s.Set("net/ipv4/ip_forward", "1")
	s.Must("iptables-nft -N DOCKER-USER")
	s.Must("iptables-nft -A FORWARD -j DOCKER-USER")
	w, r, g := openWires(t, s), openRoads(t, s), NewGate(nft, legacy)
	s.Must("ip link add eth0 type veth peer name other")
	s.Must("ip link set other up")
	s.Must("ip link set eth0 up")
	s.Must("ip addr add 10.98.0.1/24 dev eth0")
	before := s.Picture()
	links := []topology.Link{kerneltest.Link("a1", "10.210.3.7"), kerneltest.Link("b2", "10.210.3.8")}
	roads := []topology.Route{{Prefix: netip.MustParsePrefix("10.210.3.9/32"), Via: netip.MustParseAddr("10.98.0.2")}}
	pools := []netip.Prefix{netip.MustParsePrefix("10.210.3.0/24"), netip.MustParsePrefix("10.211.0.7/32")}
	set := func(l []topology.Link, t []topology.Route, p []netip.Prefix) {
		s.Do(func() error {
			if err := w.Set(l); err != nil {
				return err
			}
			if err := r.Set(t, true); err != nil {
				return err
			}
			return g.Set(p)
		})
	}
	set(links, roads, pools)
	once := s.Picture()
	for _, want := range []string{
		"10.210.3.7 dev rla1000000000 proto 82 scope link", "inet 169.254.1.1/32 scope link rlb2000000000", "mtu 1400",
		"10.210.3.9 via 10.98.0.2 dev eth0 proto 82", "-A ROLLING-FORWARD -s 10.211.0.7/32 -j ACCEPT", "-A DOCKER-USER -j ROLLING-FORWARD",
	} {
		if !strings.Contains(once, want) {
			t.Errorf("after Set the host lacks %q:\n%s", want, once)
		}
	}
	set(links, roads, pools)
	if twice := s.Picture(); twice != once {
		t.Errorf("the second Set changed something:\n%s\nwas:\n%s", twice, once)
	}
	set(nil, nil, nil)
	if after := s.Picture(); after != before {
		t.Errorf("Set of nothing left something:\n%s\nbefore:\n%s", after, before)
	}
}

func TestWhatIsBrokenByHandIsMended(t *testing.T) {
	for _, c := range []struct{ name, breakage string }{
		{"a route is removed", "ip route del 10.210.3.7"},
		{"a gateway address is removed", "ip addr del 169.254.1.1/32 dev rla1000000000"},
		{"a host end is set down", "ip link set rla1000000000 down"},
		{"a link is removed", "ip link del rla1000000000"},
		{"an alias is emptied", "ip link set rla1000000000 alias \"\""},
		{"a learnt route took the address", "ip route replace 10.210.3.7/32 via 10.98.0.2 proto 82"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := lan.New(t, "mend")
			w := openWires(t, s)
			s.Must("ip link add eth0 type veth peer name other")
			s.Must("ip link set other up")
			s.Must("ip link set eth0 up")
			s.Must("ip addr add 10.98.0.1/24 dev eth0")
			links := []topology.Link{kerneltest.Link("a1", "10.210.3.7")}
			if err := w.Set(links); err != nil {
				t.Fatal(err)
			}
			want := s.Must("ip -4 route") + s.Must("ip -4 -br addr show dev rla1000000000")
			s.Must(c.breakage)
			if err := w.Set(links); err != nil {
				t.Fatal(err)
			}
			if got := s.Must("ip -4 route") + s.Must("ip -4 -br addr show dev rla1000000000"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestALinkThatAContainerHoldsIsKept(t *testing.T) {
	host, box := lan.New(t, "host"), lan.New(t, "box")
	w := openWires(t, host)
	l := kerneltest.Link("a1", "10.210.3.7")
	if err := w.Plug(l); err != nil {
		t.Fatal(err)
	}
	present, err := w.List()
	if err != nil || len(present) != 1 || !present[0].PeerHome || present[0].Link != l {
		t.Fatalf("List = %+v, %v; want %+v with its peer at home", present, err, l)
	}
	host.Must("ip link set " + l.Peer + " netns " + box.Name)
	number := func() string { n, _, _ := strings.Cut(host.Must("ip -o link show dev "+l.Name), ":"); return n }
	index := number()
	l.MTU, l.Gateway = 1300, netip.MustParseAddr("169.254.1.9") // what the network says now
	if err := w.Plug(l); err != nil {
		t.Fatal(err)
	}
	if got := number(); got != index {
		t.Errorf("the link was made anew: index %s, was %s", got, index)
	}
	if addr := host.Must("ip -4 -br addr show dev " + l.Name); !strings.Contains(addr, "169.254.1.9/32") || strings.Contains(addr, "169.254.1.1/32") {
		t.Errorf("gateway of the host end: %s", addr)
	}
	if present, err = w.List(); err != nil || present[0].PeerHome {
		t.Errorf("List = %+v, %v; want a peer that is not at home", present, err)
	}
	if err := w.Plug(kerneltest.Link("a1", "10.210.3.7")); err != nil {
		t.Fatal(err)
	}
	box.Must("ip link show " + l.Peer)
}

func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	s := lan.New(t, "host")
	w, r := openWires(t, s), openRoads(t, s)
	s.Must("ip link add rlbridge type bridge")
	s.Must("ip link add rlforeign type veth peer name other")
	s.Must("ip link set rlforeign alias somebody-else")
	s.Must("ip addr add 10.98.0.1/24 dev rlforeign")
	s.Must("ip link set other up")
	s.Must("ip link set rlforeign up")
	s.Must("ip route add 10.55.0.0/24 via 10.98.0.2")
	s.Must("ip route add 10.56.0.0/24 via 10.98.0.2 proto 12")
	before := s.Picture()
	if err := w.Set(nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Set(nil, true); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rlbridge", "rlforeign"} {
		if err := w.Unplug(name); err == nil || !strings.Contains(err.Error(), "left alone") {
			t.Errorf("Unplug(%s) = %v, want a refusal", name, err)
		}
	}
	if after := s.Picture(); after != before {
		t.Errorf("foreign things were touched:\n%s\nbefore:\n%s", after, before)
	}
}

func TestTheKernelConforms(t *testing.T) {
	kerneltest.Conforms(t, func(t *testing.T) kerneltest.Rig {
		s, box := lan.New(t, "host"), lan.New(t, "box")
		s.Must("ip link add eth0 type veth peer name other")
		s.Must("ip link set other up")
		s.Must("ip link set eth0 up")
		s.Must("ip addr add 10.98.0.1/24 dev eth0")
		return kerneltest.Rig{
			Wires: openWires(t, s), Roads: openRoads(t, s),
			Carry: func(l topology.Link) { s.Must("ip link set " + l.Peer + " netns " + box.Name) },
			End:   func(l topology.Link) { box.Must("ip link del " + l.Peer) },
		}
	})
}

func TestTheGateFollowsDockersChain(t *testing.T) {
	pools := []netip.Prefix{netip.MustParsePrefix("10.210.3.0/24")}
	for _, program := range []string{nft, legacy} {
		t.Run(program, func(t *testing.T) {
			s := lan.New(t, "gate")
			s.Set("net/ipv4/ip_forward", "1")
			g := NewGate(nft, legacy)
			set := func(p []netip.Prefix) {
				t.Helper()
				s.Do(func() error { return g.Set(p) })
			}
			set(pools)
			if out := s.Must(nft + " -S"); strings.Contains(out, "ROLLING") {
				t.Errorf("rules without Docker's chain:\n%s", out)
			}
			s.Must(program + " -N DOCKER-USER")
			s.Must(program + " -A DOCKER-USER -s 192.0.2.0/24 -j DROP")
			s.Must(program + " -A DOCKER-USER -j RETURN")
			set(pools)
			if out := s.Must(program + " -S DOCKER-USER"); out != "-N DOCKER-USER\n-A DOCKER-USER -s 192.0.2.0/24 -j DROP\n-A DOCKER-USER -j ROLLING-FORWARD\n-A DOCKER-USER -j RETURN\n" {
				t.Errorf("the jump is not between the administrator's rules and the end:\n%s", out)
			}
			for range 2 {
				if n := g.Before(); n != 1 {
					t.Errorf("%d rules are said to stand before ours, want 1", n)
				}
				set(pools)
			}
			s.Must(program + " -F DOCKER-USER") // as an engine that starts anew may do
			set(pools)
			if n := g.Before(); n != 0 {
				t.Errorf("%d rules are said to stand before ours, want none", n)
			}
			s.Must(program + " -F DOCKER-USER")
			set(append(pools, netip.MustParsePrefix("10.211.0.0/16")))
			set(pools)
			if out := s.Must(program + " -S"); !strings.Contains(out, "-A DOCKER-USER -j ROLLING-FORWARD") || strings.Contains(out, "10.211") || strings.Count(out, "ACCEPT\n-A DOCKER-USER") > 1 {
				t.Errorf("after a flush:\n%s", out)
			}
			s.Must(program + " -F")
			s.Must(program + " -X")
			set(pools)
			if out := s.Must(program + " -S"); strings.Contains(out, "ROLLING") {
				t.Errorf("rules after Docker's chain went:\n%s", out)
			}
		})
	}
}

func TestANodeThatDoesNotForwardIsNamed(t *testing.T) {
	s := lan.New(t, "host")
	s.Set("net/ipv4/ip_forward", "0")
	g := NewGate(nft, legacy)
	s.Do(func() error {
		if err := g.Set(nil); err != nil {
			t.Errorf("without networks: %v", err)
		}
		if err := g.Set([]netip.Prefix{netip.MustParsePrefix("10.210.3.0/24")}); err == nil || !strings.Contains(err.Error(), "net.ipv4.ip_forward=1") {
			t.Errorf("Set = %v, want the switch named", err)
		}
		return nil
	})
}

func TestANodeBehindARouterIsReachedByTheRouter(t *testing.T) {
	s := lan.New(t, "host")
	r := openRoads(t, s)
	s.Must("ip link add eth0 type veth peer name other")
	s.Must("ip link set other up")
	s.Must("ip link set eth0 up")
	s.Must("ip addr add 10.98.0.1/24 dev eth0")
	s.Must("ip route add default via 10.98.0.254")
	road := kerneltest.Road("10.210.3.7", "10.99.0.2")
	for i := range 2 {
		if err := r.Set([]topology.Route{road}, true); err != nil {
			t.Fatal(err)
		}
		if got := s.Must("ip -4 route show 10.210.3.7"); !strings.Contains(got, "via 10.98.0.254") {
			t.Errorf("time %d: %q", i+1, got)
		}
	}
	s.Must("ip route add 10.99.0.0/24 via 10.98.0.253")
	if err := r.Set([]topology.Route{road}, true); err != nil {
		t.Fatal(err)
	}
	if got := s.Must("ip -4 route show 10.210.3.7"); !strings.Contains(got, "via 10.98.0.253") {
		t.Errorf("after the way to the node changed: %q", got)
	}
}

func TestTheUplink(t *testing.T) {
	s := lan.New(t, "host")
	r := openRoads(t, s)
	s.Set("net/ipv6/conf/default/disable_ipv6", "1")
	for _, l := range []string{"up0", "lan0"} {
		s.Must("ip link add " + l + " type veth peer name x" + l)
		s.Must("ip link set " + l + " up")
	}
	s.Must("ip link set up0 mtu 9000")
	s.Must("ip link set lan0 mtu 1450")
	s.Must("ip addr add 10.98.0.1/24 dev up0")
	s.Must("ip addr add 10.99.0.1/24 dev lan0")
	for _, c := range []struct {
		name, node, prepare string
		want                string
	}{
		{"nothing is known", "0.0.0.0", "true", "{1500 [] [] [10.98.0.1 10.99.0.1] invalid IP}"},
		{"the node's address is known", "10.99.0.1", "true", "{1450 [lan0] [10.99.0.0/24] [10.98.0.1 10.99.0.1] invalid IP}"},
		{"only a default route is known", "0.0.0.0", "ip route add default via 10.98.0.254", "{9000 [up0] [10.98.0.0/24] [10.98.0.1 10.99.0.1] invalid IP}"},
		{"more addresses", "10.99.0.1", "ip addr add 10.99.8.1/23 dev lan0; ip addr add 10.97.0.1 peer 10.97.0.2/32 dev lan0; ip addr add 169.254.1.1/32 dev up0",
			"{1450 [lan0 up0] [10.99.0.0/24 10.99.8.0/23 10.97.0.2/32] [10.98.0.1 10.99.0.1 10.99.8.1 10.97.0.1] invalid IP}"},
		{"IPv6 on its own link alone", "10.99.0.1", "sysctl -w net.ipv6.conf.lan0.addr_gen_mode=1; sysctl -w net.ipv6.conf.lan0.disable_ipv6=0; ip -6 addr add fe80::7/64 dev lan0 nodad",
			"{1450 [lan0 up0] [10.99.0.0/24 10.99.8.0/23 10.97.0.2/32] [10.98.0.1 10.99.0.1 10.99.8.1 10.97.0.1] fe80::7}"},
		{"an IPv6 address", "10.99.0.1", "ip -6 addr add fd00:10:99::8/64 dev lan0 nodad",
			"{1450 [lan0 up0] [10.99.0.0/24 10.99.8.0/23 10.97.0.2/32 fd00:10:99::/64] [10.98.0.1 10.99.0.1 10.99.8.1 10.97.0.1 fd00:10:99::8] fd00:10:99::8}"},
	} {
		s.Must("ip link set xup0 up")
		s.Must("ip link set xlan0 up")
		for _, command := range strings.Split(c.prepare, "; ") {
			s.Must(command)
		}
		node := netip.MustParseAddr(c.node)
		if got, err := r.Uplink(node); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, %v; want %s", c.name, got, err, c.want)
		}
	}
}
