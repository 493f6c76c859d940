//go:build lab

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// With br_netfilter, bridged frames come by FORWARD, whose policy is DROP: the rule that lets them pass has to be there
// when the engine is answered, not with the next look at the whole, which is up to six seconds later.
func TestTheFirstContainerOnABridgeFindsTheFirewallOpen(t *testing.T) {
	t.Parallel()
	host, router := lanHost(t)
	r := newRig(t, host)
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	r.start()
	time.Sleep(reconcileLull)
	r.l2Network("bridge")
	one, err := r.attach(endpointID(1), "10.98.0.77", "c1")
	if err != nil {
		t.Fatal(err)
	}
	joined := time.Now()
	if rules := host.Must("iptables-nft -w -S FORWARD"); !strings.Contains(rules, "-A FORWARD -i rb-eth0 -o rb-eth0 -j ACCEPT") {
		t.Errorf("right after the Join the firewall has\n%s", rules)
	}
	lan.Eventually(t, 20*time.Second, "the container and the router reach each other", func() error {
		if err := pings(one, "10.98.0.1"); err != nil {
			return err
		}
		return pings(router, "10.98.0.77")
	})
	t.Logf("they do %v after the Join", time.Since(joined))
}

// reconcileLull: the first looks at the whole are over by then, and the next is some seconds away.
const reconcileLull = 500 * time.Millisecond
