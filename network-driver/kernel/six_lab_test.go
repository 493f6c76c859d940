//go:build lab

package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	nft6    = "/usr/sbin/ip6tables-nft"
	legacy6 = "/usr/sbin/ip6tables-legacy"
)

func openSix(t *testing.T, s lan.Space) *Six {
	var six *Six
	s.Do(func() (err error) { six, err = OpenSix(nft6, legacy6, slog.New(slog.DiscardHandler)); return err })
	t.Cleanup(six.Close)
	return six
}

func sixHost(t *testing.T) lan.Space {
	s := lan.NewLAN(t).Node("host", "10.98.0.1/24")
	s.Must("iptables-nft -P FORWARD ACCEPT")
	s.Set("net/ipv6/conf/all/forwarding", "0")
	s.Set("net/ipv6/conf/eth0/accept_ra", "1")
	return s
}

func switches(s lan.Space) string {
	return strings.Join(strings.Fields(s.Must("sysctl -n net.ipv6.conf.all.forwarding net.ipv6.conf.eth0.accept_ra")), " ")
}

func wantSix(legs ...topology.SixLeg) topology.Six {
	return topology.Six{Wanted: true, Pools: []netip.Prefix{netip.MustParsePrefix("fd00:10:210::ad2:300/120")}, Legs: legs}
}

var oneLeg = topology.SixLeg{Name: "rla1000000000", MAC: "02:42:0a:d2:03:07", Sources: []netip.Addr{netip.MustParseAddr("fd00:10:210::ad2:307")}}

func TestIPv6IsTurnedOnAndGivenBack(t *testing.T) {
	for _, c := range []struct{ name, prepare, on, after, rules string }{
		{"a node that did not forward", "true", "1 2", "0 1", "-A FORWARD -j ROLLING-FORWARD\n-A FORWARD -j ROLLING-REST"},
		{"a node that forwards anyway", "sysctl -w net.ipv6.conf.all.forwarding=1", "1 1", "1 1", "-A FORWARD -j ROLLING-FORWARD"},
		{"a node with Docker's chain", "ip6tables-nft -N DOCKER-USER; ip6tables-nft -A FORWARD -j DOCKER-USER", "1 2", "0 1", "-A FORWARD -j ROLLING-REST\n-A DOCKER-USER -j ROLLING-FORWARD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := sixHost(t)
			for _, command := range strings.Split(c.prepare, "; ") {
				s.Must(command)
			}
			before := s.Everything()
			set := func(six *Six, want topology.Six) {
				t.Helper()
				s.Do(func() error { return six.Set(want) })
			}
			set(openSix(t, s), wantSix(oneLeg))
			if got := switches(s); got != c.on {
				t.Errorf("the switches are %s, want %s", got, c.on)
			}
			once := s.Everything()
			var jumps []string
			for _, l := range strings.Split(s.Must(nft6+" -S"), "\n") {
				if strings.Contains(l, "-j ROLLING-") {
					jumps = append(jumps, l)
				}
			}
			if got := strings.Join(jumps, "\n"); got != c.rules {
				t.Errorf("the rules are\n%s\nwant\n%s", got, c.rules)
			}
			again := openSix(t, s) // by another process
			set(again, wantSix(oneLeg))
			if got := s.Everything(); got != once {
				t.Errorf("the second time something changed: %s", lan.Differences(once, got))
			}
			set(again, topology.Six{Legs: []topology.SixLeg{{Name: oneLeg.Name, MAC: oneLeg.MAC}}})
			if got := switches(s); got != c.after {
				t.Errorf("with containers that have no IPv6 the switches are %s, want %s", got, c.after)
			}
			if got := s.Must("nft list table ip6 rolling-six"); strings.Contains(got, "fd00:") || !strings.Contains(got, "drop") {
				t.Errorf("with containers that have no IPv6 the check reads\n%s", got)
			}
			set(again, topology.Six{})
			if got := s.Everything(); got != before {
				t.Errorf("something is left: %s", lan.Differences(before, got))
			}
		})
	}
}

func TestForwardingStaysForABridgeThatNeedsIt(t *testing.T) {
	s := sixHost(t)
	six := openSix(t, s)
	s.Do(func() error { return six.Set(wantSix()) })
	s.Must("ip link add br-docker type bridge")
	s.Must("ip -6 addr add fd00:55::1/64 dev br-docker nodad")
	s.Do(func() error { return six.Set(topology.Six{}) })
	if got := switches(s); got != "1 2" {
		t.Errorf("the switches are %s", got)
	}
	s.Must("ip link del br-docker")
	s.Do(func() error { return six.Set(topology.Six{}) })
	if got := switches(s); got != "0 1" {
		t.Errorf("without the bridge the switches are %s", got)
	}
}

