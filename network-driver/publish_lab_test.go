//go:build lab

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/node"
)

// publish is what the engine says of host-mode ports.
func (r *rig) publish(id string, ports ...map[string]any) error {
	r.t.Helper()
	return r.call("ProgramExternalConnectivity", network.ProgramExternalConnectivityRequest{NetworkID: net1, EndpointID: id,
		Options: map[string]any{"com.docker.network.portmap": ports}}, nil)
}

func binding(proto, host, port int) map[string]any {
	return map[string]any{"Proto": proto, "IP": "", "Port": port, "HostIP": "", "HostPort": host, "HostPortEnd": host}
}

// echoes answers over TCP and UDP with the address that the client has for the server.
func echoes(t *testing.T, s lan.Space, port int) {
	t.Helper()
	at := net.JoinHostPort("", fmt.Sprint(port)) // both families
	var tcp net.Listener
	var udp net.PacketConn
	s.Do(func() (err error) {
		if tcp, err = net.Listen("tcp", at); err == nil {
			udp, err = net.ListenPacket("udp", at)
		}
		return err
	})
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, addrOf(c.RemoteAddr()))
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 64)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(addrOf(from)), from)
		}
	}()
}

func addrOf(a net.Addr) string { return netip.MustParseAddrPort(a.String()).Addr().Unmap().String() }

// client tells by which address the server saw the space.
func client(s lan.Space, proto, at string) (seen string, err error) {
	s.Do(func() error {
		var c net.Conn
		if c, err = net.DialTimeout(proto, at, 2*time.Second); err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if strings.HasPrefix(proto, "udp") {
			_, err = c.Write([]byte("?"))
		}
		b := make([]byte, 64)
		n := 0
		if err == nil {
			n, err = c.Read(b)
		}
		seen = string(b[:n])
		return nil
	})
	return seen, err
}

const netOther = "other9lzwgx5q1p7f2a8b4c0x"

// cell is one way to a published port, and by which address the container sees who goes it.
type cell struct {
	name string
	from lan.Space
	at   string
	seen string
}

func expectSeen(t *testing.T, when string, cells []cell) {
	t.Helper()
	for _, c := range cells {
		for _, proto := range []string{"tcp", "udp"} {
			if seen, err := client(c.from, proto, c.at); err != nil || seen != c.seen {
				t.Errorf("%s, %s, %s: the container sees %q, %v; want %s", when, c.name, proto, seen, err, c.seen)
			}
		}
	}
}

// expectNothing says that nobody answers. Packets are dropped, so a no takes its time.
func expectNothing(t *testing.T, when string, cells []cell) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range cells {
		for _, proto := range []string{"tcp", "udp"} {
			all.Go(func() {
				if seen, err := client(c.from, proto, c.at); err == nil {
					t.Errorf("%s, %s, %s: the container answers, and sees %q", when, c.name, proto, seen)
				}
			})
		}
	}
	all.Wait()
}

