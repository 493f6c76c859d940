//go:build lab && long

package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/proof"
)

// pluginDiesInMidCall kills the leader's plugin while addresses are asked for. Once: an engine whose plugin dies again
// before it has dialled its socket takes 12 s to notice, and Swarm gives up on a task's address sooner than that.
func (o *office) pluginDiesInMidCall() {
	o.scale("app", o.tasks+6)
	o.killPlugin(o.leader())
	o.nudged("app", o.tasks+6)
	o.scale("app", o.tasks)
	o.runs("app", o.tasks, time.Minute)
	o.agree("after the plugin was killed in mid-call", time.Minute)
}

// nudged waits until a service runs, and lets one of its tasks go now and then: Swarm asks again for the address of a task
// that it failed to get only when another is released (or after 5 minutes). The engine repeats a call that the plugin's
// end cut off, but without its body, so such a task is to be expected.
func (o *office) nudged(name string, tasks int) {
	o.Helper()
	begun := time.Now()
	for {
		ctx, cancel := context.WithTimeout(o.Context(), 20*time.Second)
		err := o.lab.Eventually(ctx, 20*time.Second, name+" runs", func() error { return o.counts(name, tasks) })
		cancel()
		if err == nil {
			return
		}
		if time.Since(begun) > 3*time.Minute {
			o.Fatal(err)
		}
		o.scale(name, tasks-1)
		o.runs(name, tasks-1, time.Minute)
		o.scale(name, tasks)
	}
}

// pluginIsSwitchedOff disables it by force while tasks come and go; the node's agent enables it again. Nobody else may at the
// same time: an engine (28.5.2) that is told so twice at once starts the plugin again and again.
func (o *office) pluginIsSwitchedOff() {
	leader := o.leader()
	o.docker("service", "update", "--detach", "--force", "app")
	if _, err := o.lab.Docker(o.Context(), leader, "plugin", "disable", "-f", contract.PluginIPAM); err != nil {
		o.Fatal(err)
	}
	o.eventually(time.Minute, "the agent has enabled the plugin again", func() error {
		out, err := o.lab.Docker(o.Context(), leader, "plugin", "inspect", "--format", "{{.Enabled}}", contract.PluginIPAM)
		if err == nil && strings.TrimSpace(out) != "true" {
			err = errors.New("it is disabled")
		}
		return err
	})
	o.settled()
	o.agree("after the plugin was switched off and on", 90*time.Second)
}

