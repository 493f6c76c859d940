//go:build lab && long

package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// shots is how often each forged frame is sent.
const shots = 20

// forgery is a frame that no container may send.
type forgery struct {
	name  string
	frame []byte
}

// frameOf puts a packet behind an Ethernet header.
func frameOf(to, from string, kind uint16, payload []byte) []byte {
	a, _ := net.ParseMAC(to) // the tests' own
	b, _ := net.ParseMAC(from)
	return append(binary.BigEndian.AppendUint16(append(append([]byte(nil), a...), b...), kind), payload...)
}

// packetOf is a packet of IPv4 or IPv6 with its checksums.
func packetOf(from, to netip.Addr, protocol byte, hops byte, body []byte) []byte {
	pseudo := append(append(from.AsSlice(), to.AsSlice()...), 0, protocol)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(body)))
	at := 6
	if protocol == unix.IPPROTO_ICMPV6 {
		at = 2
	}
	binary.BigEndian.PutUint16(body[at:], checksum(append(pseudo, body...)))
	if from.Is6() {
		head := []byte{0x60, 0, 0, 0, byte(len(body) >> 8), byte(len(body)), protocol, hops}
		return append(append(append(head, from.AsSlice()...), to.AsSlice()...), body...)
	}
	head := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, hops, protocol, 0, 0}
	head = append(append(head, from.AsSlice()...), to.AsSlice()...)
	binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(body)))
	binary.BigEndian.PutUint16(head[10:], checksum(head))
	return append(head, body...)
}