func TestPortsOfTheHostLeadToContainers(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "off"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			host, router := lanHost(t)
			before := host.Everything()
			r := newRig(t, host, "ROLLING_FASTPATH="+path)
			r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
			r.start()
			r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
			r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: netOther, Options: map[string]any{"com.docker.network.generic": map[string]any{"rolling.project": "payments"}},
				IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: "10.210.4.0/24", Gateway: "169.254.1.2/32"}}}, nil)
			web := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
			other := r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
			forbidden := r.container(endpointID(3), netOther, "10.210.4.9", "c3", 0)
			// An address of the pool elsewhere, of which no node that is trusted has told whose it is.
			router.Must("ip addr add 10.210.3.99/32 dev lo")
			host.Must("ip route add 10.210.3.99/32 via 10.98.0.1")
			echoes(t, web, 80)
			if err := r.publish(endpointID(1), binding(6, 8080, 80), binding(17, 8080, 80)); err != nil {
				t.Fatal(err)
			}
			each := func(when string) {
				t.Helper()
				expectSeen(t, when, []cell{
					{"from outside", router, "10.98.0.21:8080", "10.98.0.1"},
					{"from the node itself", host, "10.98.0.21:8080", "10.98.0.21"},
					{"from the node itself by 127.0.0.1", host, "127.0.0.1:8080", "10.98.0.21"},
					{"from another container of the node", other, "10.98.0.21:8080", "10.210.3.8"},
					{"from the container itself", web, "10.98.0.21:8080", "10.98.0.21"},
				})
				expectNothing(t, when, []cell{{"from another project's container", forbidden, "10.98.0.21:8080", ""}})
			}
			each("at first")
			if err := from(router, "10.210.3.99", "10.98.0.21:8080"); err == nil {
				t.Error("an address of the pool that nobody vouches for is let in by the node's port")
			}
			if e := explained(r, "10.210.4.9", "10.210.3.7:80"); e.Allowed || !strings.Contains(e.Why, "no service of project orders has payments") {
				t.Errorf("explained as %+v", e)
			}
			localIsShut(t, r, web)
			takenPortsAreNamed(t, r)
			wired := host.Picture() + host.Must("iptables-nft -w -t nat -S")
			r.kill()
			each("while the plugin is dead")
			r.start()
			lan.Eventually(t, 10*time.Second, "the same after a new start", func() error {
				return differs(host.Picture()+host.Must("iptables-nft -w -t nat -S"), wired)
			})
			each("after a new start")
			r.must("RevokeExternalConnectivity", network.RevokeExternalConnectivityRequest{NetworkID: net1, EndpointID: endpointID(1)}, nil)
			if _, err := client(router, "tcp4", "10.98.0.21:8080"); err == nil {
				t.Error("it is answered though revoked")
			}
			host.Do(func() error {
				l, err := net.Listen("tcp4", ":8080")
				if err != nil {
					return errors.New("the port was not given back")
				}
				return l.Close()
			})
			if local := host.Must("sysctl -n net.ipv4.conf.rl" + endpointID(1)[:11] + ".route_localnet"); strings.TrimSpace(local) != "0" {
				t.Errorf("route_localnet of the link is %s after the port was given back", local)
			}
			if err := r.publish(endpointID(1), binding(6, 8080, 80)); err != nil {
				t.Error(err)
			}
			for i, id := range []string{net1, net1, netOther} {
				r.leave(endpointID(i+1), id)
			}
			for _, id := range []string{net1, netOther} {
				r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: id}, nil)
			}
			host.Must("ip route del 10.210.3.99/32")
			if err := same(host, before); err != nil {
				t.Error(err)
			}
		})
	}
}

// from connects from one of several addresses of a space.
func from(s lan.Space, own, at string) (err error) {
	s.Do(func() error {
		d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}}
		var c net.Conn
		if c, err = d.Dial("tcp4", at); err == nil {
			_ = c.Close()
		}
		return nil
	})
	return err
}

func explained(r *rig, from, to string) (e node.Explanation) {
	r.t.Helper()
	text, err := r.page("/explain?from=" + from + "&to=" + to)
	if err == nil {
		err = json.Unmarshal([]byte(text), &e)
	}
	if err != nil {
		r.t.Error(err)
	}
	return e
}

// localIsShut: the switch that lets the node's own packets from 127.0.0.1 out to a container would let a container's in.
func localIsShut(t *testing.T, r *rig, box lan.Space) {
	t.Helper()
	var secret net.Listener
	r.space.Do(func() (err error) { secret, err = net.Listen("tcp4", "127.0.0.1:7777"); return err })
	defer secret.Close() //nolint:errcheck // it only waited
	for _, key := range []string{"net/ipv4/conf/all/route_localnet", "net/ipv4/conf/eth0/route_localnet"} {
		box.Set(key, "1")
	}
	box.Must("ip route del local 127.0.0.0/8 dev lo table local")
	box.Must("ip route del local 127.0.0.1 dev lo table local")
	box.Must("ip route add 127.0.0.1/32 via 169.254.1.1 dev eth0 onlink src 10.210.3.7")
	if _, err := client(box, "tcp4", "127.0.0.1:7777"); err == nil {
		t.Error("a container reaches a program that listens on the node's 127.0.0.1")
	}
	if out := r.space.Must("iptables-nft -w -t mangle -nvxL ROLLING-LOCAL"); strings.Fields(strings.Split(out, "\n")[2])[0] == "0" {
		t.Errorf("nothing was dropped, so nothing was tried:\n%s", out)
	}
	box.Must("ip route del 127.0.0.1/32 via 169.254.1.1 dev eth0")
}

