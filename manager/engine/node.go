package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Fabric is the network of the nodes, by way of their agents.
type Fabric interface {
	Network(ctx context.Context, node string) (wire.Network, error)
	RoutesOf(ctx context.Context, node string) (wire.Routes, error)
	Drain(ctx context.Context, node string, on bool) error
	Reach(ctx context.Context, node, from, to string) (wire.Reach, error)
}

// Membership is what the engine needs of Docker to take nodes out of use, and back.
type Membership interface {
	Self(ctx context.Context) (string, error)
	SetAvailability(ctx context.Context, nodeID, to string) error
}

const (
	available   = string(swarm.NodeAvailabilityActive)
	unavailable = string(swarm.NodeAvailabilityDrain)
	// turnAway is what routers get to choose other ways, before the first container there is told to stop.
	turnAway = time.Second
	// writes of a node's availability: whoever changes a label at the same moment is not in the way.
	writes = 5
)

// NodeDetail is a node, and what stands between it and a quiet end.
type NodeDetail struct {
	Node
	Marked    *bool      `json:"marked,omitempty"`    // its routes are marked for a shutdown; absent: its agent is away
	Remaining []NodeTask `json:"remaining,omitempty"` // while it drains: what still runs there
	Stays     int        `json:"stays,omitempty"`     // containers of docker run, which no drain moves
	Warnings  []string   `json:"warnings,omitempty"`
}

// NodeTask is a task on a node.
type NodeTask struct {
	ID      string `json:"id"`
	Service string `json:"service"` // full name
	Slot    string `json:"slot"`
	State   string `json:"state"`
}

// NodeChange asks for a drain or its end.
type NodeChange struct {
	Node  string // name or id
	Force bool   // also where routes cannot be marked, or the manager itself would have to go
	By    string
}

// NodeDetail says how a node stands.
func (e *Engine) NodeDetail(ctx context.Context, name string) (NodeDetail, error) {
	n, err := e.node(ctx, name)
	if err != nil {
		return NodeDetail{}, err
	}
	return e.detail(ctx, n)
}

func (e *Engine) detail(ctx context.Context, n Node) (NodeDetail, error) {
	d := NodeDetail{Node: n}
	tasks, err := e.options.Cluster.Tasks(ctx)
	if err != nil {
		return d, err
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return d, err
	}
	names := map[string]string{}
	for _, s := range observed.Services {
		names[s.ID] = s.Spec.Name
	}
	carries := byNode(tasks)[n.ID]
	d.Stays = carries.stays
	if n.Availability == unavailable {
		for _, t := range carries.tasks {
			slot := strconv.Itoa(t.Slot)
			if t.Slot == 0 {
				slot = n.Name
			}
			d.Remaining = append(d.Remaining, NodeTask{ID: t.ID, Service: cmp.Or(names[t.ServiceID], t.ServiceID), Slot: slot, State: string(t.Status.State)})
		}
	}
	slices.SortFunc(d.Remaining, func(a, b NodeTask) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), strings.Compare(a.Slot, b.Slot), strings.Compare(a.ID, b.ID))
	})
	if e.options.Fabric != nil {
		if got, err := e.options.Fabric.Network(ctx, n.ID); err == nil && got.Driver != nil {
			d.Marked = &got.Driver.Drained
		}
	}
	return d, nil
}

// burden is what a node carries.
type burden struct {
	tasks   []swarm.Task // of services: each has, or may get, a container there
	running int          // of them
	stays   int          // containers of docker run, which Swarm knows as attachments
}

func byNode(tasks []swarm.Task) map[string]burden {
	all := map[string]burden{}
	for _, t := range tasks {
		if !onNode(t) {
			continue
		}
		b := all[t.NodeID]
		if t.Spec.NetworkAttachmentSpec != nil {
			b.stays++
		} else {
			b.tasks = append(b.tasks, t)
			if t.Status.State == swarm.TaskStateRunning {
				b.running++
			}
		}
		all[t.NodeID] = b
	}
	return all
}

// onNode says that a task has, or may get, a container on its node.
func onNode(t swarm.Task) bool {
	return alive(t) && t.Status.State != swarm.TaskStateNew && t.Status.State != swarm.TaskStatePending
}

func (e *Engine) node(ctx context.Context, name string) (Node, error) {
	all, err := e.Nodes(ctx)
	if err != nil {
		return Node{}, err
	}
	var names []string
	var found []Node
	for _, n := range all {
		if n.ID == name {
			return n, nil
		}
		if n.Name == name {
			found = append(found, n)
		}
		names = append(names, n.Name)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Node{}, refusal(Invalid, "node %s: %d nodes have that name: give its id, as `rolling node list -o wide` shows it", name, len(found))
	}
	text := fmt.Sprintf("node %s: the Swarm has none of that name", name)
	if near := contract.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return Node{}, refusal(NotFound, "%s", text)
}

