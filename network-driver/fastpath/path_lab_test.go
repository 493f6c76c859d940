//go:build lab

package fastpath

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestPermittedPacketsPassTheChains(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one, two, a, b, c := site(t, w)
		still(t, converse(t, a, b), one, two)
		still(t, converse(t, a, c), one)
		for _, x := range []struct {
			h   *host
			way string
		}{{one, topology.WayOut}, {one, topology.WayIn}, {one, topology.WayLocal}, {two, topology.WayOut}, {two, topology.WayIn}} {
			if x.h.packets(x.way) < 20 {
				t.Errorf("%s: the counter %q is %d", x.h.space.Name, x.way, x.h.packets(x.way))
			}
		}
		if n := one.packets(topology.WaySpoofed); n != 0 {
			t.Errorf("%d packets were taken for spoofed ones", n)
		}
	})
}

// A tag would take a container's packet into another VLAN behind the uplink.
func TestATaggedPacketIsDropped(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one, two, a, b, _ := site(t, w)
		a.Must("busybox ping -c 1 -W 2 " + b.addr)
		mac := strings.Fields(one.space.Must("ip -br link show " + a.leg.Name))[2]
		frame := packetOf(t, strings.ReplaceAll(mac+a.leg.MAC, ":", "")+"8100 0005 0800 4500002000004000 4011 0000 0ad20307 0ad20308 0035 0035 000c 0000 00000000")
		dropped, came := one.packets(topology.WaySpoofed), two.packets(topology.WayIn)
		a.Do(func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd) //nolint:errcheck // one frame
			eth, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: eth.Index, Protocol: 0x81})
		})
		lan.Eventually(t, 5*time.Second, "it is dropped", func() error {
			if n := one.packets(topology.WaySpoofed) - dropped; n != 1 {
				return fmt.Errorf("%d were", n)
			}
			return nil
		})
		if n := two.packets(topology.WayIn) - came; n != 0 {
			t.Errorf("%d packets came by", n)
		}
	})
}

func TestTheTimeToLiveGoesDownAndItsEndIsAnswered(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		_, _, a, b, c := site(t, w)
		for _, x := range []struct {
			to  box
			ttl string
		}{{b, "ttl=62"}, {c, "ttl=63"}} {
			a.Must("busybox ping -c 1 -W 2 " + x.to.addr)
			if out := a.Must("busybox ping -c 1 -W 2 " + x.to.addr); !strings.Contains(out, x.ttl) {
				t.Errorf("want %s: %s", x.ttl, out)
			}
		}
		if out, _ := a.Try("busybox traceroute -n -q 1 -w 2 -m 3 " + b.addr); !strings.Contains(out, " 2  10.98.0.22 ") || !strings.Contains(out, " 3  "+b.addr) {
			t.Errorf("the way is\n%s", out)
		}
	})
}

func TestWhatIsNotKnownGoesTheOrdinaryWay(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one, two, a, b, c := site(t, w)
		before := one.forwarded()
		a.Must("busybox ping -c 1 -W 2 " + one.addr)       // its own node
		one.space.Must("busybox ping -c 1 -W 2 " + a.addr) // and back
		if n := one.forwarded(); n != before {
			t.Errorf("FORWARD saw %d packets to the node itself", n-before)
		}
		two.space.Must("ip addr add 10.97.0.1/32 dev lo")
		one.space.Must("ip route add 10.97.0.1/32 via " + two.addr)
		a.Must("busybox ping -c 1 -W 2 10.97.0.1") // outside the pools
		if n := one.forwarded(); n != before+2 {
			t.Errorf("FORWARD saw %d packets to an address outside, want 2", n-before)
		}
		delete(one.want.Far, netip.MustParseAddr(b.addr))
		one.set()
		a.Must("busybox ping -c 1 -W 2 " + b.addr)
		if n := one.forwarded(); n != before+4 {
			t.Errorf("FORWARD saw %d packets to a container that is not in the maps, want 2", n-before-2)
		}
		// A group of its own is what isolation will give: no pair, no fast path.
		one.want.Far[netip.MustParseAddr(b.addr)] = topology.Everyone + 1
		one.set()
		before = one.forwarded()
		a.Must("busybox ping -c 1 -W 2 " + b.addr)
		if n := one.forwarded(); n != before+2 {
			t.Errorf("FORWARD saw %d packets between groups without a pair, want 2", n-before)
		}
		one.want.Pairs = []topology.Pair{{From: topology.Everyone, To: topology.Everyone + 1}, {From: topology.Everyone + 1, To: topology.Everyone}}
		one.set()
		before = one.forwarded()
		a.Must("busybox ping -c 1 -W 2 " + b.addr)
		if n := one.forwarded(); n != before {
			t.Errorf("FORWARD saw %d packets between groups with pairs", n-before)
		}
		_ = c
	})
}

