//go:build lab

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

const lanNet = "lan0xn9lzwgx5q1p7f2a8b4c"

// l2Network is one on the nodes' own cable.
func (r *rig) l2Network(attach string) {
	r.t.Helper()
	r.must("CreateNetwork", l2Request(attach), nil)
}

func l2Request(attach string) network.CreateNetworkRequest {
	return network.CreateNetworkRequest{NetworkID: lanNet, Options: map[string]any{
		"com.docker.network.generic": map[string]any{"rolling.mode": "l2", "rolling.parent": "eth0", "rolling.gateway": "10.98.0.1", "rolling.attach": attach},
	}, IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: "10.98.0.0/24", Gateway: "10.98.0.1/24"}}}
}

// attach plays the engine up to where the container has its interface.
func (r *rig) attach(id, address, name string) (lan.Space, error) {
	r.t.Helper()
	return r.attachTo(lanNet, id, address, name)
}

func (r *rig) attachTo(net, id, address, name string) (lan.Space, error) {
	r.t.Helper()
	var join network.JoinResponse
	box := lan.New(r.t, name)
	if err := r.call("CreateEndpoint", network.CreateEndpointRequest{NetworkID: net, EndpointID: id, Interface: &network.EndpointInterface{Address: address + "/24"}}, nil); err != nil {
		return box, err
	}
	if err := r.call("Join", network.JoinRequest{NetworkID: net, EndpointID: id, SandboxKey: "/var/run/docker/netns/" + box.Name}, &join); err != nil {
		return box, err
	}
	if join.Gateway != "10.98.0.1" || len(join.StaticRoutes) != 0 {
		r.t.Errorf("Join answered %+v", join)
	}
	r.space.Must("ip link set " + join.InterfaceName.SrcName + " netns " + box.Name)
	for _, line := range []string{"ip link set %s name eth0", "ip addr add " + address + "/24 dev eth0", "ip link set eth0 up", "ip route add default via 10.98.0.1"} {
		box.Must(strings.ReplaceAll(line, "%s", join.InterfaceName.SrcName))
	}
	return box, nil
}

// lanHost is a node with Docker's chains and a route to the router.
func lanHost(t *testing.T) (host, router lan.Space) {
	t.Helper()
	net := lan.NewLAN(t)
	router, host = net.Node("router", "10.98.0.1/24"), net.Node("n1", "10.98.0.21/24")
	router.Must("ip addr add 10.98.0.66/24 dev eth0") // somebody's, in the midst of the subnet
	host.Must("ip route add default via 10.98.0.1")
	dockersChains(host)
	for _, chain := range []string{"filter -P INPUT", "nat -P PREROUTING", "nat -P OUTPUT", "nat -P POSTROUTING"} { // as the engine has
		host.Must("iptables-nft -t " + chain + " ACCEPT")
	}
	return host, router
}

func pings(from lan.Space, to ...string) error {
	for _, a := range to {
		if out, err := from.Try("busybox ping -c 1 -W 2 " + a); err != nil {
			return fmt.Errorf("%s to %s: %w: %s", from.Name, a, err, out)
		}
	}
	return nil
}

