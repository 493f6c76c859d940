//go:build lab && long

package addresses

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

var rounds = flag.Int("address.rounds", 50, "rounds of each fault")

// TestAddressesStayTrueThroughManyFaults goes through every fault that leaves the lab whole, again and again.
func TestAddressesStayTrueThroughManyFaults(t *testing.T) {
	o := newOffice(t, 6, 60).hurry()
	for round := range *rounds {
		for _, f := range []struct {
			name string
			do   func(*office)
		}{
			{"a plugin dies in mid-call", (*office).pluginDiesInMidCall},
			{"a plugin is switched off and on", (*office).pluginIsSwitchedOff},
			{"two stacks on one subnet", func(o *office) { o.twoStacksShareASubnet(); o.removeStacks() }},
			{"an engine dies", (*office).engineDies},
			{"the leader loses power in a rollout, a node is cut off, a pool is full", (*office).leaderLosesPower},
		} {
			if !t.Run(fmt.Sprintf("round %d: %s", round+1, f.name), func(t *testing.T) { f.do(o.in(t)) }) {
				t.FailNow()
			}
		}
	}
}

// TestNodesThatAreRemovedAndSwarmsThatAreMadeAnew costs a lab a round.
func TestNodesThatAreRemovedAndSwarmsThatAreMadeAnew(t *testing.T) {
	for round := range *rounds {
		t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) {
			o := newOffice(t, 12, 60).hurry()
			o.nodeIsRemovedByForce()
			last := o.clusterIsMadeAnew()
			o.othersJoin(last)
		})
	}
}

// othersJoin a Swarm that was made anew, as new nodes.
func (o *office) othersJoin(last string) {
	token := o.docker("swarm", "join-token", "-q", "manager")
	for _, n := range o.lab.Managers() {
		if n == last {
			continue
		}
		if err := o.lab.Start(o.Context(), n); err != nil {
			o.Fatal(err)
		}
		o.eventually(time.Minute, n+" joins it", func() error {
			out, err := o.lab.Docker(o.Context(), n, "info", "--format", "{{.Swarm.LocalNodeState}}")
			if err == nil && strings.TrimSpace(out) != "inactive" {
				_, err = o.lab.Docker(o.Context(), n, "swarm", "leave", "--force")
			}
			if err == nil {
				_, err = o.lab.Docker(o.Context(), n, "swarm", "join", "--token", strings.TrimSpace(token), o.lab.Address(last).String()+":2377")
			}
			return err
		})
	}
	o.world.Alone = ""
	o.ready(3)
	o.rollout(o.tasks)
	o.runs("app", o.tasks, 3*time.Minute)
	o.agree("when the others have joined the Swarm that was made anew", o.tasks, 2*time.Minute)
}

// TestAServiceGrowsToThreeHundredTasksAndBackToNone, and no address is left behind.
func TestAServiceGrowsToThreeHundredTasksAndBackToNone(t *testing.T) {
	o := newOffice(t, 3, 60)
	o.network("many", "10.213.0.0/22", "--ipam-opt", "rolling.quarantine=5s")
	o.serve("many", "many", 0)
	for range max(1, *rounds/10) {
		o.scale("many", 300)
		o.runs("many", 300, 20*time.Minute)
		o.agree("with 300 tasks", 300, 5*time.Minute)
		o.scale("many", 0)
		o.runs("many", 0, 10*time.Minute)
		o.agree("with none again", o.tasks, 5*time.Minute)
	}
}
