//go:build lab && long

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// A power loss takes all that the kernel had. The node comes up with its own configuration, and a state file that still
// names containers on a bridge: it is reached all the time, and in the end as it would be without us.
func TestANodeWithContainersOnItsLANLosesItsPower(t *testing.T) {
	t.Parallel()
	net := lan.NewLAN(t)
	router := net.Node("router", "10.98.0.1/24")
	boot := func(name string) lan.Space {
		s := net.Node(name, "10.98.0.21/24")
		s.Must("ip route add default via 10.98.0.1")
		dockersChains(s)
		return s
	}
	r := newRig(t, boot("n1"))
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	r.start()
	r.l2Network("bridge")
	if _, err := r.attach(endpointID(1), "10.98.0.77", "c1"); err != nil {
		t.Fatal(err)
	}
	r.kill()
	r.space.Must("ip link del eth0")
	router.Must("ip neigh flush all")
	r.space = boot("again")
	before := r.space.Everything()
	reached := make(chan string, 1)
	go func() {
		out, _ := router.Try("busybox ping -c 600 -i 0.03 -W 2 10.98.0.21")
		reached <- out
	}()
	r.start()
	lan.Eventually(t, 90*time.Second, "the host is as it was", func() error { return same(r.space, before) })
	out := <-reached
	var sent, got int
	for line := range strings.Lines(out) {
		_, _ = fmt.Sscanf(line, "%d packets transmitted, %d packets received", &sent, &got)
	}
	t.Logf("%d of %d pings were answered while it came up", got, sent)
	if sent == 0 || sent-got > 2 {
		t.Errorf("the node was cut off while it came up: %s", out)
	}
	r.l2Network("bridge") // the engine says it again
	if _, err := r.attach(endpointID(2), "10.98.0.77", "c2"); err != nil {
		t.Errorf("the address of before: %v", err)
	}
}

// On a busy node, too, a container's first packet is answered: neither the firewall nor a bridge that sleeps is in its
// way.
func TestAFreshContainersFirstPingIsAnsweredOnABusyNode(t *testing.T) {
	host, router := lanHost(t)
	r := newRig(t, host)
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	r.start()
	for range 40 { // at the lowest priority, so that the machine's others are not harmed
		burner := host.Command(t.Context(), "nice", "-n", "19", "busybox", "sh", "-c", "while :; do :; done")
		if err := burner.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = burner.Process.Kill(); _ = burner.Wait() })
	}
	var all []time.Duration
	for n := range 5 {
		id := endpointID(10 + n)
		lan.Eventually(t, 30*time.Second, "the plugin is told of the network", func() error { // a busy one asks to be asked again
			return r.call("CreateNetwork", l2Request("bridge"), nil)
		})
		box, err := r.attach(id, fmt.Sprintf("10.98.0.%d", 100+n), fmt.Sprintf("c%d", n))
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if out, err := box.Try("busybox ping -c 1 -W 10 10.98.0.1"); err != nil {
			t.Errorf("round %d: the first ping of a fresh container: %v: %s\n%s", n, err, out, router.Must("ip neigh"))
		}
		all = append(all, time.Since(begun).Round(time.Millisecond))
		r.leave(id, lanNet)
		r.must("DeleteNetwork", network.DeleteNetworkRequest{NetworkID: lanNet}, nil)
		lan.Eventually(t, 60*time.Second, "the parent is given back, so that the next round makes a bridge", func() error {
			if links := host.Must("ip -br link"); strings.Contains(links, "rb-eth0") {
				return fmt.Errorf("there is %s", links)
			}
			return nil
		})
	}
	t.Logf("first pings took %v", all)
}
