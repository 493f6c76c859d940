//go:build lab && long

package e2e

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var rounds = flag.Int("address.rounds", 50, "rounds of each fault")

// TestAddressesStayTrueThroughManyFaults goes through every fault that leaves the lab whole, again and again.
func TestAddressesStayTrueThroughManyFaults(t *testing.T) {
	o := newOffice(t, 60)
	for round := range *rounds {
		for _, f := range []struct {
			name string
			do   func(*office)
		}{
			{"a plugin dies in mid-call", (*office).pluginDiesInMidCall},
			{"a plugin is switched off and on", (*office).pluginIsSwitchedOff},
			{"two stacks on one subnet", func(o *office) { o.twoStacksShareASubnet(); o.removeStacks() }},
			{"an engine dies", (*office).engineDies},
			{"the leader loses power in a rollout beside a full pool", (*office).leaderLosesPower},
			{"a cable is cut and joined", (*office).cableIsCut},
		} {
			if !t.Run(fmt.Sprintf("round %d: %s", round+1, f.name), func(t *testing.T) {
				f.do(&office{T: t, lab: o.lab, world: o.world, tasks: o.tasks})
			}) {
				t.FailNow()
			}
		}
	}
}

// cableIsCut until Swarm calls the node down, so that two containers live in one slot, and neither in the other's address.
func (o *office) cableIsCut() {
	victim := o.follower()
	if err := o.lab.Cut(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	o.ready(2)
	o.runs("app", o.tasks, 3*time.Minute)
	o.unique("while a node is cut off and still serves")
	if err := o.lab.Join(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	o.ready(3)
	o.runs("app", o.tasks, 2*time.Minute)
	o.agree("after a cable was cut and joined", 2*time.Minute)
}

// TestNodesThatAreRemovedAndSwarmsThatAreMadeAnew costs a lab a round.
func TestNodesThatAreRemovedAndSwarmsThatAreMadeAnew(t *testing.T) {
	for round := range *rounds {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) {
			o := newOffice(t, 12)
			o.nodeIsRemovedByForce()
			o.clusterIsMadeAnew()
		})
	}
}

// TestAServiceGrowsToThreeHundredTasksAndBackToNone, and no address is left behind.
func TestAServiceGrowsToThreeHundredTasksAndBackToNone(t *testing.T) {
	o := newOffice(t, 3)
	o.network("many", "10.213.0.0/22", "--ipam-opt", "rolling.quarantine=5s")
	o.serve("many", "many", 0)
	for range max(1, *rounds/10) {
		o.scale("many", 300)
		o.runs("many", 300, 20*time.Minute)
		o.agree("with 300 tasks", 5*time.Minute)
		o.scale("many", 0)
		o.runs("many", 0, 10*time.Minute)
		o.agree("with none again", 5*time.Minute)
	}
}
