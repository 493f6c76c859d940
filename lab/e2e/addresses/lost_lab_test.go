//go:build lab

package addresses

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
)

// leaderLosesPower in the middle of a rollout, while a worker's cable is cut, beside a pool that is exactly full; then
// both come back. The worker's containers live on meanwhile, unseen.
func (o *office) leaderLosesPower() {
	o.network("full", fullSubnet, "--ipam-opt", "rolling.quarantine=0s")
	o.serve("full", "full", 4)
	o.scale("app", o.wave)
	o.runs("full", 4, 3*time.Minute)
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
	o.shrinks("app", o.tasks)
	o.unique("while two nodes are away")
	if err := errors.Join(o.lab.Start(o.Context(), lost), o.lab.Join(o.Context(), worker)); err != nil {
		o.Fatal(err)
	}
	o.ready(4)
	o.unique("when the nodes are back")
	o.runs("full", 4, 2*time.Minute)
	o.runs("app", o.tasks, 2*time.Minute)
	o.agree("after the leader lost its power in a rollout, a node was cut off, and both came back", o.tasks+4, 2*time.Minute)
	o.docker("service", "rm", "full")
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

// shrinks scales a service down whose rollout goes on: Swarm's updater may make a task for a slot that was just taken away, and
// Swarm counts its slots only when the service is written again.
func (o *office) shrinks(name string, tasks int) {
	o.Helper()
	var last time.Time
	o.eventually(2*time.Minute, fmt.Sprintf("%s shrinks to %d tasks", name, tasks), func() error {
		if time.Since(last) > 15*time.Second {
			o.scale(name, tasks)
			last = time.Now()
		}
		return o.count(name, tasks)
	})
}

// nodeIsRemovedByForce while it runs: its addresses rest a day. The node is gone for good then.
func (o *office) nodeIsRemovedByForce() {
	o.serve("last", "app", 3, "--constraint", "node.hostname=="+worker)
	o.runs("last", 3, time.Minute)
	var held []string
	for _, c := range o.agree("before a node is removed", o.tasks+3, time.Minute).Containers {
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
	dead := held[0]
	held = held[1:]
	o.freed(dead)
	for _, c := range o.agree("after a node was removed by force", o.tasks, 90*time.Second).Containers {
		for _, a := range held {
			if c.Engine[0].String() == a {
				o.Fatalf("%s of the removed node was given to %s/%s", a, c.Node, c.ID)
			}
		}
	}
}

// freed lets the rest of an address end, since its node is certainly off by now: somebody has to say so.
func (o *office) freed(a string) {
	o.Helper()
	o.eventually(time.Minute, "the manager hears the leader's plugin of "+a, func() error {
		out, err := o.rolling("address", "free", a)
		if err == nil {
			o.Fatalf("nobody said that its node is off: %s", out)
		}
		if strings.Contains(err.Error(), "make sure that it is off") {
			err = nil
		}
		return err
	})
	if out, err := o.rolling("address", "show", a); err != nil || !strings.Contains(out, "rests 2") || !strings.Contains(out, "node "+worker+" was not ready") {
		o.Errorf("why it is not free: %v %s", err, out)
	}
	if out, err := o.rolling("address", "free", a, "--force"); err != nil {
		o.Fatalf("%v %s", err, out)
	}
	if all, err := o.leases(); err != nil || all[a].State == "resting" {
		o.Errorf("%v: %+v", err, all[a])
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
	o.agree("after the Swarm was made anew from one manager", o.tasks, 3*time.Minute) // Swarm takes the dead nodes' tasks for running for a while
	o.runs("app", o.tasks, time.Minute)
	return last
}