func takenPortsAreNamed(t *testing.T, r *rig) {
	t.Helper()
	var held net.Listener
	var heldUDP net.PacketConn
	r.space.Do(func() error {
		var err error
		if held, err = new(net.ListenConfig).Listen(context.Background(), "tcp4", ":8080"); err == nil {
			held.Close()
			t.Error("a program of the host could take the port")
		}
		if held, err = net.Listen("tcp4", "127.0.0.1:9090"); err == nil {
			heldUDP, err = net.ListenPacket("udp", ":9091")
		}
		return err
	})
	defer held.Close()    //nolint:errcheck // it only waited
	defer heldUDP.Close() //nolint:errcheck // the same
	for _, c := range []struct {
		name   string
		ports  []map[string]any
		refuse string
	}{
		{"a port that a program listens on", []map[string]any{binding(6, 9090, 80)}, "port 9090/tcp of the node is taken by "},
		{"the address that it has", []map[string]any{binding(6, 9090, 80)}, "which has 127.0.0.1:9090: publish another, or stop that"},
		{"a port of UDP", []map[string]any{binding(17, 9091, 80)}, "port 9091/udp of the node is taken by "},
		{"a port that a container has", []map[string]any{binding(17, 7070, 80), binding(6, 8080, 80)}, "it leads to 10.210.3.7 already, the container of endpoint "},
	} {
		if err := r.publish(endpointID(2), c.ports...); err == nil || !strings.Contains(err.Error(), c.refuse) {
			t.Errorf("%s: %v; want %q", c.name, err, c.refuse)
		}
	}
	r.space.Do(func() error { // of a refusal nothing is kept
		c, err := net.ListenPacket("udp4", ":7070")
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// A container with an IPv6 address answers at the node's IPv6 addresses, too, and sees who asks.
func TestPortsOfTheHostLeadToContainersByIPv6(t *testing.T) {
	t.Parallel()
	host, router := lanHost(t)
	host.Must("ip -6 addr add fd00:10:98::21/64 dev eth0 nodad")
	router.Must("ip -6 addr add fd00:10:98::1/64 dev eth0 nodad")
	for _, chain := range []string{"nat -P PREROUTING", "nat -P OUTPUT", "nat -P POSTROUTING"} { // as the engine has
		host.Must("ip6tables-nft -t " + chain + " ACCEPT")
	}
	chains := host.Must("ip6tables-nft -t nat -S")
	r := newRig(t, host)
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	r.start()
	r.createSix(net1, "10.210.3.0/24", "169.254.1.1/32")
	r.createSix(netOther, "10.210.4.0/24", "169.254.1.2/32", "rolling.project", "payments")
	web, other, forbidden := lan.New(t, "c1"), lan.New(t, "c2"), lan.New(t, "c3")
	r.containerOf(endpointID(1), net1, "10.210.3.7", web, 0)
	six := r.containerOf(endpointID(2), net1, "10.210.3.8", other, 0)
	r.containerOf(endpointID(3), netOther, "10.210.4.9", forbidden, 0)
	echoes(t, web, 80)
	if err := r.publish(endpointID(1), binding(6, 8080, 80), binding(17, 8080, 80)); err != nil {
		t.Fatal(err)
	}
	each := func(when string) {
		t.Helper()
		expectSeen(t, when, []cell{
			{"from outside", router, "[fd00:10:98::21]:8080", "fd00:10:98::1"},
			{"from outside by IPv4", router, "10.98.0.21:8080", "10.98.0.1"},
			{"from the node itself", host, "[fd00:10:98::21]:8080", "fd00:10:98::21"},
			{"from another container of the node", other, "[fd00:10:98::21]:8080", six},
			{"from the container itself", web, "[fd00:10:98::21]:8080", "fd00:10:98::21"},
		})
		expectNothing(t, when, []cell{{"from another project's container", forbidden, "[fd00:10:98::21]:8080", ""}})
	}
	lan.Eventually(t, 10*time.Second, "IPv6 is there", func() error {
		_, err := client(router, "tcp", "[fd00:10:98::21]:8080")
		return err
	})
	each("at first")
	var held net.Listener
	host.Do(func() (err error) { held, err = net.Listen("tcp6", "[fd00:10:98::21]:9090"); return err })
	defer held.Close() //nolint:errcheck // it only waited
	if err := r.publish(endpointID(2), binding(6, 9090, 80)); err == nil || !strings.Contains(err.Error(), "which has [fd00:10:98::21]:9090") {
		t.Errorf("a port that a program has by IPv6: %v", err)
	}
	r.kill()
	each("while the plugin is dead")
	r.start()
	each("after a new start")
	for i, id := range []string{net1, net1, netOther} {
		r.leave(endpointID(i+1), id)
	}
	for _, id := range []string{net1, netOther} {
		r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: id}, nil)
	}
	if now := host.Must("ip6tables-nft -w -t nat -S"); now != chains {
		t.Errorf("left behind:\n%s", lan.Differences(chains, now))
	}
}
