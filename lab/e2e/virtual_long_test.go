//go:build lab && long

package e2e

import (
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
)

// An engine that is killed takes its node's containers with it when it comes back, and a node that loses its power all of
// its own: standing connections to the others go on, and new ones find the others within a second or two.
func TestAVirtualAddressOutlivesEnginesAndNodes(t *testing.T) {
	outlives(t, lab.Up(t, lab.Options{Managers: 3, Install: true}))
}

func outlives(t *testing.T, l *lab.Lab) {
	v := newVirtual(t, l, "vipf", "10.202.8.0/24")
	v.start(3)
	leader := v.leader()
	follower, lost := "n2", "n3"
	client := "n1"
	if leader != "n1" {
		client = leader
		if leader == "n2" {
			follower = "n1"
		} else {
			follower, lost = "n1", "n2"
		}
	}
	load := v.client(client).load(t, v.address)
	v.outside = v.space(lab.Router).load(t, v.address)
	v.fault(load, "another node's engine is killed", func() {
		load.forgive(v.on(follower))
		v.outside.forgive(v.on(follower))
		v.must(l.KillEngine(within(t, time.Minute), follower))
		time.Sleep(5 * time.Second) // until Swarm has seen it
		v.served(3)
	})
	v.fault(load, "a node loses its power", func() {
		load.forgive(v.on(lost))
		v.outside.forgive(v.on(lost))
		begun := time.Now()
		v.must(l.Kill(within(t, time.Minute), lost))
		v.must(l.Eventually(t.Context(), time.Minute, "its backend is out", func() error {
			if got := v.backends(client); len(got) == 3 {
				return missing{"it is still in"}
			}
			return nil
		}))
		t.Logf("a backend on a node without power is out after %v", time.Since(begun).Round(10*time.Millisecond))
	})
}