// settled waits until an update of app has ended and all of it runs.
func (o *office) settled() {
	o.Helper()
	o.eventually(4*time.Minute, "the update of app has ended", func() error {
		leader, err := o.lab.Leader(o.Context())
		if err != nil {
			return err
		}
		out, err := o.lab.Docker(o.Context(), leader, "service", "inspect", "--format", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", "app")
		if state := strings.TrimSpace(out); err == nil && state != "completed" {
			err = fmt.Errorf("it is %q", state)
			if state == "paused" { // a task failed on the node that broke: Swarm asks whether to go on
				_, _ = o.lab.Docker(o.Context(), leader, "service", "update", "--detach", "--force", "app") // the next look tells
			}
		}
		return err
	})
	o.runs("app", o.tasks, 2*time.Minute)
}

// twoStacksShareASubnet, and each is removed and made anew at once, while the other stays.
func (o *office) twoStacksShareASubnet() {
	for _, name := range []string{"one", "two"} {
		o.network(name, otherSubnet, "--ipam-opt", "rolling.project="+name)
		o.serve(name, name, 3)
	}
	for _, name := range []string{"one", "two"} {
		o.runs(name, 3, time.Minute)
	}
	o.agree("with two stacks on one subnet", time.Minute)
	o.docker("service", "rm", "one")
	o.eventually(time.Minute, "network one is removed", func() error { // as docker stack rm does: as soon as Swarm lets it go
		_, err := o.lab.Docker(o.Context(), o.leader(), "network", "rm", "one")
		if err == nil {
			err = errors.New("it may be on its way out")
		} else if strings.Contains(err.Error(), "not found") {
			return nil
		}
		return err
	})
	o.network("one", otherSubnet, "--ipam-opt", "rolling.project=one")
	o.serve("one", "one", 3)
	o.runs("one", 3, 90*time.Second)
	o.unique("after a stack was removed and made anew at once") // its old addresses are let go by views: the next step looks for them
}

func (o *office) removeStacks() {
	for _, name := range []string{"one", "two"} {
		o.docker("service", "rm", name)
		removeNetwork(o.T, o.lab, o.leader(), name)
	}
}

// engineDies on a node that does not lead.
func (o *office) engineDies() {
	victim := o.follower()
	if err := o.lab.KillEngine(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	o.ready(3)
	o.runs("app", o.tasks, 2*time.Minute)
	o.agree("after an engine was killed", 2*time.Minute)
}

func (o *office) follower() string {
	o.Helper()
	leader := o.leader()
	for _, n := range o.lab.Nodes() {
		if n != leader && o.lab.On(n) {
			return n
		}
	}
	o.Fatal("no other node has power")
	return ""
}

// ready waits until so many nodes are Ready.
func (o *office) ready(nodes int) {
	o.Helper()
	o.eventually(2*time.Minute, fmt.Sprintf("%d nodes are Ready", nodes), func() error {
		leader, err := o.lab.Leader(o.Context())
		if err != nil {
			return err
		}
		out, err := o.lab.Docker(o.Context(), leader, "node", "ls", "--format", "{{.Status}}")
		if n := strings.Count(out, "Ready"); err == nil && n != nodes {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})
}

// leaderLosesPower in the middle of a rollout, beside a pool that is exactly full; then it comes back.
func (o *office) leaderLosesPower() {
	o.network("full", fullSubnet, "--ipam-opt", "rolling.quarantine=0s")
	o.serve("full", "full", 4)
	o.runs("full", 4, time.Minute)
	o.docker("service", "update", "--detach", "--force", "app")
	lost := o.leader()
	if err := o.lab.Kill(o.Context(), lost); err != nil {
		o.Fatal(err)
	}
	o.eventually(time.Minute, "another leader", func() error {
		now, err := o.lab.Leader(o.Context())
		if err == nil && now == lost {
			err = errors.New("the dead node is still called the leader")
		}
		return err
	})
	o.settled()
	o.unique("while a node is dead")
	if err := o.lab.Start(o.Context(), lost); err != nil {
		o.Fatal(err)
	}
	o.ready(3)
	o.runs("full", 4, 2*time.Minute)
	o.docker("service", "rm", "full")
	removeNetwork(o.T, o.lab, o.leader(), "full")
	o.agree("after the leader lost its power in a rollout and came back", 2*time.Minute)
}

// unique checks at once that no two live containers have one address. What a dead node holds need not be agreed on yet.
func (o *office) unique(when string) {
	o.Helper()
	v, err := o.world.Observe(o.Context(), false)
	if err != nil {
		o.Fatalf("%s: %v", when, err)
	}
	for _, said := range proof.Disagreements(v) {
		if strings.Contains(said, "two owners") {
			o.Fatalf("%s: %s", when, said)
		}
	}
}

// nodeIsRemovedByForce while it runs: its addresses rest a day. The node is gone for good then.
func (o *office) nodeIsRemovedByForce() {
	leader, victim := o.leader(), ""
	v := o.agree("before a node is removed", time.Minute)
	var held []string
	for _, c := range v.Containers {
		if c.Node == leader || !netip.MustParsePrefix(appSubnet).Contains(c.Engine[0]) {
			continue // what earlier steps removed may be on its way out
		}
		victim = cmp.Or(victim, c.Node) // one that was just away has no tasks
		if c.Node == victim {
			held = append(held, c.Engine[0].String())
		}
	}
	if len(held) == 0 {
		o.Fatalf("no task of app runs on %q", victim)
	}
	o.docker("node", "demote", victim)
	o.docker("node", "rm", "--force", victim)
	o.eventually(time.Minute, "its addresses rest for a day", func() error {
		all := o.leases()
		for _, a := range held {
			i := slices.IndexFunc(all, func(l lease) bool { return l.Address == a })
			if i < 0 || all[i].State != "resting" || all[i].Until.Sub(*all[i].Freed) < 23*time.Hour {
				return fmt.Errorf("%s: %+v", a, all[max(0, i)])
			}
		}
		return nil
	})
	if err := o.lab.Kill(o.Context(), victim); err != nil {
		o.Fatal(err)
	}
	o.runs("app", o.tasks, 2*time.Minute)
	for _, c := range o.agree("after a node was removed by force", 90*time.Second).Containers {
		if slices.Contains(held, c.Engine[0].String()) {
			o.Fatalf("%s of the removed node was given to %s/%s", c.Engine[0], c.Node, c.ID)
		}
	}
}

// clusterIsMadeAnew from one manager, after all others are lost; then they join it as new nodes.
func (o *office) clusterIsMadeAnew() {
	last := o.leader()
	for _, n := range o.lab.Nodes() {
		if n != last && o.lab.On(n) {
			if err := o.lab.Kill(o.Context(), n); err != nil {
				o.Fatal(err)
			}
		}
	}
	at := o.lab.Address(last).String()
	o.eventually(2*time.Minute, "the Swarm is made anew", func() error {
		_, err := o.lab.Docker(o.Context(), last, "swarm", "init", "--force-new-cluster", "--advertise-addr", at)
		return err
	})
	token, err := o.lab.Docker(o.Context(), last, "swarm", "join-token", "-q", "manager")
	if err != nil {
		o.Fatal(err)
	}
	for _, n := range o.lab.Nodes() {
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
				_, err = o.lab.Docker(o.Context(), n, "swarm", "join", "--token", strings.TrimSpace(token), at+":2377")
			}
			return err
		})
	}
	o.ready(3)
	o.runs("app", o.tasks, 3*time.Minute)
	o.agree("after the Swarm was made anew from one manager", 2*time.Minute)
}

// TestAddressesStayTrueThroughFaults breaks what can break, once each and one after the other in one lab; each step needs
// the ones before. The last two cost the lab its nodes.
func TestAddressesStayTrueThroughFaults(t *testing.T) {
	o := newOffice(t, 9)
	for _, f := range []struct {
		name string
		do   func(*office)
	}{
		{"a plugin dies in mid-call", (*office).pluginDiesInMidCall},
		{"a plugin is switched off and on", (*office).pluginIsSwitchedOff},
		{"two stacks on one subnet, one removed and made anew", (*office).twoStacksShareASubnet},
		{"an engine dies", (*office).engineDies},
		{"the leader loses power in a rollout beside a full pool", (*office).leaderLosesPower},
		{"a node is removed by force", (*office).nodeIsRemovedByForce},
		{"the Swarm is made anew from one manager", (*office).clusterIsMadeAnew},
	} {
		begun := time.Now()
		if !t.Run(f.name, func(t *testing.T) {
			f.do(&office{T: t, lab: o.lab, world: o.world, tasks: o.tasks})
			t.Logf("%.1f s", time.Since(begun).Seconds())
		}) {
			t.Fatal("a later fault needs this one")
		}
	}
}
