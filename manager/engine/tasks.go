package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/swarm"
	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/spec"
	"github.com/rolling-swarm/rolling/manager/store"
)

const (
	// nodeWithin bounds one question to a node for the sake of a page, which goes on without the answer.
	nodeWithin = 3 * time.Second
	// nodesAtOnce are asked side by side.
	nodesAtOnce = 32
	// keptPlaces bounds the memory for where tasks are.
	keptPlaces = 20_000
	// tailMost is the most lines that an agent gives.
	tailMost = 500
)

// Tasks lists what runs in an environment by service and slot: all that live, and of a slot where nothing runs, the one that
// ended last.
func (e *Engine) Tasks(ctx context.Context, name project.Name, env project.EnvironmentName) ([]Task, error) {
	err := e.options.Store.View(func(tx store.Tx) error {
		_, err := e.environment(tx, name, env)
		return err
	})
	if err != nil {
		return nil, err
	}
	tasks, err := e.options.Live.TasksOf(ctx, map[string]string{contract.Project: string(name), contract.Environment: string(env)})
	if err != nil {
		return nil, fmt.Errorf("tasks of %s: %w", project.Namespace(name, env), err)
	}
	nodes, err := e.options.Cluster.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("tasks of %s: %w", project.Namespace(name, env), err)
	}
	hosts := map[string]string{}
	for _, n := range nodes {
		hosts[n.ID] = n.Description.Hostname
	}
	views := []Task{}
	for _, t := range shown(tasks) {
		e.remember(t)
		views = append(views, viewOfTask(t, hosts[t.NodeID]))
	}
	slices.SortStableFunc(views, func(a, b Task) int {
		return cmp.Or(strings.Compare(a.Service, b.Service), cmp.Compare(slotNumber(a.Slot), slotNumber(b.Slot)), strings.Compare(a.Slot, b.Slot),
			b.Since.Compare(a.Since), strings.Compare(a.ID, b.ID))
	})
	return views, nil
}

// slotNumber sorts slots that are numbers as such, before the names of nodes.
func slotNumber(slot string) int {
	n, err := strconv.Atoi(slot)
	if err != nil {
		return int(^uint(0) >> 1)
	}
	return n
}

// shown leaves out what has ended, but for the last one of a slot where nothing runs.
func shown(tasks []swarm.Task) []swarm.Task {
	slot := func(t swarm.Task) string {
		if t.Slot == 0 {
			return t.ServiceID + " " + t.NodeID
		}
		return t.ServiceID + " " + strconv.Itoa(t.Slot)
	}
	runs, ended := map[string]bool{}, map[string]swarm.Task{}
	var all []swarm.Task
	for _, t := range tasks {
		switch last, has := ended[slot(t)]; {
		case alive(t):
			all = append(all, t)
			runs[slot(t)] = runs[slot(t)] || t.Status.State == swarm.TaskStateRunning && t.DesiredState == swarm.TaskStateRunning
		case t.DesiredState == swarm.TaskStateRemove || t.Status.State == swarm.TaskStateShutdown:
		case !has || last.Status.Timestamp.Before(t.Status.Timestamp):
			ended[slot(t)] = t
		}
	}
	for at, t := range ended {
		if !runs[at] {
			all = append(all, t)
		}
	}
	return all
}

func viewOfTask(t swarm.Task, host string) Task {
	v := Task{ID: t.ID, Slot: strconv.Itoa(t.Slot), Node: host, State: string(t.Status.State), Health: healthOf(t), Since: t.Status.Timestamp,
		Release: release.ID(spec.MarkOf(t.Spec).Release), Message: cmp.Or(t.Status.Err, t.Status.Message)}
	if t.Slot == 0 {
		v.Slot = strings.ReplaceAll(host, ".", "_")
	}
	if c := t.Spec.ContainerSpec; c != nil {
		v.Service = c.Labels[contract.Service]
	}
	if at, ok := reachable(t); ok {
		v.Address = at.String()
	}
	return v
}

