//go:build lab

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
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
	at := net.JoinHostPort("0.0.0.0", fmt.Sprint(port))
	var tcp net.Listener
	var udp net.PacketConn
	s.Do(func() (err error) {
		if tcp, err = net.Listen("tcp4", at); err == nil {
			udp, err = net.ListenPacket("udp4", at)
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
		if proto == "udp4" {
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
			web := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
			other := r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
			echoes(t, web, 80)
			if err := r.publish(endpointID(1), binding(6, 8080, 80), binding(17, 8080, 80)); err != nil {
				t.Fatal(err)
			}
			each := func(what string) {
				t.Helper()
				for _, c := range []struct {
					name string
					from lan.Space
					at   string
					seen string
				}{
					{"from outside", router, "10.98.0.21:8080", "10.98.0.1"},
					{"from the node itself", host, "10.98.0.21:8080", "10.98.0.21"},
					{"from another container of the node", other, "10.98.0.21:8080", "10.210.3.8"},
					{"from the container itself", web, "10.98.0.21:8080", "10.98.0.21"},
				} {
					for _, proto := range []string{"tcp4", "udp4"} {
						if seen, err := client(c.from, proto, c.at); err != nil || seen != c.seen {
							t.Errorf("%s, %s, %s: the container sees %q, %v; want %s", what, c.name, proto, seen, err, c.seen)
						}
					}
				}
			}
			each("at first")
			var held net.Listener
			host.Do(func() error {
				var err error
				if held, err = new(net.ListenConfig).Listen(context.Background(), "tcp4", ":8080"); err == nil {
					held.Close()
					t.Error("a program of the host could take the port")
				}
				held, err = net.Listen("tcp4", "127.0.0.1:9090")
				return err
			})
			defer held.Close()
			if err := r.publish(endpointID(2), binding(6, 9090, 80)); err == nil || !strings.Contains(err.Error(), "port 9090/tcp of the node is taken") {
				t.Errorf("a port that a program has: %v", err)
			}
			if err := r.publish(endpointID(2), binding(17, 7070, 80), binding(6, 8080, 80)); err == nil || !strings.Contains(err.Error(), "it leads to 10.210.3.7 already") {
				t.Errorf("a port that a container has: %v", err)
			}
			wired := host.Picture() + host.Must("iptables-nft -w -t nat -S")
			r.kill()
			each("while the plugin is dead")
			r.start()
			lan.Eventually(t, 5*time.Second, "the same after a new start", func() error {
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
			if err := r.publish(endpointID(1), binding(6, 8080, 80)); err != nil {
				t.Error(err)
			}
			r.leave(endpointID(1), net1)
			r.leave(endpointID(2), net1)
			r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: net1}, nil)
			if err := same(host, before); err != nil {
				t.Error(err)
			}
		})
	}
}