func TestContainersOnTheNodesOwnLANLiveThroughAKillAndTheHostIsGivenBack(t *testing.T) {
	t.Parallel()
	for _, attach := range []string{"bridge", "macvlan"} {
		t.Run(attach, func(t *testing.T) {
			t.Parallel()
			host, router := lanHost(t)
			before := host.Everything()
			r := newRig(t, host)
			r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
			r.start()
			r.l2Network(attach)
			if _, err := r.attach(endpointID(9), "10.98.0.66", "c9"); err == nil || !strings.Contains(err.Error(), "address 10.98.0.66 is in use already by") {
				t.Errorf("an address that a neighbour has: %v", err)
			}
			if _, err := r.attach(endpointID(8), "10.98.0.21", "c8"); err == nil || !strings.Contains(err.Error(), "address 10.98.0.21 is this node's own") {
				t.Errorf("the node's own address: %v", err)
			}
			lan.Eventually(t, 5*time.Second, "nothing is left of the refused", func() error { return same(host, before) })
			one, err := r.attach(endpointID(1), "10.98.0.77", "c1")
			if err != nil {
				t.Fatal(err)
			}
			two, err := r.attach(endpointID(2), "10.98.0.78", "c2")
			if err != nil {
				t.Fatal(err)
			}
			all := func() error {
				err := pings(one, "10.98.0.1", "10.98.0.78")
				if err == nil {
					err = pings(router, "10.98.0.77", "10.98.0.78", "10.98.0.21")
				}
				if err == nil && attach == "bridge" {
					err = pings(host, "10.98.0.77", "10.98.0.1")
				}
				if err != nil {
					err = fmt.Errorf("%w\ncontainer: %s\nrouter: %s\nMACs: %s\n%s", err, one.Must("ip neigh"), router.Must("ip neigh"),
						host.Must("bridge fdb"), host.Must("nft list tables"))
				}
				return err
			}
			lan.Eventually(t, 20*time.Second, "all reach all", all)
			if out := router.Must("ip neigh show to 10.98.0.77"); !strings.Contains(out, "02:42:0a:62:00:4d") {
				t.Errorf("the router knows %s", out)
			}
			long := make(chan string, 1)
			go func() {
				out, _ := router.Try("busybox ping -c 100 -i 0.05 -W 2 10.98.0.77")
				long <- out
			}()
			r.kill()
			if err := all(); err != nil {
				t.Errorf("while the plugin is dead: %v", err)
			}
			wired := host.Picture()
			r.start()
			lan.Eventually(t, 5*time.Second, "the same after a new start", func() error { return differs(host.Picture(), wired) })
			if err := all(); err != nil {
				t.Errorf("after a new start: %v", err)
			}
			if out := <-long; !strings.Contains(out, " 0% packet loss") {
				t.Errorf("a kill and a start cost packets: %s", out)
			}
			if attach == "bridge" {
				r.leave(endpointID(1), lanNet)
			} else {
				one.Must("ip link del eth0") // its container has ended without a word
			}
			lan.Eventually(t, 20*time.Second, "the first has gone", func() error {
				if out, err := router.Try("busybox ping -c 1 -W 1 10.98.0.77"); err == nil {
					return fmt.Errorf("it answers: %s", out)
				}
				return pings(two, "10.98.0.1")
			})
			r.leave(endpointID(2), lanNet)
			r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: lanNet}, nil)
			if attach == "macvlan" {
				return // the harness moved it for good: no engine gives it back
			}
			lan.Eventually(t, 40*time.Second, "the host is as it was", func() error { return same(host, before) })
		})
	}
}

// same says which lines of the host are others.
func same(s lan.Space, want string) error { return differs(s.Everything(), want) }

func differs(got, want string) error {
	have, was := strings.Split(got, "\n"), strings.Split(want, "\n")
	var odd []string
	for _, c := range []struct {
		mark     string
		all, not []string
	}{{"+ ", have, was}, {"- ", was, have}} {
		known := map[string]bool{}
		for _, l := range c.not {
			known[l] = true
		}
		for _, l := range c.all {
			if !known[l] {
				odd = append(odd, c.mark+l)
			}
		}
	}
	if len(odd) > 0 {
		return fmt.Errorf("the host is another:\n%s", strings.Join(odd, "\n"))
	}
	return nil
}

func TestThePluginIsKilledWhileTheParentMoves(t *testing.T) {
	t.Parallel()
	host, router := lanHost(t)
	before := host.Everything()
	r := newRig(t, host)
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	for n := range 4 {
		r.start()
		r.l2Network("bridge")
		r.must("CreateEndpoint", network.CreateEndpointRequest{NetworkID: lanNet, EndpointID: endpointID(n), Interface: &network.EndpointInterface{Address: fmt.Sprintf("10.98.0.%d/24", 80+n)}}, nil)
		go func() { // it is killed under it
			_ = r.call("Join", network.JoinRequest{NetworkID: lanNet, EndpointID: endpointID(n), SandboxKey: "/var/run/docker/netns/x"}, nil)
		}()
		time.Sleep(time.Duration(n) * 2 * time.Millisecond)
		r.kill()
		lan.Eventually(t, 5*time.Second, "node and router reach each other", func() error { return pings(router, "10.98.0.21") })
	}
	r.start()
	r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: lanNet}, nil)
	lan.Eventually(t, 30*time.Second, "the host is as it was", func() error { return same(host, before) })
}