// healthOf says what Swarm knows of a task's health: it runs only once its check has passed, and is ended when that fails. A
// check that comes with the image does not show in the task.
func healthOf(t swarm.Task) string {
	c := t.Spec.ContainerSpec
	if c == nil || c.Healthcheck == nil || len(c.Healthcheck.Test) == 0 || c.Healthcheck.Test[0] == "NONE" {
		return ""
	}
	switch {
	case t.Status.State == swarm.TaskStateRunning:
		return string(container.Healthy)
	case t.Status.State == swarm.TaskStateStarting:
		return string(container.Starting)
	case strings.Contains(t.Status.Err, "unhealthy container"): // the engine's own text
		return string(container.Unhealthy)
	}
	return ""
}

// remember keeps where a task is: it never moves.
func (e *Engine) remember(t swarm.Task) cluster.Place {
	at := cluster.Place{Node: t.NodeID, Task: t.ID}
	if c := t.Status.ContainerStatus; c != nil {
		at.Container = c.ContainerID
	}
	if at.Node == "" {
		return at
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.places) >= keptPlaces {
		clear(e.places)
	}
	e.places[t.ID] = at
	return at
}

// placeOf finds a task; NotFound when Swarm knows it no more.
func (e *Engine) placeOf(ctx context.Context, id string) (cluster.Place, error) {
	e.mu.Lock()
	at, known := e.places[id]
	e.mu.Unlock()
	if known && at.Container != "" {
		return at, nil
	}
	t, err := e.options.Live.Task(ctx, id)
	switch {
	case err == nil:
		return e.remember(t), nil
	case known:
		return at, nil // Swarm has forgotten it; its node may not have
	case errors.Is(err, cluster.ErrGone):
		return at, &Error{Code: NotFound, err: err}
	}
	return at, err
}

// Samples gives the recent measurements of tasks, by their id. Whose node does not answer in time, or knows nothing of the
// task, is missing.
func (e *Engine) Samples(ctx context.Context, taskIDs []string) (map[string]Samples, error) {
	all := map[string]Samples{}
	if e.options.Agents == nil {
		return all, nil
	}
	on := map[string][]string{}
	for _, id := range taskIDs {
		at, err := e.placeOf(ctx, id)
		if err != nil && CodeOf(err) != NotFound {
			return nil, fmt.Errorf("samples: %w", err)
		}
		if at.Node != "" {
			on[at.Node] = append(on[at.Node], id)
		}
	}
	var mu sync.Mutex // guards all
	var group errgroup.Group
	group.SetLimit(nodesAtOnce)
	for node, tasks := range on {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, nodeWithin)
			defer cancel()
			got, err := e.options.Agents.Samples(ctx, node, tasks)
			if err != nil {
				e.options.Log.Debug("no samples", "node", node, "err", err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			for id, s := range got {
				all[id] = s
			}
			return nil
		})
	}
	return all, group.Wait()
}

// Tail gives the last lines that a task wrote, oldest first, from whoever has them.
func (e *Engine) Tail(ctx context.Context, taskID string, lines int) ([]string, error) {
	at, err := e.placeOf(ctx, taskID)
	switch {
	case err != nil:
		return nil, fmt.Errorf("last lines: %w", err)
	case at.Node == "":
		return []string{}, nil // it has not come to a node yet, so it has written nothing
	}
	var missing []error
	for _, source := range e.options.Lines {
		got, err := e.tail(ctx, source, at, max(1, min(lines, tailMost)))
		if err == nil {
			return append([]string{}, got...), nil
		}
		missing = append(missing, err)
	}
	return nil, fmt.Errorf("last lines of task %s: %w", taskID, errors.Join(missing...))
}

func (e *Engine) tail(ctx context.Context, source Lines, at cluster.Place, n int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeWithin)
	defer cancel()
	return source.Lines(ctx, at, n)
}
