//go:build lab

package kernel

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func leg(id, address string, more ...string) topology.Leg {
	l := kerneltest.Link(id, address)
	all := []netip.Addr{l.Address}
	for _, a := range more {
		all = append(all, netip.MustParseAddr(a))
	}
	return topology.Leg{Name: l.Name, Address: l.Address, MAC: l.MAC, MTU: l.MTU, Sources: all}
}

func TestTheFirewallChecksSourcesWhereDockersRulesAre(t *testing.T) {
	for _, program := range []string{nft, legacy} {
		t.Run(program, func(t *testing.T) {
			s := lan.New(t, "check")
			s.Must(program + " -N DOCKER-USER")
			s.Must(program + " -A INPUT -s 192.0.2.1 -j DROP")
			before := s.Must(program + " -S")
			g := NewGate(nft, legacy)
			set := func(legs ...topology.Leg) string {
				t.Helper()
				s.Do(func() error { return g.Check(legs) })
				return s.Must(program + " -S")
			}
			set(leg("a1", "10.210.3.7"), leg("b2", "10.210.3.8"))
			once := set(leg("b2", "10.210.3.8", "10.210.4.8"), leg("c3", "10.210.3.9"))
			for _, want := range []string{
				"-A INPUT -i rl+ -j ROLLING-SOURCE\n-A INPUT -s 192.0.2.1", "-A FORWARD -i rl+ -j ROLLING-SOURCE",
				"-s 10.210.3.8/32 -i rlb2000000000 -m mac --mac-source 02:42:0a:d2:03:08 -j RETURN",
				"-s 10.210.4.8/32 -i rlb2000000000", "-s 10.210.3.9/32 -i rlc3000000000", "-A ROLLING-SOURCE -j DROP\n",
			} {
				if !strings.Contains(strings.ToLower(once), strings.ToLower(want)) {
					t.Errorf("lacks %q:\n%s", want, once)
				}
			}
			if strings.Contains(once, "10.210.3.7") || !strings.HasSuffix(strings.TrimSpace(once), "-A ROLLING-SOURCE -j DROP") {
				t.Errorf("a container that has gone is still let through, or the drop is not the last:\n%s", once)
			}
			if twice := set(leg("b2", "10.210.3.8", "10.210.4.8"), leg("c3", "10.210.3.9")); twice != once {
				t.Errorf("the second Check changed something:\n%s\nwas:\n%s", twice, once)
			}
			if after := set(); after != before {
				t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}