func TestIPv6LinksAndRoads(t *testing.T) {
	s := sixHost(t)
	w, r := openWires(t, s), openRoads(t, s)
	s.Must("ip -6 addr add fd00:10:98::1/64 dev eth0 nodad")
	s.Set("net/ipv6/conf/default/disable_ipv6", "1") // a careful administrator's
	before := s.Everything()
	l := kerneltest.Link("a1", "10.210.3.7")
	l.Address6, l.Gateway6 = netip.MustParseAddr("fd00:10:210::ad2:307"), topology.SixGateway(l.Gateway)
	roads := []topology.Route{
		{Prefix: netip.MustParsePrefix("fd00:10:210::ad2:308/128"), Via: netip.MustParseAddr("fd00:10:98::2")},
		{Prefix: netip.MustParsePrefix("fd00:10:210::ad2:309/128"), Via: netip.MustParseAddr("fe80::3%10.98.0.3")},
	}
	set := func(links []topology.Link, all []topology.Route) {
		t.Helper()
		s.Do(func() error { return errors.Join(w.Set(links), r.Set(all, true)) })
	}
	// The road to an address that a container here gets has to go.
	set(nil, append(roads, topology.Route{Prefix: netip.MustParsePrefix("fd00:10:210::ad2:307/128"), Via: netip.MustParseAddr("fd00:10:98::2")}))
	set([]topology.Link{l}, roads)
	once := s.Must("ip -6 route show proto 82") + s.Must("ip -6 addr show dev "+l.Name)
	for _, want := range []string{
		"fd00:10:210::ad2:307 dev rla1000000000 metric 512", "fd00:10:210::ad2:308 via fd00:10:98::2 dev eth0 metric 1024",
		"fd00:10:210::ad2:309 via fe80::3 dev eth0 metric 1024", "inet6 fe80::a9fe:101/128 scope link nodad",
	} {
		if !strings.Contains(once, want) {
			t.Errorf("the host lacks %q:\n%s", want, once)
		}
	}
	if strings.Contains(once, "307 via") {
		t.Errorf("the road to the container's address stays:\n%s", once)
	}
	watched := s.Must("ip -6 route show table all")
	set([]topology.Link{l}, roads)
	if got := s.Must("ip -6 route show table all"); got != watched {
		t.Errorf("the second Set changed something:\n%s\nwas:\n%s", got, watched)
	}
	for _, broken := range []string{"ip -6 route del fd00:10:210::ad2:307", "ip -6 addr del fe80::a9fe:101/128 dev rla1000000000"} {
		s.Must(broken)
		set([]topology.Link{l}, roads)
		if got := s.Must("ip -6 route show proto 82") + s.Must("ip -6 addr show dev "+l.Name); !strings.Contains(got, "ad2:307 dev") || !strings.Contains(got, "fe80::a9fe:101/128") {
			t.Errorf("after %q:\n%s", broken, got)
		}
	}
	if err := r.Remove(netip.MustParsePrefix("fd00:10:210::ad2:307/128")); err != nil || !strings.Contains(s.Must("ip -6 route show proto 82"), "ad2:307 dev") {
		t.Errorf("Remove of a road took the container's route: %v", err)
	}
	s.Must("ip route add 10.97.0.0/24 via 10.98.0.254")
	far := topology.Route{Prefix: netip.MustParsePrefix("fd00:10:210::ad2:310/128"), Via: netip.MustParseAddr("fe80::4%10.97.0.4")}
	if err := r.Add(far); err == nil || !strings.Contains(err.Error(), "behind router 10.98.0.254") {
		t.Errorf("a link-local next hop behind a router: %v", err)
	}
	s.Must("ip route del 10.97.0.0/24")
	set(nil, nil)
	if after := s.Everything(); after != before {
		t.Errorf("something is left: %s", lan.Differences(before, after))
	}
}

// advertise sends what a router says of itself, or a redirect's like, from a namespace.
func advertise(t *testing.T, box lan.Space, device string) {
	t.Helper()
	index := 0
	if _, err := fmt.Sscanf(box.Must("ip -o link show dev "+device), "%d:", &index); err != nil {
		t.Fatal(err)
	}
	box.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// RFC 4861: type 134, hop limit 64, a router for 600 s.
		packet := []byte{134, 0, 0, 0, 64, 0, 2, 88, 0, 0, 0, 0, 0, 0, 0, 0}
		to := &unix.SockaddrInet6{ZoneId: uint32(index), Addr: netip.MustParseAddr("ff02::1").As16()}
		return errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index), unix.Sendto(fd, packet, 0, to))
	})
}

func TestAContainerIsNoRouter(t *testing.T) {
	s, box := sixHost(t), lan.New(t, "box")
	box.Set("net/ipv6/conf/default/accept_dad", "0") // its link-local address can be used at once
	w, six := openWires(t, s), openSix(t, s)
	l := kerneltest.Link("a1", "10.210.3.7")
	l.Address6, l.Gateway6 = netip.MustParseAddr("fd00:10:210::ad2:307"), topology.SixGateway(l.Gateway)
	s.Do(func() error { return w.Plug(l) })
	s.Must("ip link set " + l.Peer + " netns " + box.Name)
	box.Must("ip link set " + l.Peer + " up")
	s.Set("net/ipv6/conf/"+l.Name+"/accept_ra", "2") // else the test could not fail
	believed := func() error {
		if got := s.Must("ip -6 route show default"); !strings.Contains(got, l.Name) {
			return fmt.Errorf("no default route by the container: %q", got)
		}
		return nil
	}
	lan.Eventually(t, 10*time.Second, "without the check a container's advertisement is believed", func() error {
		advertise(t, box, l.Peer)
		return believed()
	})
	s.Do(func() error { return six.Set(wantSix(oneLeg)) })
	s.Must("ip -6 route flush default")
	for range 5 {
		advertise(t, box, l.Peer)
		time.Sleep(50 * time.Millisecond)
	}
	if believed() == nil {
		t.Error("with the check it is believed, too")
	}
	// What a container must be able to say still passes.
	box.Must("ip -6 addr add fd00:10:210::ad2:307/128 dev " + l.Peer + " nodad")
	box.Must("ip -6 route add fe80::a9fe:101 dev " + l.Peer)
	box.Must("ip -6 route add default via fe80::a9fe:101 dev " + l.Peer)
	s.Must("ip -6 addr add fd00:77::1/128 dev lo")
	lan.Eventually(t, 5*time.Second, "it reaches its gateway", func() error {
		_, err := box.Try("busybox ping -6 -c 1 -W 1 fd00:77::1")
		return err
	})
}
