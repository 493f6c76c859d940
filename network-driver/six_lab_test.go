//go:build lab

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

const sixPrefix = "fd00:10:210::"

func nodeSix(i int) string { return fmt.Sprintf("fd00:10:98::%d", 20+i) }

func containerSix(i int) string {
	a := netip.MustParseAddr(containerAddress(i)).As4()
	return fmt.Sprintf("%s%x:%x", sixPrefix, int(a[0])<<8|int(a[1]), int(a[2])<<8|int(a[3]))
}

// createSix makes a network whose addresses have IPv6 ones.
func (r *rig) createSix(id, pool, gateway string, more ...string) {
	r.t.Helper()
	options := map[string]any{"rolling.project": "orders", "rolling.ipv6": sixPrefix + "/96"}
	for i := 0; i < len(more); i += 2 {
		options[more[i]] = more[i+1]
	}
	r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: id, Options: map[string]any{
		"com.docker.network.enable_ipv6": false, "com.docker.network.generic": options,
	}, IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: pool, Gateway: gateway}}}, nil)
}

// containerOf plays the engine for a container with both addresses. Its sandbox begins without IPv6, as the engine's do.
func (r *rig) containerOf(id, net, address string, box lan.Space, eth int) (six string) {
	r.t.Helper()
	var made network.CreateEndpointResponse
	r.must("CreateEndpoint", network.CreateEndpointRequest{NetworkID: net, EndpointID: id, Interface: &network.EndpointInterface{Address: address + "/32"}}, &made)
	var join network.JoinResponse
	r.must("Join", network.JoinRequest{NetworkID: net, EndpointID: id, SandboxKey: "/var/run/docker/netns/" + box.Name}, &join)
	if made.Interface.AddressIPv6 == "" || join.GatewayIPv6 == "" || len(join.StaticRoutes) != 2 {
		r.t.Fatalf("CreateEndpoint answered %+v, Join %+v", made.Interface, join)
	}
	name := fmt.Sprintf("%s%d", join.InterfaceName.DstPrefix, eth)
	r.space.Must("ip link set " + join.InterfaceName.SrcName + " netns " + box.Name)
	box.Must("ip link set " + join.InterfaceName.SrcName + " name " + name)
	box.Must("ip addr add " + address + "/32 dev " + name)
	box.Must("ip -6 addr add " + made.Interface.AddressIPv6 + " dev " + name + " nodad")
	box.Must("ip link set " + name + " up")
	for _, s := range join.StaticRoutes {
		box.Must("ip route add " + s.Destination + " dev " + name)
	}
	if eth == 0 {
		box.Must("ip route add default via " + join.Gateway)
		box.Must("ip -6 route add default via " + join.GatewayIPv6 + " dev " + name)
	}
	return strings.TrimSuffix(made.Interface.AddressIPv6, "/128")
}

// startSix is start for a network with IPv6, on nodes with IPv6 addresses.
func (f *mesh) startSix() (boxes []lan.Space) {
	f.t.Helper()
	for i, r := range f.nodes {
		r.space.Set("net/ipv6/conf/eth0/keep_addr_on_down", "1")
		r.space.Must("ip -6 addr add " + nodeSix(i+1) + "/64 dev eth0 nodad")
		r.start()
		r.createSix(net1, "10.210.0.0/16", "169.254.1.1/32")
		boxes = append(boxes, lan.New(f.t, fmt.Sprintf("c%d", i+1)))
		r.containerOf(endpointID(i+1), net1, containerAddress(i+1), boxes[i], 0)
	}
	return boxes
}

func ping6(from lan.Space, to string) error {
	return lanTry(from, "busybox ping -6 -c 1 -W 1 "+to)
}

func lanTry(s lan.Space, line string) error {
	out, err := s.Try(line)
	if err != nil {
		return fmt.Errorf("%s: %s: %w: %s", s.Name, line, err, out)
	}
	return nil
}

// sixRoads are a node's IPv6 routes to other nodes' containers, a line each.
func sixRoads(s lan.Space) string {
	var lines []string
	for _, l := range strings.Split(s.Must("ip -6 route show proto 82"), "\n") {
		if f := strings.Fields(l); len(f) > 2 && f[1] == "via" {
			lines = append(lines, f[0]+" via "+f[2])
		}
	}
	return strings.Join(lines, "\n")
}

func TestIPv6BetweenContainersOfTwoNodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		uplinks  bool // nodes have IPv6 addresses besides link-local ones
		fastpath string
	}{
		{"nodes with addresses of their own, tc BPF", true, "bpf"},
		{"nodes with addresses of their own, nftables", true, "nft"},
		{"nodes with addresses of their own, no fast path", true, "off"},
		{"nodes with link-local addresses alone", false, "auto"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := layFabric(t, 1, 1, "ROLLING_FASTPATH="+c.fastpath)
			var before []string
			for i, r := range f.nodes {
				if c.uplinks {
					r.space.Must("ip -6 addr add " + nodeSix(i+1) + "/64 dev eth0 nodad")
				}
				r.space.Set("net/ipv6/conf/all/forwarding", "0")
				r.space.Must("iptables-nft -N DOCKER-USER")
				r.space.Must("iptables-nft -A FORWARD -j DOCKER-USER")
				r.space.Must("iptables-nft -P INPUT ACCEPT")
				before = append(before, r.space.Everything())
			}
			var boxes []lan.Space
			for i, r := range f.nodes {
				r.start()
				r.createSix(net1, "10.210.0.0/16", "169.254.1.1/32")
				box := lan.New(t, fmt.Sprintf("c%d", i+1))
				if got := r.containerOf(endpointID(i+1), net1, containerAddress(i+1), box, 0); got != containerSix(i+1) {
					t.Fatalf("the container's address is %s, want %s", got, containerSix(i+1))
				}
				boxes = append(boxes, box)
			}
			f.agree(20*time.Second, 1, 2)
			lan.Eventually(t, 10*time.Second, "the containers reach each other by IPv6", func() error { return ping6(boxes[0], containerSix(2)) })
			boxes[0].Must("busybox ping -c 1 -W 1 " + containerAddress(2))
			if err := ping6(f.nodes[0].space, containerSix(1)); err != nil {
				t.Error(err)
			}
			if c.uplinks {
				if got, want := sixRoads(f.nodes[0].space), containerSix(2)+" via "+nodeSix(2); got != want {
					t.Errorf("n1 has %q, want %q", got, want)
				}
			} else if got := sixRoads(f.nodes[0].space); !strings.HasPrefix(got, containerSix(2)+" via fe80::") {
				t.Errorf("n1 has %q", got)
			}
			pretend(t, boxes[0], f.nodes[0].space, boxes[1])

			f.nodes[1].kill()
			if err := ping6(boxes[0], containerSix(2)); err != nil {
				t.Errorf("while the plugin is dead: %v", err)
			}
			f.nodes[1].start()
			if err := ping6(boxes[0], containerSix(2)); err != nil {
				t.Errorf("after its restart: %v", err)
			}
			for i, r := range f.nodes {
				r.leave(endpointID(i+1), net1)
				r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: net1}, nil)
			}
			for i, r := range f.nodes {
				lan.Eventually(t, 20*time.Second, "nothing is left", func() error {
					if after := r.space.Everything(); after != before[i] {
						return fmt.Errorf("n%d is not as it was: %s", i+1, lan.Differences(before[i], after))
					}
					return nil
				})
			}
		})
	}
}

func TestNodesKnowWhoseUplinkDiffers(t *testing.T) {
	t.Parallel()
	f := layFabric(t, 1, 1)
	f.nodes[1].space.Must("ip link set eth0 mtu 1400")
	f.start()
	f.agree(20*time.Second, 1, 2)
	for i, want := range []string{nodeAddress(2) + ":1400", nodeAddress(1) + ":1500"} {
		r := f.nodes[i]
		lan.Eventually(t, 10*time.Second, "it is told", func() error {
			metrics, err := r.page("/metrics")
			if err != nil {
				return err
			}
			ready, err := r.page("/readyz")
			if s := r.state(); err != nil || !strings.Contains(fmt.Sprint(s.Fabric.MTUs), want) || !strings.Contains(ready, want) ||
				!strings.Contains(metrics, "rolling_net_mtu_differs 1") || !strings.Contains(r.log.String(), "differ in their MTU") {
				return fmt.Errorf("%w, %+v, %s", err, s.Fabric, ready)
			}
			return nil
		})
	}
	f.nodes[1].space.Must("ip link set eth0 mtu 1500")
	lan.Eventually(t, 20*time.Second, "it is over", func() error {
		for _, r := range f.nodes {
			if s := r.state().Fabric; len(s.MTUs) > 0 {
				return fmt.Errorf("%+v", s.MTUs)
			}
		}
		return nil
	})
}

// pretend tries what a container must not: to be another, and to be a router.
func pretend(t *testing.T, box, node, other lan.Space) {
	t.Helper()
	box.Must("ip -6 addr add " + containerSix(9) + "/128 dev eth0 nodad")
	if out, err := box.Try("busybox ping -6 -c 1 -W 1 -I " + containerSix(9) + " " + containerSix(2)); err == nil {
		t.Errorf("another container's address was let through: %s", out)
	}
	if text := node.Must("nft list table ip6 rolling-six"); !strings.Contains(text, "icmpv6 type nd-neighbor-solicit accept") && !strings.Contains(text, "nd-neighbor-solicit") {
		t.Errorf("the check of sources reads\n%s", text)
	}
	box.Must("ip -6 addr del " + containerSix(9) + "/128 dev eth0")
	_ = other
}