func TestASpoofedSourceIsDroppedAndCounted(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one, _, a, b, c := site(t, w)
		a.Must("busybox ping -c 1 -W 2 " + b.addr)
		for _, x := range []struct{ name, prepare, send string }{
			{"another's address", "ip addr add 10.210.3.9/32 dev lo", "busybox ping -c 1 -W 1 -I 10.210.3.9 " + one.addr},
			{"nobody's address to outside", "ip addr add 10.55.0.1/32 dev lo", "busybox ping -c 1 -W 1 -I 10.55.0.1 10.98.0.22"},
			{"another's MAC", "ip link set eth0 address 02:42:0a:d2:03:09", "busybox ping -c 1 -W 1 " + b.addr},
		} {
			a.Must(x.prepare)
			before := one.packets(topology.WaySpoofed)
			if out, err := a.Try(x.send); err == nil {
				t.Errorf("%s: answered: %s", x.name, out)
			}
			if one.packets(topology.WaySpoofed) == before {
				t.Errorf("%s: not counted", x.name)
			}
		}
		a.Must("ip link set eth0 address " + a.leg.MAC)
		before := one.packets(topology.WaySpoofed)
		if _, err := a.Try("busybox arping -c 1 -w 1 -I eth0 -s 10.210.3.9 169.254.1.1"); err == nil || one.packets(topology.WaySpoofed) == before {
			t.Errorf("a question by ARP under another's address: %v, not counted", err)
		}
		a.Must("ip addr del 10.210.3.9/32 dev lo")
		a.Must("busybox arping -c 1 -w 2 -I eth0 169.254.1.1")
		a.Must("busybox ping -c 1 -W 2 " + b.addr)
		a.Must("busybox ping -c 1 -W 2 " + c.addr)
	})
}

func TestAConnectionOutlivesItsPath(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one, two, a, b, _ := site(t, w)
		k := converse(t, a, b)
		still(t, k, one, two)
		breakage := []string{"tc qdisc del dev eth0 clsact", "tc filter del dev " + a.leg.Name + " ingress", "true"}
		if w == NFT {
			breakage = []string{"nft delete table netdev rolling", "nft flush ruleset", "nft delete chain netdev rolling at-eth0"}
		}
		for _, line := range breakage {
			one.space.Must(line)
			if strings.Contains(line, "flush") { // of the test's own rules, too
				one.space.Must("iptables-nft -P FORWARD DROP")
				one.space.Must("iptables-nft -A FORWARD -s 10.210.0.0/16 -j ACCEPT")
			}
			k.goesOn(line)
			one.set()
			still(t, k, one)
		}
		one.open(Settings{Wish: w}) // as after a kill: a new process, the old programs still there
		k.goesOn("a restart")
		one.set()
		still(t, k, one)
		one.space.Must("ip link set eth0 down")
		one.space.Must("ip link set eth0 name up0")
		one.space.Must("ip link set up0 up")
		one.want.Uplinks = []string{"up0"}
		one.knows(b, two) // the kernel took the route with the interface
		k.goesOn("another name of the uplink")
		one.set()
		still(t, k, one)
		for _, other := range []Wish{Off, NFT, BPF} {
			one.open(Settings{Wish: other})
			one.set()
			k.goesOn("the setting " + string(other))
			if other != Off {
				still(t, k, one)
			}
		}
		if text := one.space.Must("nft list tables"); strings.Contains(text, "rolling") {
			t.Errorf("a table was left: %s", text)
		}
	})
}

func TestSetTwiceChangesNothingAndSetNothingLeavesTheHostAsItWas(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		l := lan.NewLAN(t)
		one := newHost(t, l, "n1", "10.98.0.21", w)
		one.run("a1", "10.210.3.7", 1500)
		before := one.space.Everything()
		one.set()
		once := one.space.Everything()
		if once == before {
			t.Error("the picture does not show the fast path")
		}
		one.set()
		if twice := one.space.Everything(); twice != once {
			t.Errorf("the second Set changed something:\n%s\nwas:\n%s", twice, once)
		}
		one.want = topology.Fast{}
		one.set()
		if after := one.space.Everything(); after != before {
			t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
		}
	})
}

