//go:build lab

package addresses

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
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
	o.agree("after the plugin was killed in mid-call", time.Minute)
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
	o.agree("after the plugin was switched off and on", time.Minute)
}

// twoStacksShareASubnet, and each is removed and deployed anew at once, while the other stays.
func (o *office) twoStacksShareASubnet() {
	for _, stack := range []string{"one", "two"} {
		o.deploy(stack)
	}
	for _, stack := range []string{"one", "two"} {
		o.runs(stack+"_web", 3, time.Minute)
	}
	o.agree("with two stacks on one subnet", time.Minute)
	for _, stack := range []string{"one", "two"} {
		o.docker("stack", "rm", stack)
		o.deploy(stack)
		o.unique("while a stack's old containers end")
		o.runs(stack+"_web", 3, 90*time.Second)
		o.unique("after a stack was removed and deployed anew at once")
	}
}

func (o *office) removeStacks() {
	for _, stack := range []string{"one", "two"} {
		o.docker("stack", "rm", stack)
	}
	o.agree("without the stacks", 90*time.Second) // their addresses are let go by views
}

// engineDies on a node that does not lead.
func (o *office) engineDies() {
	if err := o.lab.KillEngine(o.Context(), o.follower()); err != nil {
		o.Fatal(err)
	}
	o.ready(4)
	o.runs("app", o.tasks, 2*time.Minute)
	o.agree("after an engine was killed", 2*time.Minute)
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

// leaderLosesPower in the middle of a rollout, while a worker's cable is cut, beside a pool that is exactly full; then
// both come back. The worker's containers live on meanwhile, unseen.
func (o *office) leaderLosesPower() {
	o.network("full", fullSubnet, "--ipam-opt", "rolling.quarantine=0s")
	o.serve("full", "full", 4)
	o.scale("app", o.wave)
	o.runs("full", 4, time.Minute)
	o.runs("app", o.wave, 3*time.Minute)
	lost := o.leader()
	o.rollout(o.wave / 8)
	if err := errors.Join(o.lab.Cut(o.Context(), worker), o.lab.Kill(o.Context(), lost)); err != nil {
		o.Fatal(err)
	}
	now := o.leader()
	o.unique("when another leads")
	o.Logf("%s lost its power, %s leads", lost, now)
	o.ready(2)
	o.eventually(time.Minute, "the full pool makes tasks wait", func() error {
		all, err := o.wanted("full")
		if n := running(all); err == nil && (n > 2 || len(all) != 4) {
			err = fmt.Errorf("%d of %d run", n, len(all))
		}
		return err
	})
	o.scale("app", o.tasks)
	o.runs("app", o.tasks, 2*time.Minute)
	o.unique("while two nodes are away")
	if err := errors.Join(o.lab.Start(o.Context(), lost), o.lab.Join(o.Context(), worker)); err != nil {
		o.Fatal(err)
	}
	o.ready(4)
	o.unique("when the nodes are back")
	o.runs("full", 4, 2*time.Minute)
	o.runs("app", o.tasks, 2*time.Minute)
	o.agree("after the leader lost its power in a rollout, a node was cut off, and both came back", 2*time.Minute)
	o.remove("full")
}

// rollout begins one of app, and waits until so many tasks are new.
func (o *office) rollout(tasks int) {
	o.Helper()
	old, err := o.wanted("app")
	if err != nil {
		o.Fatal(err)
	}
	was := map[string]bool{}
	for _, t := range old {
		was[t.ID] = true
	}
	o.docker("service", "update", "--detach", "--force", "app")
	o.eventually(time.Minute, fmt.Sprintf("%d tasks are rolled out", tasks), func() error {
		all, err := o.wanted("app")
		n := 0
		for _, t := range all {
			if !was[t.ID] && t.Status.State == swarm.TaskStateRunning {
				n++
			}
		}
		if err == nil && n < tasks {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})
}

// nodeIsRemovedByForce while it runs: its addresses rest a day. The node is gone for good then.
func (o *office) nodeIsRemovedByForce() {
	o.serve("last", "app", 3, "--constraint", "node.hostname=="+worker)
	o.runs("last", 3, time.Minute)
	var held []string
	for _, c := range o.agree("before a node is removed", time.Minute).Containers {
		if c.Node == worker && netip.MustParsePrefix(appSubnet).Contains(c.Engine[0]) {
			held = append(held, c.Engine[0].String())
		}
	}
	if len(held) < 3 {
		o.Fatalf("%v: want those of three tasks at least", held)
	}
	o.docker("node", "rm", "--force", worker)
	o.eventually(time.Minute, "its addresses rest for a day", func() error {
		all, err := o.leases()
		for _, a := range held {
			if l := all[a]; err == nil && (l.State != "resting" || l.Until.Sub(*l.Freed) < 23*time.Hour) {
				err = fmt.Errorf("%s: %+v", a, l)
			}
		}
		return err
	})
	o.scale("app", o.tasks+6)
	o.runs("app", o.tasks+6, time.Minute)
	o.unique("when a node was removed that runs on")
	o.scale("app", o.tasks)
	o.docker("service", "rm", "last")
	if err := o.lab.Kill(o.Context(), worker); err != nil {
		o.Fatal(err)
	}
	o.runs("app", o.tasks, time.Minute)
	for _, c := range o.agree("after a node was removed by force", 90*time.Second).Containers {
		for _, a := range held {
			if c.Engine[0].String() == a {
				o.Fatalf("%s of the removed node was given to %s/%s", a, c.Node, c.ID)
			}
		}
	}
}

// clusterIsMadeAnew from one manager, after all others are lost.
func (o *office) clusterIsMadeAnew() (last string) {
	last = o.leader()
	for _, n := range o.lab.Nodes() {
		if n != last && o.lab.On(n) {
			if err := o.lab.Kill(o.Context(), n); err != nil {
				o.Fatal(err)
			}
		}
	}
	o.eventually(2*time.Minute, "the Swarm is made anew", func() error {
		_, err := o.lab.Docker(o.Context(), last, "swarm", "init", "--force-new-cluster", "--advertise-addr", o.lab.Address(last).String())
		return err
	})
	o.world.Alone = last
	o.runs("app", o.tasks, 3*time.Minute)
	o.agree("after the Swarm was made anew from one manager", 2*time.Minute)
	return last
}

// TestAddressesStayTrueThroughFaults breaks what can break, once each and one after the other in one lab; each step needs
// the ones before. The last two cost the lab its nodes.
func TestAddressesStayTrueThroughFaults(t *testing.T) {
	o := newOffice(t, 6, 60)
	for _, f := range []struct {
		name string
		do   func(*office)
	}{
		{"a plugin refuses a network", (*office).pluginRefuses},
		{"a plugin dies in mid-call", (*office).pluginDiesInMidCall},
		{"a plugin is switched off and on", (*office).pluginIsSwitchedOff},
		{"an engine dies", (*office).engineDies},
		{"two stacks on one subnet, removed and deployed anew at once", (*office).twoStacksShareASubnet},
		{"the leader loses power in a rollout, a node is cut off, a pool is full", (*office).leaderLosesPower},
		{"a node that runs is removed by force", (*office).nodeIsRemovedByForce},
		{"the Swarm is made anew from one manager", func(o *office) { o.clusterIsMadeAnew() }},
	} {
		begun := time.Now()
		if !t.Run(f.name, func(t *testing.T) {
			f.do(o.in(t))
			t.Logf("%.1f s in all", time.Since(begun).Seconds())
		}) {
			t.Fatal("a later fault needs this one")
		}
	}
}
