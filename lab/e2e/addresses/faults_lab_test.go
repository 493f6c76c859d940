//go:build lab

package addresses

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// pluginDiesInMidCall: the leader's plugin does not answer a call that is under way, and is killed then.
func (o *office) pluginDiesInMidCall() {
	leader := o.leader()
	o.plugin(leader, "STOP")
	o.scale("app", o.tasks+6)
	o.eventually(20*time.Second, "Swarm asks for the addresses of six tasks", func() error {
		all, err := o.wanted("app")
		if err == nil && len(all) != o.tasks+6 {
			err = fmt.Errorf("it wants %d tasks", len(all))
		}
		return err
	})
	time.Sleep(300 * time.Millisecond) // for the call to go out
	all, err := o.wanted("app")
	if n := running(all); err != nil || n != o.tasks {
		o.Fatalf("%d tasks run, %v: a plugin that is stopped has given addresses", n, err)
	}
	o.plugin(leader, "KILL")
	o.nudged("app", o.tasks+6)
	o.scale("app", o.tasks)
	o.runs("app", o.tasks, time.Minute)
	o.agree("after the plugin was killed in mid-call", o.tasks, time.Minute)
}

// nudged waits until a service runs. Swarm asks again for an address that it failed to get only when another is released
// (or after 5 minutes), and the engine repeats a call that the plugin's end cut off, but without its body: so one task is
// let go when all but one or two run, as a person would.
func (o *office) nudged(name string, tasks int) {
	o.Helper()
	for range 4 {
		var got int
		o.eventually(time.Minute, fmt.Sprintf("nearly %d tasks of %s run", tasks, name), func() error {
			all, err := o.wanted(name)
			if got = running(all); err == nil && got < tasks-2 {
				err = fmt.Errorf("%d run", got)
			}
			return err
		})
		if got == tasks {
			return
		}
		if err := o.lab.Eventually(o.Context(), 3*time.Second, name, func() error {
			all, err := o.wanted(name)
			if err == nil && running(all) != tasks {
				err = errors.New("some wait")
			}
			return err
		}); err == nil {
			return
		}
		o.scale(name, tasks-3)
		o.runs(name, tasks-3, time.Minute)
		o.scale(name, tasks)
	}
	o.runs(name, tasks, 30*time.Second)
}

// pluginIsSet anew, while tasks come: disable, set, enable. The agent then brings the setting back.
func (o *office) pluginIsSet() {
	o.settingIsChanged(o.leader(), "20s", func() { o.scale("app", o.tasks+6) })
	o.nudged("app", o.tasks+6)
	o.rests("1m0s")
	o.scale("app", o.tasks)
	o.runs("app", o.tasks, time.Minute)
	o.agree("after a setting of the plugin was changed, and brought back", o.tasks, time.Minute)
}

// twoStacksShareASubnet, and each is removed and deployed anew at once, while the other stays.
func (o *office) twoStacksShareASubnet() {
	for _, stack := range []string{"one", "two"} {
		o.deploy(stack)
	}
	for _, stack := range []string{"one", "two"} {
		o.runs(stack+"_web", 3, time.Minute)
	}
	o.agree("with two stacks on one subnet", o.tasks+6, time.Minute)
	for _, stack := range []string{"one", "two"} {
		o.docker("stack", "rm", stack)
		o.deploy(stack)
		o.unique("while a stack's old containers end")
		o.runs(stack+"_web", 3, 90*time.Second)
		o.unique("after a stack was removed and deployed anew at once")
	}
}

// engineDies on a node that does not lead.
func (o *office) engineDies() {
	if err := o.lab.KillEngine(o.Context(), o.follower()); err != nil {
		o.Fatal(err)
	}
	o.agree("when the engine is back", 0, 2*time.Minute) // Swarm has seen by now what became of its containers
	o.ready(4)
	o.runs("app", o.tasks, 2*time.Minute)
	o.agree("after an engine was killed", o.tasks, 2*time.Minute)
}

func (o *office) follower() string {
	o.Helper()
	leader := o.leader()
	for _, n := range o.lab.Managers() {
		if n != leader && o.lab.On(n) {
			return n
		}
	}
	o.Fatal("no other manager has power")
	return ""
}

// hurry makes Swarm give up a node sooner, after three heartbeats or six: that is what is waited for most.
func (o *office) hurry() *office {
	o.docker("swarm", "update", "--dispatcher-heartbeat", "3s")
	return o
}

// TestAddressesStayTrueThroughFaults breaks what can break, once each and one after the other in one lab; each step needs
// the ones before, and the last two cost the lab its nodes.
func TestAddressesStayTrueThroughFaults(t *testing.T) {
	newOffice(t, 6, 60).hurry().each([]fault{
		{"plugins refuse networks", (*office).pluginsRefuse},
		{"a plugin dies in mid-call", (*office).pluginDiesInMidCall},
		{"a plugin is switched off, set, and on", (*office).pluginIsSet},
		{"an engine dies", (*office).engineDies},
		{"a node joins later", (*office).nodeJoins},
		{"two stacks on one subnet, removed and deployed anew at once, and an address named twice", func(o *office) {
			end := o.namedAddress("10.212.0.200")
			o.twoStacksShareASubnet()
			end()
			o.docker("stack", "rm", "one", "two")
		}},
		{"the leader loses power in a rollout, a node is cut off, a pool is full", (*office).leaderLosesPower},
		{"a node that runs is removed by force", (*office).nodeIsRemovedByForce},
		{"the Swarm is made anew from one manager", func(o *office) { o.clusterIsMadeAnew() }},
	})
}

type fault struct {
	name string
	do   func(*office)
}

// each goes through faults; a later one needs those before.
func (o *office) each(faults []fault) {
	for _, f := range faults {
		begun := time.Now()
		if !o.Run(f.name, func(t *testing.T) {
			f.do(o.in(t))
			t.Logf("%.1f s in all", time.Since(begun).Seconds())
		}) {
			o.Fatal("a later fault needs this one")
		}
	}
}
