package topology_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestTheFirewallIsOpenOnlyIfOurRulesAreReached(t *testing.T) {
	pool := netip.MustParsePrefix("10.210.3.0/24")
	forward := []string{"-P FORWARD DROP", "-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-FORWARD"}
	docker := []string{"-N DOCKER-USER", "-A DOCKER-USER -j ROLLING-FORWARD", "-A DOCKER-USER -j RETURN"}
	own := []string{"-N ROLLING-FORWARD", "-A ROLLING-FORWARD -s 10.210.3.0/24 -j ACCEPT", "-A ROLLING-FORWARD -d 10.210.3.0/24 -j ACCEPT"}
	drop := "-A FORWARD -i eth0 -j DROP"
	reject := "-A DOCKER-USER -s 10.0.0.0/8 -j REJECT --reject-with icmp-port-unreachable"
	for _, c := range []struct {
		name   string
		chains topology.Chains
		want   string
	}{
		{"as Docker and we leave it", topology.Chains{Forward: forward, Docker: docker, Own: own}, "{DROP true []}"},
		{"without our chain", topology.Chains{Forward: forward, Docker: docker}, "{DROP false []}"},
		{"without our jump", topology.Chains{Forward: forward, Docker: docker[:1], Own: own}, "{DROP false []}"},
		{"without Docker's jump", topology.Chains{Forward: forward[:1], Docker: docker, Own: own}, "{DROP false []}"},
		{"half a pool", topology.Chains{Forward: forward, Docker: docker, Own: own[:2]}, "{DROP false []}"},
		{"somebody drops first", topology.Chains{Forward: []string{forward[0], drop, forward[1]}, Docker: docker, Own: own}, "{DROP true [" + drop + "]}"},
		{"an administrator rejects first", topology.Chains{Forward: forward, Docker: []string{docker[0], reject, docker[1]}, Own: own}, "{DROP true [" + reject + "]}"},
		{"somebody drops later", topology.Chains{Forward: append(forward[:2:2], drop), Docker: docker, Own: own}, "{DROP true []}"},
		{"an engine that keeps its hands off", topology.Chains{Forward: []string{"-P FORWARD ACCEPT"}}, "{ACCEPT false []}"},
		{"no table at all", topology.Chains{}, "{ACCEPT false []}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.chains.DockerName, c.chains.OwnName = "DOCKER-USER", "ROLLING-FORWARD"
			if got := fmt.Sprint(topology.ReadFirewall(c.chains, []netip.Prefix{pool})); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
