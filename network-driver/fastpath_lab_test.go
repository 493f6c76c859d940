//go:build lab

package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// usedChains are those of iptables itself, which it makes at their first use, and keeps.
func usedChains(s lan.Space) {
	for _, chain := range []string{"filter -%s INPUT", "mangle -%s INPUT", "mangle -%s FORWARD"} {
		s.Must("iptables-nft -t " + fmt.Sprintf(chain, "A") + " -j ACCEPT")
		s.Must("iptables-nft -t " + fmt.Sprintf(chain, "F"))
	}
	for _, chain := range []string{"INPUT", "FORWARD"} {
		s.Must("ip6tables-nft -t mangle -A " + chain + " -j ACCEPT")
		s.Must("ip6tables-nft -t mangle -F " + chain)
	}
}

// dockersChains are those of an engine that turned forwarding on.
func dockersChains(s lan.Space) {
	usedChains(s)
	s.Set("net/ipv4/ip_forward", "1")
	s.Must("iptables-nft -P FORWARD DROP")
	s.Must("iptables-nft -N DOCKER-USER")
	s.Must("iptables-nft -A FORWARD -j DOCKER-USER")
}

// forwarded is how many packets came by the firewall's chain for routed traffic.
func (r *rig) forwarded() int {
	r.t.Helper()
	for _, line := range strings.Split(r.space.Must("iptables-nft -nvxL FORWARD"), "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "DOCKER-USER" {
			n, err := strconv.Atoi(f[0])
			if err != nil {
				r.t.Fatal(err)
			}
			return n
		}
	}
	r.t.Fatal("no jump to DOCKER-USER")
	return 0
}

func (r *rig) takeAway(n int) {
	r.t.Helper()
	r.leave(endpointID(n), net1)
	r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: net1}, nil)
}

func TestContainersOfTwoNodesPassTheChainsAlsoWhileThePluginIsKilled(t *testing.T) {
	t.Parallel()
	f := layFabric(t, 1, 1)
	var boxes []lan.Space
	var before []string
	for i, r := range f.nodes {
		dockersChains(r.space)
		before = append(before, r.space.Everything())
		r.start()
		r.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
		boxes = append(boxes, r.container(endpointID(i+1), net1, containerAddress(i+1), fmt.Sprintf("c%d", i+1), 0))
	}
	f.agree(20*time.Second, 1, 2)
	ping := "busybox ping -c 20 -i 0.05 -W 2 " + containerAddress(2)
	still := func(what string) {
		t.Helper()
		boxes[0].Must(ping) // the stack finds the neighbours
		first, second := f.nodes[0].forwarded(), f.nodes[1].forwarded()
		if out := boxes[0].Must(ping); !strings.Contains(out, " 0% packet loss") {
			t.Errorf("%s: %s", what, out)
		}
		if a, b := f.nodes[0].forwarded()-first, f.nodes[1].forwarded()-second; a+b != 0 {
			t.Errorf("%s: the firewalls saw %d and %d packets of two containers", what, a, b)
		}
	}
	lan.Eventually(t, 10*time.Second, "both know the other's container", func() error {
		for i, r := range f.nodes {
			if p := r.state().FastPath; p.Path != "bpf" || p.Entries != 2 || p.Devices != 2 {
				return fmt.Errorf("n%d: %+v", i+1, p)
			}
		}
		return nil
	})
	still("at first")

	long := make(chan string)
	go func() {
		out, _ := boxes[0].Try("busybox ping -c 150 -i 0.02 -W 2 " + containerAddress(2))
		long <- out
	}()
	f.nodes[0].kill()
	still("while the plugin is dead")
	f.nodes[0].start()
	f.agree(20*time.Second, 1, 2)
	if out := <-long; !strings.Contains(out, " 0% packet loss") {
		t.Errorf("a kill and a start cost packets: %s", out)
	}
	still("after a new start")

	for i, r := range f.nodes {
		r.takeAway(i + 1)
	}
	for i, r := range f.nodes {
		lan.Eventually(t, 20*time.Second, "the host is as it was", func() error {
			if after := r.space.Everything(); after != before[i] {
				return fmt.Errorf("n%d has\n%s\nhad\n%s", i+1, after, before[i])
			}
			return nil
		})
	}
}

func TestEachPathChecksSourcesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, setting, path string
		poor                bool
		refused             map[string]string
	}{
		{"bpf, without a setting", "auto", "bpf", false, nil},
		{"nft, as the setting says", "nft", "nft", false, map[string]string{"bpf": "the setting says nft"}},
		{"off, as the setting says", "off", "plain", false, map[string]string{"bpf": "the setting says off", "nft": "the setting says off"}},
		{"plain, without the right to try", "auto", "plain", true, map[string]string{"bpf": "CAP_SYS_ADMIN", "nft": "CAP_SYS_ADMIN"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newHost(t)
			before := s.Everything()
			r := newRig(t, s, "ROLLING_FASTPATH="+c.setting)
			r.poor = c.poor
			r.start()
			r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
			one := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
			two := r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
			p := r.state().FastPath
			if p.Path != c.path || len(p.Refused) != len(c.refused) {
				t.Errorf("the path is %+v, want %s", p, c.path)
			}
			for path, why := range c.refused {
				if !strings.Contains(p.Refused[path], why) {
					t.Errorf("%s was refused since %q, want %q", path, p.Refused[path], why)
				}
			}
			one.Must("busybox ping -c 1 -W 2 10.210.3.8")
			one.Must("ip addr add 10.210.3.8/32 dev lo")
			if out, err := one.Try("busybox ping -c 1 -W 1 -I 10.210.3.8 10.98.0.21"); err == nil {
				t.Errorf("another's address was served: %s", out)
			}
			one.Must("ip addr del 10.210.3.8/32 dev lo")
			mac := topology.MACOf(r.state().Endpoints[0].Address)
			one.Must("ip link set eth0 address 02:42:0a:d2:03:08")
			if out, err := one.Try("busybox ping -c 1 -W 1 10.98.0.21"); err == nil {
				t.Errorf("another's MAC was served: %s", out)
			}
			one.Must("ip link set eth0 address " + mac)
			one.Must("busybox ping -c 1 -W 2 10.210.3.8")
			two.Must("busybox ping -c 1 -W 2 10.98.0.21")
			text, err := r.page("/metrics")
			if err != nil || !strings.Contains(text, `rolling_net_fastpath{path="`+c.path+`"} 1`) {
				t.Errorf("/metrics does not tell the path: %v", err)
			}
			if c.path != "plain" && !strings.Contains(text, `rolling_net_fastpath_packets_total{way="spoofed"}`) {
				t.Errorf("/metrics does not count what was dropped:\n%s", text)
			}
			r.leave(endpointID(1), net1)
			r.takeAway(2)
			if after := s.Everything(); after != before {
				t.Errorf("the host is not as it was:\n%s\nwas:\n%s", after, before)
			}
		})
	}
}

func TestAdministratorsRulesSeeAllPacketsUnlessThePathIsNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		setting string
		aside   bool
	}{{"auto", true}, {"bpf", false}} {
		t.Run(c.setting, func(t *testing.T) {
			t.Parallel()
			s := newHost(t)
			r := newRig(t, s, "ROLLING_FASTPATH="+c.setting)
			r.start()
			r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
			one := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
			r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
			reaches := func(want bool) {
				t.Helper()
				lan.Eventually(t, 20*time.Second, fmt.Sprintf("reaches the other: %t", want), func() error {
					if _, err := one.Try("busybox ping -c 1 -W 1 10.210.3.8"); (err == nil) != want {
						return fmt.Errorf("it ends with %w", err)
					}
					return nil
				})
			}
			reaches(true)
			s.Must("iptables-nft -I DOCKER-USER -s 10.210.3.7 -j DROP")
			reaches(!c.aside)
			if p := r.state().FastPath; (p.Idle != "") != c.aside {
				t.Errorf("it says %+v", p)
			}
			s.Must("iptables-nft -D DOCKER-USER -s 10.210.3.7 -j DROP")
			reaches(true)
			lan.Eventually(t, 20*time.Second, "it carries again", func() error {
				if p := r.state().FastPath; p.Idle != "" || p.Entries != 2 {
					return fmt.Errorf("it says %+v", p)
				}
				return nil
			})
		})
	}
}

// The setting may change while containers run: what the path before left goes.
func TestAnotherSettingTakesOverFromTheFormerPath(t *testing.T) {
	t.Parallel()
	s := newHost(t)
	r := newRig(t, s)
	r.start()
	r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24")
	one := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0)
	r.container(endpointID(2), net1, "10.210.3.8", "c2", 0)
	for _, c := range []struct{ setting, has, lacks string }{
		{"nft", "table netdev rolling", "rolling direct-action"}, {"off", "ROLLING-SOURCE", "table netdev"}, {"bpf", "rolling direct-action", "ROLLING-SOURCE"},
	} {
		r.kill()
		r.extra = []string{"ROLLING_FASTPATH=" + c.setting}
		r.start()
		one.Must("busybox ping -c 1 -W 2 10.210.3.8")
		lan.Eventually(t, 20*time.Second, "the path of the setting "+c.setting, func() error {
			if all := s.Everything(); !strings.Contains(all, c.has) || strings.Contains(all, c.lacks) {
				return fmt.Errorf("the host should have %q and not %q:\n%s", c.has, c.lacks, all)
			}
			return nil
		})
	}
}