func checksum(b []byte) uint16 {
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// datagram is a packet to the port that spies watch.
func datagram(from, to netip.Addr, text string) []byte {
	body := binary.BigEndian.AppendUint16(nil, 4444)
	body = binary.BigEndian.AppendUint16(body, spyPort)
	body = binary.BigEndian.AppendUint16(body, uint16(8+len(text)))
	return packetOf(from, to, unix.IPPROTO_UDP, 64, append(append(body, 0, 0), text...))
}

// arpOf is an answer of ARP that nobody asked for.
func arpOf(mac string, address netip.Addr) []byte {
	m, _ := net.ParseMAC(mac)
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	b = append(append(append(b, m...), address.AsSlice()...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	return append(b, address.AsSlice()...)
}

// advertisement of a router that is none.
func advertisement(from netip.Addr) []byte {
	body := []byte{134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	return packetOf(from, netip.MustParseAddr("ff02::1"), unix.IPPROTO_ICMPV6, 255, body)
}

// shoot sends a frame past all that the container's own kernel would say.
func shoot(s lan.Space, frame []byte) {
	s.Do(func() error {
		device, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range shots {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: device.Index}); err != nil {
				return err
			}
		}
		return nil
	})
}

var stoppedFigures = regexp.MustCompile(`(?m)^(rolling_net_denied_packets_total|rolling_net_source_drops_total|rolling_net_l2_dropped_frames_total|rolling_net_fastpath_packets_total\{way="spoofed"\}) (\S+)$`)

// stopped is what a node's /metrics says that it kept back, by whatever check.
func (r *rig) stopped() (n int) {
	r.t.Helper()
	text, err := r.page("/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range stoppedFigures.FindAllStringSubmatch(text, -1) {
		f, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			r.t.Fatal(err)
		}
		n += int(f)
	}
	return n
}

func (m *matrix) resident(project string, node int, l2 bool) *resident {
	for _, r := range m.residents {
		if r.project == project && r.node == node && r.l2 == l2 && r.ways[0].name == "direct" {
			return r
		}
	}
	m.t.Fatalf("no %q on n%d", project, node+1)
	return nil
}

func (r *resident) place() place { return place{space: r.space, address: r.ways[0].address.String()} }

func macOf(s lan.Space, device string) string {
	_, rest, _ := strings.Cut(s.Must("ip -o link show "+device), "link/ether ")
	return strings.Fields(rest)[0]
}

// impostors: what a container sends in another's name reaches nobody, is counted, and harms no neighbour.
func (m *matrix) impostors() {
	m.t.Helper()
	l2 := m.residents[0].l2
	m.lay(nil)
	attacker, neighbour, victim := m.resident("payments", 0, l2), m.resident("orders", 0, l2), m.resident("orders", 1, l2)
	node := m.nodes[0]
	own, neighbours := macOf(attacker.space, "eth0"), macOf(neighbour.space, "eth0")
	gateway, router := macOf(victim.space, "eth0"), netip.MustParseAddr("10.98.0.1")
	if !l2 {
		gateway, router = macOf(node.space, node.hostEnd(2)), netip.MustParseAddr("169.254.1.2")
	}
	k := newSpies(m.t)
	defer k.end()
	k.watch(victim.space, "orders", victim.String())
	k.send(neighbour.space, "orders", neighbour.String(), []netip.AddrPort{netip.AddrPortFrom(victim.ways[0].address, spyPort)})
	calls := tryOn(neighbour.place(), victim.place(), "8080", 20*time.Second)

	four := func(from *resident) []byte { return datagram(from.ways[0].address, victim.ways[0].address, "forged") }
	link := netip.MustParseAddr("fe80::42:aff:fe01:101")
	forgeries := []forgery{
		{"another's address", frameOf(gateway, own, unix.ETH_P_IP, four(neighbour))},
		{"another's MAC", frameOf(gateway, neighbours, unix.ETH_P_IP, four(attacker))},
		{"another's address and MAC", frameOf(gateway, neighbours, unix.ETH_P_IP, four(neighbour))},
		{"the company's address", frameOf(gateway, own, unix.ETH_P_IP, datagram(m.outside.ways[0].address, victim.ways[0].address, "forged"))},
		{"ARP for the gateway", frameOf("ff:ff:ff:ff:ff:ff", own, unix.ETH_P_ARP, arpOf(own, router))},
		{"ARP for the neighbour", frameOf("ff:ff:ff:ff:ff:ff", own, unix.ETH_P_ARP, arpOf(own, neighbour.ways[0].address))},
		{"an advertisement of a router", frameOf("33:33:00:00:00:01", own, unix.ETH_P_IPV6, advertisement(link))},
	}
	if !l2 {
		six := func(from *resident) []byte { return datagram(from.ways[1].address, victim.ways[1].address, "forged") }
		forgeries = append(forgeries,
			forgery{"another's IPv6 address", frameOf(gateway, own, unix.ETH_P_IPV6, six(neighbour))},
			forgery{"another's MAC by IPv6", frameOf(gateway, neighbours, unix.ETH_P_IPV6, six(attacker))})
	}
	if path := node.state().FastPath.Path; !l2 && path == "plain" {
		forgeries = append(forgeries[:4], forgeries[6:]...) // the node answers for the gateway on each link, and believes nobody
	}
	routes, neighs := node.space.Must("ip -6 route show default"), node.space.Must("ip neigh show to "+victim.ways[0].address.String())
	for _, f := range forgeries {
		before := node.stopped()
		shoot(attacker.space, f.frame)
		lan.Eventually(m.t, 5*time.Second, f.name+" is counted", func() error {
			if n := node.stopped() - before; n < shots {
				return fmt.Errorf("%d of %d", n, shots)
			}
			return nil
		})
	}
	if now := node.space.Must("ip -6 route show default"); now != routes {
		m.t.Errorf("the node believed a router that is none: %s", now)
	}
	if now := node.space.Must("ip neigh show to " + victim.ways[0].address.String()); strings.Contains(now, own) {
		m.t.Errorf("the node believes %s, had %s", now, neighs)
	}
	for _, port := range []string{"179", "1790", "1791"} {
		if err := dial(attacker.place(), nodeAddress(1), port, time.Second); err == nil || strings.Contains(err.Error(), "refused") {
			m.t.Errorf("port %s of the node answers: %v", port, err)
		}
	}
	k.goesOn("while another poses as everybody")
	close(calls.done)
	if n := calls.bad.Load(); n != 0 || calls.good.Load() < 5 {
		m.t.Errorf("a neighbour's connections failed %d times, and did not %d times", n, calls.good.Load())
	}
}

func TestImpostorsAreStoppedOnEachPath(t *testing.T) {
	paths(t, func(t *testing.T, path string) {
		m := layMatrix(t, "ROLLING_FASTPATH="+path)
		for i := range m.nodes {
			m.services(i, 2)
			m.settle(i)
		}
		m.known(3*len(wards) + 2*2)
		m.impostors()
	})
}
