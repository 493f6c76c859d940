//go:build lab && long

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// TestNodesThatPeerWithTheRouterNeedNoManager is the form for sites that must go on with all managers lost. Sessions
// inside the Swarm have a key here, and take packets of their own network only.
func TestNodesThatPeerWithTheRouterNeedNoManager(t *testing.T) {
	t.Parallel()
	f := layFabric(t, 1, 2, "ROLLING_ROUTERS=10.98.0.1+from=nodes+bfd", "ROLLING_BGP_PASSWORD=inside", "ROLLING_BGP_TTL_SECURITY=1")
	f.password("inside", "s3cret")
	f.start()
	router := f.lan.Node("router", "10.98.0.1/24")
	conf := birdCommon + "protocol bfd { interface \"eth0\" { min rx interval 100 ms; min tx interval 100 ms; multiplier 5; }; }\n"
	for i := 1; i <= 3; i++ {
		conf += fmt.Sprintf("protocol bgp n%d { local 10.98.0.1 as 64512; neighbor 10.98.0.%d as 64512; direct; passive on; bfd graceful; error wait time 1, 5; graceful restart on; ipv4 { import all; export none; }; }\n", i, 20+i)
	}
	show := bird(t, router, conf)
	f.agree(20*time.Second, 1, 2, 3)
	all := []string{"10.210.1.7 via 10.98.0.21", "10.210.2.7 via 10.98.0.22", "10.210.3.7 via 10.98.0.23"}
	learns(t, router, 30*time.Second, show, all...)
	for i := 1; i <= 3; i++ {
		if text := show(fmt.Sprintf("show route protocol n%d count", i)); !strings.Contains(text, "1 of ") {
			t.Errorf("n%d tells other nodes' routes, too: %s", i, text)
		}
	}
	f.nodes[0].kill() // the manager's process, and then its node
	f.nodes[0].space.Must("ip link set eth0 down")
	time.Sleep(25 * time.Second) // restart and hold time
	learns(t, router, 10*time.Second, show, all[1:]...)
	f.agree(time.Second, 2, 3)
}

// TestARouterKeepsTheRoutesWithAllManagersLost is the other form.
func TestARouterKeepsTheRoutesWithAllManagersLost(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 1, 1, "ROLLING_ROUTERS=10.98.0.1+keep=1h")
	router := f.lan.Node("router", "10.98.0.1/24")
	show := bird(t, router, birdCommon+`protocol bgp rr1 { local 10.98.0.1 as 64512; neighbor 10.98.0.21 as 64512; direct; passive on; error wait time 1, 5;
  graceful restart on; long lived graceful restart on; ipv4 { import all; export none; }; }
`)
	all := []string{"10.210.1.7 via 10.98.0.21", "10.210.2.7 via 10.98.0.22"}
	learns(t, router, 30*time.Second, show, all...)
	f.nodes[0].kill()
	time.Sleep(25 * time.Second) // longer than the restart time
	if text := show("show protocols all rr1"); strings.Contains(text, "Established") || !strings.Contains(text, "Neighbor graceful restart active") && !strings.Contains(text, "LL stale") {
		t.Errorf("the router keeps nothing: %s", text)
	}
	learns(t, router, time.Second, show, all...)
	f.nodes[0].start()
	lan.Eventually(t, 30*time.Second, "the session is back", func() error {
		if text := show("show protocols"); !strings.Contains(text, "Established") {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	learns(t, router, 10*time.Second, show, all...)
}

func TestWithoutADetectorADeadNodeIsGoneAfterHoldAndRestartTime(t *testing.T) {
	t.Parallel()
	f := newFabric(t, 1, 1, "ROLLING_DETECT=off")
	f.agree(20*time.Second, 1, 2)
	f.nodes[1].space.Must("ip link set eth0 down")
	time.Sleep(goneWithin)
	if got := roads(f.nodes[0].space); got == "" {
		t.Error("withdrawn by a detector that is off")
	}
}
