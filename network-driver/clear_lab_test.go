//go:build lab

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

func TestAPluginThatIsRemovedLeavesOnlyWhatContainersHold(t *testing.T) {
	t.Parallel()
	f := layFabric(t, 1, 1, "ROLLING_ROUTERS=10.98.0.1@64999")
	n1 := f.nodes[0]
	n1.space.Must("iptables-nft -P FORWARD DROP")
	n1.space.Must("iptables-nft -N DOCKER-USER")
	n1.space.Must("iptables-nft -A FORWARD -j DOCKER-USER")
	n1.space.Set("net/ipv6/conf/all/forwarding", "0")
	for i, r := range f.nodes {
		r.space.Must("ip -6 addr add " + nodeSix(i+1) + "/64 dev eth0 nodad")
	}
	before := n1.space.Everything()
	for i, r := range f.nodes {
		r.start()
		r.createSix(net1, "10.210.0.0/16", "169.254.1.1/32", "rolling.announce", "aggregate")
		r.containerOf(endpointID(i+1), net1, containerAddress(i+1), lan.New(t, fmt.Sprintf("c%d", i+1)), 0)
	}
	f.agree(20*time.Second, 1, 2)
	lan.Eventually(t, 10*time.Second, "the border's fences stand", func() error {
		if text := n1.space.Must("ip route show type unreachable"); !strings.Contains(text, "10.210.0.0/16") {
			return fmt.Errorf("%q", text)
		}
		return nil
	})
	if err := n1.order("POST", "/clear"); err != nil {
		t.Fatal(err)
	}
	// What is left is what begins with the host end's name, or speaks of it, and goes with the container.
	mine := func(text string) string {
		var rest []string
		for _, l := range strings.Split(text, "\n") {
			if !strings.Contains(l, n1.hostEnd(1)) {
				rest = append(rest, l)
			}
		}
		return strings.Join(rest, "\n")
	}
	n1.kill() // as disable and remove do
	if after := mine(n1.space.Everything()); after != before {
		t.Errorf("the host is not as it was, but for the container's link: %s", lan.Differences(before, after))
	}
	lan.Eventually(t, 30*time.Second, "the other node's route to it goes", func() error {
		if got := roads(f.nodes[1].space); got != "" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	n1.space.Must("ip link del " + n1.hostEnd(1)) // with the container
	if after := n1.space.Everything(); after != before {
		t.Errorf("with the container gone the host is not as it was: %s", lan.Differences(before, after))
	}

	n1.start()
	f.nodes[0].containerOf(endpointID(9), net1, "10.210.1.9", lan.New(t, "c9"), 0)
	f.agreeOn(t, "10.210.1.9 via "+nodeAddress(1))
}

// agreeOn waits until the second node has exactly this route.
func (f *mesh) agreeOn(t *testing.T, want string) {
	t.Helper()
	lan.Eventually(t, 30*time.Second, "the second node's routes", func() error {
		if got := roads(f.nodes[1].space); got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}
