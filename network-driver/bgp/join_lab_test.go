//go:build lab

package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// TestNoRouteIsMissingAfterManyJoinAtOnce is the gate for an upgrade of gobgp: its reflector loses a few routes when
// many clients join at once, and the repair must bring them all.
func TestNoRouteIsMissingAfterManyJoinAtOnce(t *testing.T) {
	const clients, each = 20, 500
	port := freePort(t)
	var nodes []netip.Addr
	for i := 2; i <= clients+1; i++ {
		nodes = append(nodes, loop(i))
	}
	begun := time.Now()
	var voices []*voice
	for i := 1; i <= clients+1; i++ {
		// All share two CPUs here: a short hold time would test them, not the routes.
		v := speak(t, loop(i), port, func(s *Settings) { s.Hold = 90 * time.Second })
		m := topology.Membership{Self: loop(i), Managers: []netip.Addr{loop(1)}}
		if i == 1 {
			m = topology.Membership{Self: loop(1), Manager: true, Nodes: nodes}
		} else {
			v.speaker.Announce(wide(i, each))
		}
		v.speaker.Meet(m.Self, topology.Neighbours(m, nil, 64512, port))
		voices = append(voices, v)
	}
	missing := func(v *voice) int {
		want := clients * each
		if v.self != loop(1) {
			want -= each
		}
		return want - v.held()
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, v := range voices {
				t.Logf("%s lacks %d", v.self, missing(v))
			}
			for _, s := range voices[0].sessions(t) {
				t.Logf("%+v", s)
			}
		}
	})
	var before time.Duration
	eventually(t, 90*time.Second, func() error {
		worst := 0
		for _, v := range voices {
			worst = max(worst, missing(v))
		}
		if worst < 20 && before == 0 {
			before = time.Since(begun)
		}
		if worst > 0 {
			return fmt.Errorf("%d routes are missing", worst)
		}
		return nil
	})
	t.Logf("all but a few after %v, the last of %d routes on %d speakers after %v", before.Round(10*time.Millisecond), clients*each, clients+1, time.Since(begun).Round(10*time.Millisecond))
}

func wide(i, n int) []fabric.Announcement {
	var all []fabric.Announcement
	for k := range n {
		all = append(all, fabric.Announcement{Address: netip.AddrFrom4([4]byte{10, 201, byte(i*2 + k/250), byte(k%250) + 1})})
	}
	return all
}
