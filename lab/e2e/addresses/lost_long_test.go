//go:build lab && long

package addresses

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
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
	o.agree("after the leader lost its power in a rollout, a node was cut off, and both came back", o.tasks+4, 2*time.Minute)
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
	for _, c := range o.agree("after a node was removed by force", o.tasks, 90*time.Second).Containers {
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
	o.agree("after the Swarm was made anew from one manager", o.tasks, 3*time.Minute) // Swarm takes the dead nodes' tasks for running for a while
	o.runs("app", o.tasks, time.Minute)
	return last
}

// hurry makes Swarm give up a node sooner, after three heartbeats or six: that is what is waited for most.
func (o *office) hurry() *office {
	o.docker("swarm", "update", "--dispatcher-heartbeat", "3s")
	return o
}

// TestAddressesStayTrueWhenNodesAreLost: the last two steps cost the lab its nodes.
func TestAddressesStayTrueWhenNodesAreLost(t *testing.T) {
	newOffice(t, 6, 60).hurry().each([]fault{
		{"the leader loses power in a rollout, a node is cut off, a pool is full", (*office).leaderLosesPower},
		{"a node that runs is removed by force", (*office).nodeIsRemovedByForce},
		{"the Swarm is made anew from one manager", func(o *office) { o.clusterIsMadeAnew() }},
	})
}

func (o *office) removeStacks() {
	for _, stack := range []string{"one", "two"} {
		o.docker("stack", "rm", stack)
	}
	o.agree("without the stacks", o.tasks, 90*time.Second) // their addresses are let go by views
}

// remove takes away a service and its network of the same name.
func (o *office) remove(name string) {
	o.Helper()
	o.scale(name, 0)
	o.runs(name, 0, time.Minute)
	o.agree("without the tasks of "+name, o.tasks, 90*time.Second) // a network that goes first leaves their addresses to be let go by views
	o.docker("service", "rm", name)
	o.eventually(time.Minute, "network "+name+" removed", func() error {
		_, err := o.lab.Docker(o.Context(), o.leader(), "network", "rm", name)
		return err
	})
}

// lease is one of the leader's plugin's.
type lease struct {
	Address string     `json:"address"`
	State   string     `json:"state"`
	Why     string     `json:"why"`
	Until   *time.Time `json:"until"`
	Freed   *time.Time `json:"freed"`
}

func (o *office) leases() (map[string]lease, error) {
	leader, err := o.leads(o.Context())
	if err != nil {
		return nil, err
	}
	socket, err := o.lab.Path(leader, contract.StateRoot+"/ipam/ipam.sock")
	if err != nil {
		return nil, err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := c.Get("http://plugin/debug/state")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	var state struct {
		Leases []lease `json:"leases"`
	}
	err = json.NewDecoder(resp.Body).Decode(&state)
	all := map[string]lease{}
	for _, l := range state.Leases {
		all[l.Address] = l
	}
	return all, err
}