// DrainNode marks what a node announces, so that the site's routers choose other ways where there are some, and then has
// Swarm move its tasks. It returns when both are said; what remains is in the answer, and in NodeDetail's later. Said
// again, it goes on where it was.
func (e *Engine) DrainNode(ctx context.Context, o NodeChange) (NodeDetail, error) {
	n, err := e.node(ctx, o.Node)
	if err != nil {
		return NodeDetail{}, err
	}
	if err := e.mayDrain(ctx, n, o.Force); err != nil {
		return NodeDetail{}, err
	}
	var warnings []string
	if n.Availability != unavailable || n.State == "ready" {
		if warnings, err = e.mark(ctx, n, o.Force); err != nil {
			return NodeDetail{}, err
		}
	}
	if err := e.become(ctx, n, unavailable, o.By, "node drain"); err != nil {
		return NodeDetail{}, err
	}
	n.Availability = unavailable
	d, err := e.detail(ctx, n)
	d.Warnings = append(warnings, d.Warnings...)
	return d, err
}

func (e *Engine) mayDrain(ctx context.Context, n Node, force bool) error {
	all, err := e.Nodes(ctx)
	if err != nil {
		return err
	}
	others := slices.ContainsFunc(all, func(o Node) bool { return o.ID != n.ID && o.State == "ready" && o.Availability == available })
	if !others && !force {
		return refusal(Blocked, "node %s: no other node is ready and active, so what runs there would have nowhere to go: activate another, or drain it with --force", n.Name)
	}
	if e.options.Membership == nil {
		return nil
	}
	self, err := e.options.Membership.Self(ctx)
	if err != nil {
		return err
	}
	if self == n.ID && !force {
		return refusal(Blocked, "node %s: this manager runs there and would have to go, with the lines of all agents: let another node have it (docker node update --label-add rolling.manager=true NODE, and --label-rm here; its record is on this node's disk), or drain it with --force; `docker node update --availability active %s` is the way back", n.Name, n.Name)
	}
	return nil
}

// mark tells the node's network plugin, and gives routers a moment. A node that was drained before has no agent: its
// routes went with its containers.
func (e *Engine) mark(ctx context.Context, n Node, force bool) (warnings []string, err error) {
	if e.options.Fabric == nil {
		err = errors.New("this manager has no line to the agents")
	} else {
		err = e.options.Fabric.Drain(ctx, n.ID, true)
	}
	switch {
	case err == nil:
		return nil, e.pause(ctx, turnAway)
	case n.Availability == unavailable:
		return nil, nil
	case force || n.State != "ready":
		return []string{"its routes are not marked: " + err.Error()}, nil
	}
	return nil, refusal(Blocked, "node %s: its routes cannot be marked first: %w: mend that, or drain it with --force: routers then learn of it as containers end", n.Name, err)
}

func (e *Engine) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ActivateNode undoes a drain: Swarm may place tasks there again, its agent with them, and as soon as that has come the
// mark is taken off. Said again, it goes on where it was: Marked says whether it is done.
func (e *Engine) ActivateNode(ctx context.Context, o NodeChange) (NodeDetail, error) {
	n, err := e.node(ctx, o.Node)
	if err != nil {
		return NodeDetail{}, err
	}
	if err := e.become(ctx, n, available, o.By, "node activate"); err != nil {
		return NodeDetail{}, err
	}
	n.Availability = available
	var warnings []string
	if e.options.Fabric != nil {
		if err := e.options.Fabric.Drain(ctx, n.ID, false); err != nil {
			warnings = append(warnings, "its routes may be marked still: "+err.Error())
		}
	}
	d, err := e.detail(ctx, n)
	d.Warnings = append(warnings, d.Warnings...)
	return d, err
}

func (e *Engine) become(ctx context.Context, n Node, to, by, action string) error {
	if e.options.Membership == nil {
		return fmt.Errorf("node %s: this manager cannot change nodes", n.Name)
	}
	if n.Availability == to {
		return nil
	}
	err := cluster.ErrConflict
	for range writes {
		if err = e.options.Membership.SetAvailability(ctx, n.ID, to); !errors.Is(err, cluster.ErrConflict) {
			break
		}
	}
	switch {
	case errors.Is(err, cluster.ErrGone):
		return refusal(NotFound, "node %s: it has left the Swarm", n.Name)
	case err != nil:
		return err
	}
	return e.update(func(tx store.Tx) error { return e.entry(tx, by, action, n.Name, "it was %s", n.Availability) })
}