func TestOthersFiltersStay(t *testing.T) {
	t.Parallel()
	one := newHost(t, lan.NewLAN(t), "n1", "10.98.0.21", BPF)
	one.run("a1", "10.210.3.7", 1500)
	one.space.Must("tc qdisc add dev eth0 clsact")
	one.space.Must("tc filter add dev eth0 ingress prio 90 protocol ip u32 match ip dst 192.0.2.1/32 flowid 1:1")
	before := one.space.Everything()
	one.set()
	one.want = topology.Fast{}
	one.set()
	if after := one.space.Everything(); after != before {
		t.Errorf("now:\n%s\nbefore:\n%s", after, before)
	}
}

func TestOpeningLeavesNothing(t *testing.T) {
	t.Parallel()
	one := newHost(t, lan.NewLAN(t), "n1", "10.98.0.21", Off)
	before := one.space.Everything()
	for _, w := range Wishes() {
		one.open(Settings{Wish: w})
		if after := one.space.Everything(); after != before {
			t.Errorf("%s left:\n%s\nbefore:\n%s", w, after, before)
		}
	}
	one.open(Settings{Wish: Auto})
	if r := one.path.Report(); r.Path != "bpf" || len(r.Refused) != 0 {
		t.Errorf("auto took %+v", r)
	}
	one.open(Settings{Wish: Off})
	if r := one.path.Report(); r.Path != "plain" || len(r.Refused) != 2 {
		t.Errorf("off took %+v", r)
	}
}

func TestAFullMapSendsTheRestTheOrdinaryWay(t *testing.T) {
	t.Parallel()
	one, two, a, b, c := site(t, BPF)
	one.open(Settings{Wish: BPF, Most: 2})
	if err := one.path.Set(one.want); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("Set = %v, want the full map named", err)
	}
	for _, to := range []box{b, c} {
		converse(t, a, to).goesOn("a full map")
	}
	one.open(Settings{Wish: BPF})
	one.set()
	still(t, converse(t, a, b), one, two)
}

func TestTooLargeIsAnsweredAsBefore(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one, two, a, _, _ := site(t, w)
		small := two.run("d4", "10.210.3.10", 1400)
		one.knows(small, two)
		one.set()
		two.set()
		a.Must("busybox ping -c 1 -W 2 -s 1300 " + small.addr)
		if out, err := a.Try("ping -M do -c 1 -W 2 -s 1450 " + small.addr); err == nil || !strings.Contains(out, "mtu = 1400") {
			t.Errorf("a packet that must not be cut: %v: %s", err, out)
		}
		converse(t, a, small).goesOn("a smaller MTU")
	})
}

func TestFragmentsPass(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		_, _, a, b, c := site(t, w)
		a.Must("busybox ping -c 1 -W 2 -s 8000 " + b.addr)
		a.Must("busybox ping -c 1 -W 2 -s 8000 " + c.addr)
	})
}

func TestAContainerThatMovesIsReachedAnew(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		l := lan.NewLAN(t)
		one, two, three := newHost(t, l, "n1", "10.98.0.21", w), newHost(t, l, "n2", "10.98.0.22", w), newHost(t, l, "n3", "10.98.0.23", w)
		a := one.run("a1", "10.210.3.7", 1500)
		two.knows(a, one)
		three.knows(a, one)
		b := two.run("b2", "10.210.3.8", 1500)
		one.knows(b, two)
		for _, h := range []*host{one, two, three} {
			h.set()
		}
		k := converse(t, a, b)
		still(t, k, one, two)
		k.end() // the old container's words would come from outside
		moved := three.run("b3", "10.210.3.8", 1500)
		three.set()
		one.knows(moved, three)
		if err := one.path.Learn(map[netip.Addr]topology.Group{netip.MustParseAddr(moved.addr): topology.Everyone}); err != nil {
			t.Fatal(err)
		}
		k = converse(t, a, moved)
		still(t, k, one, three)
		k.end()
		if three.packets(topology.WayIn) == 0 {
			t.Error("the third node carried nothing")
		}
		// And to this very node.
		one.space.Must("ip route del 10.210.3.8/32")
		here := one.run("b4", "10.210.3.8", 1500)
		delete(one.want.Far, netip.MustParseAddr(here.addr))
		one.set()
		still(t, converse(t, a, here), one)
		if one.packets(topology.WayLocal) == 0 {
			t.Error("nothing was carried between the two on one node")
		}
	})
}
