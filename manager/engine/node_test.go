package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

// hall is a Swarm of three nodes with one task and an agent each, and what was done to it, in order.
type hall struct {
	nodes  []swarm.Node
	mute   map[string]error // agents that do not answer
	marked map[string]bool
	races  int // writes that somebody else is before
	deaf   bool
	did    []string
}

func newHall() *hall {
	h := &hall{mute: map[string]error{}, marked: map[string]bool{}}
	for i := 1; i <= 3; i++ {
		n := swarm.Node{ID: fmt.Sprintf("id%d", i)}
		n.Description.Hostname, n.Spec.Availability, n.Status.State = fmt.Sprintf("n%d", i), swarm.NodeAvailabilityActive, swarm.NodeStateReady
		h.nodes = append(h.nodes, n)
	}
	return h
}

func (h *hall) Observe(context.Context) (plan.Observed, error) {
	s := swarm.Service{ID: "svc"}
	s.Spec.Name = "orders_web"
	return plan.Observed{Services: []swarm.Service{s}}, nil
}
func (h *hall) Look(context.Context, string) (*swarm.Service, []swarm.Task, error) {
	return nil, nil, nil
}
func (h *hall) Apply(context.Context, plan.Step) (cluster.Applied, error) {
	return cluster.Applied{}, errors.New("nothing is to be applied")
}
func (h *hall) Nodes(context.Context) ([]swarm.Node, error)       { return h.nodes, nil }
func (h *hall) Living(context.Context) ([]swarm.Task, error)      { return nil, nil }
func (h *hall) Changes(ctx context.Context, _ func(string)) error { <-ctx.Done(); return ctx.Err() }
func (h *hall) Task(context.Context, string) (swarm.Task, error) {
	return swarm.Task{}, cluster.ErrGone
}
func (h *hall) Resolve(context.Context, string) (release.Image, error)           { return "", errors.New("none") }
func (h *hall) TasksOf(context.Context, map[string]string) ([]swarm.Task, error) { return nil, nil }

func (h *hall) Tasks(context.Context) ([]swarm.Task, error) {
	var all []swarm.Task
	for i, n := range h.nodes {
		t := swarm.Task{ID: "tk" + n.ID, NodeID: n.ID, ServiceID: "svc", Slot: i + 1, DesiredState: swarm.TaskStateRunning}
		t.Status.State = swarm.TaskStateRunning
		t.Spec.ContainerSpec = &swarm.ContainerSpec{}
		docker := swarm.Task{ID: "run" + n.ID, NodeID: n.ID}
		docker.Status.State, docker.Spec.NetworkAttachmentSpec = swarm.TaskStateRunning, &swarm.NetworkAttachmentSpec{}
		ended := t
		ended.Status.State = swarm.TaskStateShutdown
		all = append(all, t, docker, ended)
	}
	return all, nil
}

func (h *hall) Self(context.Context) (string, error) { return "id1", nil }

func (h *hall) SetAvailability(_ context.Context, id, to string) error {
	if h.races > 0 {
		h.races--
		return fmt.Errorf("node %s: %w", id, cluster.ErrConflict)
	}
	for i := range h.nodes {
		if h.nodes[i].ID == id {
			h.nodes[i].Spec.Availability = swarm.NodeAvailability(to)
		}
	}
	h.did = append(h.did, to+" "+id)
	return nil
}

func (h *hall) Network(_ context.Context, id string) (wire.Network, error) {
	return wire.Network{Host: wire.Host{Forwarding: true}, Driver: &wire.Driver{Ready: true, Settled: true, Drained: h.marked[id], MTU: 1500}}, h.mute[id]
}
func (h *hall) RoutesOf(_ context.Context, id string) (wire.Routes, error) {
	return wire.Routes{}, h.mute[id]
}
func (h *hall) Reach(_ context.Context, id, from, to string) (wire.Reach, error) {
	return wire.Reach{Allowed: true, Rule: "own-project", Why: from + " to " + to}, h.mute[id]
}
func (h *hall) Drain(_ context.Context, id string, on bool) error {
	if err := h.mute[id]; err != nil {
		return err
	}
	h.marked[id] = on
	h.did = append(h.did, fmt.Sprintf("mark %t %s", on, id))
	return nil
}

