//go:build lab && long

package addresses

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

var rounds = flag.Int("address.rounds", 50, "rounds of each fault")

// TestAddressesStayTrueThroughManyFaults goes through every fault that leaves the lab whole, again and again, in a lab of its
// own for each, as many side by side as there are processors, since most of the time is waited: RUN=ManyFaults/engine narrows to one.
func TestAddressesStayTrueThroughManyFaults(t *testing.T) {
	for _, f := range []fault{
		{"a plugin dies in mid-call", (*office).pluginDiesInMidCall},
		{"a plugin is switched off and on", (*office).pluginIsSwitchedOff},
		{"an engine dies", (*office).engineDies},
		{"two stacks on one subnet", (*office).twoStacksShareASubnet},
		{"the leader loses power", (*office).leaderLosesPower},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, 6, 60).hurry()
			begun := time.Now()
			for round := range *rounds {
				if !t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) { f.do(o.in(t)) }) {
					t.Fatalf("round %d of %d", round+1, *rounds)
				}
			}
			t.Logf("%d rounds in %s", *rounds, time.Since(begun).Round(time.Second))
		})
	}
}

// pluginIsSwitchedOff by force, and on again, while tasks come. The node's agent keeps its hands off meanwhile.
func (o *office) pluginIsSwitchedOff() {
	leader := o.leader()
	if _, err := o.lab.Docker(o.Context(), leader, "plugin", "disable", "-f", contract.PluginIPAM); err != nil {
		o.Fatal(err)
	}
	o.scale("app", o.tasks+6)
	if _, err := o.lab.Docker(o.Context(), leader, "plugin", "enable", contract.PluginIPAM); err != nil {
		o.Fatal(err) // the agent would have been faster
	}
	o.nudged("app", o.tasks+6)
	o.scale("app", o.tasks)
	o.runs("app", o.tasks, time.Minute)
	o.agree("after the plugin was switched off and on", o.tasks, time.Minute)
}

// TestNodesThatAreRemovedAndSwarmsThatAreMadeAnew costs a lab a round: a node that runs is removed by force and stands alone, then all managers
// but one are lost, the Swarm is made anew from that one, and the others join it as new nodes.
func TestNodesThatAreRemovedAndSwarmsThatAreMadeAnew(t *testing.T) {
	for round := range *rounds {
		if !t.Run(fmt.Sprintf("round %d", round+1), func(t *testing.T) {
			o := newOffice(t, 6, 60).hurry()
			o.nodeIsRemovedByForce()
			o.nodeStandsAlone()
			last := o.clusterIsMadeAnew()
			o.othersJoin(last)
		}) {
			t.Fatalf("round %d of %d", round+1, *rounds)
		}
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