func (h *hall) engine(t *testing.T) *engine.Engine {
	t.Helper()
	o := engine.Options{Store: &storetest.Memory{}, Cluster: h, Live: h, Registry: h, Membership: h}
	if !h.deaf {
		o.Fabric = h
	}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestADrainMarksRoutesBeforeSwarmMovesTasks(t *testing.T) {
	away := errors.New("its agent has no line")
	for _, c := range []struct {
		name  string
		spoil func(*hall)
		node  string
		force bool
		did   string
		err   string
		warns string
	}{
		{"by name", func(*hall) {}, "n2", false, "mark true id2, drain id2", "", ""},
		{"by id", func(*hall) {}, "id2", false, "mark true id2, drain id2", "", ""},
		{"again: it goes on where it was", func(h *hall) { h.nodes[1].Spec.Availability, h.marked["id2"] = "drain", true }, "n2", false, "mark true id2", "", ""},
		{"again, when its agent has gone", func(h *hall) { h.nodes[1].Spec.Availability, h.mute["id2"] = "drain", away }, "n2", false, "", "", ""},
		{"though somebody else changes the node", func(h *hall) { h.races = 3 }, "n2", false, "mark true id2, drain id2", "", ""},
		{"a node that nobody knows", func(*hall) {}, "n22", false, "", `none of that name; did you mean "n2"?`, ""},
		{"a name of two", func(h *hall) { h.nodes[2].Description.Hostname = "n2" }, "n2", false, "", "2 nodes have that name", ""},
		{"a node without an agent", func(h *hall) { h.mute["id2"] = away }, "n2", false, "", "cannot be marked first: its agent has no line", ""},
		{"a node without an agent, by force", func(h *hall) { h.mute["id2"] = away }, "n2", true, "drain id2", "", "not marked: its agent has no line"},
		{"a node without power", func(h *hall) { h.mute["id2"], h.nodes[1].Status.State = away, "down" }, "n2", false, "drain id2", "", "not marked"},
		{"without a line to the agents", func(h *hall) { h.deaf = true }, "n2", false, "", "no line to the agents", ""},
		{"the manager's own node", func(*hall) {}, "n1", false, "", "this manager runs there", ""},
		{"the manager's own node, by force", func(*hall) {}, "n1", true, "mark true id1, drain id1", "", ""},
		{"the last node", func(h *hall) { h.nodes[0].Spec.Availability, h.nodes[2].Status.State = "drain", "down" }, "n2", false, "", "no other node is ready and active", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHall()
				c.spoil(h)
				d, err := h.engine(t).DrainNode(t.Context(), engine.NodeChange{Node: c.node, Force: c.force, By: "ann"})
				if got := strings.Join(h.did, ", "); got != c.did {
					t.Errorf("it did %q, want %q", got, c.did)
				}
				switch {
				case c.err != "":
					if err == nil || !strings.Contains(err.Error(), c.err) {
						t.Errorf("error %v, want %q", err, c.err)
					}
				case err != nil:
					t.Error(err)
				case d.Availability != "drain" || len(d.Remaining) != 1 || d.Remaining[0].Service != "orders_web" || d.Stays != 1 || !strings.Contains(strings.Join(d.Warnings, " "), c.warns):
					t.Errorf("got %+v", d)
				}
			})
		})
	}
}

func TestADrainIsUndoneOnceTheAgentIsBack(t *testing.T) {
	h := newHall()
	h.nodes[1].Spec.Availability, h.marked["id2"], h.mute["id2"] = "drain", true, errors.New("its agent has no line")
	e := h.engine(t)
	d, err := e.ActivateNode(t.Context(), engine.NodeChange{Node: "n2"})
	if err != nil || d.Availability != "active" || d.Marked != nil || len(d.Warnings) != 1 {
		t.Errorf("while its agent starts: %+v, %v", d, err)
	}
	delete(h.mute, "id2")
	d, err = e.ActivateNode(t.Context(), engine.NodeChange{Node: "n2"})
	if err != nil || d.Marked == nil || *d.Marked || len(d.Warnings) != 0 {
		t.Errorf("with its agent: %+v, %v", d, err)
	}
	if got, want := strings.Join(h.did, ", "), "active id2, mark false id2"; got != want {
		t.Errorf("it did %q, want %q", got, want)
	}
}

// TestExamineAsksAllAndTellsOfOne leaves judging to the core's own test.
func TestExamineAsksAllAndTellsOfOne(t *testing.T) {
	h := newHall()
	h.mute["id3"] = errors.New("node id3: its agent has no line")
	e := h.engine(t)
	x, err := e.Examine(t.Context(), "")
	if err != nil || x.Nodes != 3 || len(x.Checks) < 10 {
		t.Fatalf("%+v, %v", x, err)
	}
	silent := 0
	for _, f := range x.Findings {
		if f.Check == "agent" && f.Node == "n3" && strings.HasSuffix(f.Text, "tells nothing: its agent has no line") {
			silent++
		}
	}
	if silent != 1 {
		t.Errorf("found %+v", x.Findings)
	}
	x, err = e.Examine(t.Context(), "n2")
	for _, f := range x.Findings {
		if f.Node != "n2" && f.Node != "" {
			t.Errorf("of n2 it tells %+v", f)
		}
	}
	if _, unknown := e.Examine(t.Context(), "n9"); err != nil || engine.CodeOf(unknown) != engine.NotFound {
		t.Errorf("%v, %v", err, unknown)
	}
	h.deaf = true
	if _, err := h.engine(t).Examine(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no line to them") {
		t.Errorf("without agents: %v", err)
	}
}
