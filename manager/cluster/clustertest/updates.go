package clustertest

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/plan"
)

func (w World) running(t *testing.T, replicas uint64) (id string, spec swarm.ServiceSpec) {
	t.Helper()
	spec = w.service("web", w.network(t, "net"), "v1", w.Good, replicas)
	id = w.apply(t, plan.CreateService{Spec: spec}).ID
	w.until(t, id, runs(int(replicas), "v1"))
	return id, spec
}

func (w World) update(t *testing.T, id string, spec swarm.ServiceSpec) {
	t.Helper()
	w.apply(t, plan.UpdateService{ID: id, Version: w.observed(t, id).Version, Spec: spec})
}

func countAlone(t *testing.T, w World) {
	id, spec := w.running(t, 1)
	_, before := w.until(t, id, runs(1, "v1"))
	*spec.Mode.Replicated.Replicas = 3
	w.update(t, id, spec)
	s, after := w.until(t, id, runs(3, "v1"))
	if s.UpdateStatus != nil {
		t.Errorf("the update status is %+v", s.UpdateStatus)
	}
	if !slices.ContainsFunc(after, func(k swarm.Task) bool { return k.ID == before[0].ID && k.DesiredState == swarm.TaskStateRunning }) {
		t.Error("the first task was replaced")
	}
}

func updateIs(state swarm.UpdateState) func(*swarm.Service, []swarm.Task) string {
	return func(s *swarm.Service, _ []swarm.Task) string {
		if s.UpdateStatus == nil || s.UpdateStatus.State != state {
			return "the update is not " + string(state)
		}
		return ""
	}
}

func newTemplate(t *testing.T, w World) {
	id, spec := w.running(t, 2)
	spec.TaskTemplate.ContainerSpec.Labels[contract.Release] = "v2"
	w.update(t, id, spec)
	w.until(t, id, updateIs(swarm.UpdateStateUpdating))
	s, _ := w.until(t, id, updateIs(swarm.UpdateStateCompleted))
	w.until(t, id, runs(2, "v2"))
	if s.PreviousSpec == nil || s.PreviousSpec.TaskTemplate.ContainerSpec.Labels[contract.Release] != "v1" {
		t.Errorf("the previous spec is %+v", s.PreviousSpec)
	}
}

// fails updates to what cannot run and gives the task that Swarm names for it.
func (w World) fails(t *testing.T, id string, spec swarm.ServiceSpec, c swarm.ContainerSpec) swarm.Task {
	t.Helper()
	bad := w.service("web", spec.TaskTemplate.Networks[0].Target, "v2", c, *spec.Mode.Replicated.Replicas)
	w.update(t, id, bad)
	s, tasks := w.until(t, id, updateIs(swarm.UpdateStatePaused))
	i := slices.IndexFunc(tasks, func(k swarm.Task) bool { return strings.Contains(s.UpdateStatus.Message, k.ID) })
	if i < 0 {
		t.Fatalf("the message %q names no task of %s", s.UpdateStatus.Message, describe(tasks))
	}
	return tasks[i]
}

func absentImage(t *testing.T, w World) {
	id, spec := w.running(t, 1)
	k := w.fails(t, id, spec, w.Absent)
	_, tasks, err := w.Swarm.Look(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tasks, func(k swarm.Task) bool {
		return k.Spec.ContainerSpec.Labels[contract.Release] == "v1" && k.DesiredState == swarm.TaskStateRunning && k.Status.State == swarm.TaskStateRunning
	}) {
		t.Errorf("start-first, and the old task does not run on: %s", describe(tasks))
	}
	if k.Status.State != swarm.TaskStateRejected || k.Status.Err == "" {
		t.Errorf("the task is %s: %q", k.Status.State, k.Status.Err)
	}
}

func crash(t *testing.T, w World) {
	id, spec := w.running(t, 1)
	k := w.fails(t, id, spec, w.Crash)
	if c := k.Status.ContainerStatus; k.Status.State != swarm.TaskStateFailed || c == nil || c.ExitCode != 3 || c.ContainerID == "" {
		t.Errorf("the task is %s: %q %+v", k.Status.State, k.Status.Err, c)
	}
	lines, err := w.Swarm.Lines(t.Context(), cluster.Place{Node: k.NodeID, Task: k.ID}, 20)
	if err != nil || !slices.Contains(lines, CrashLine) {
		t.Errorf("its last lines: %q %v", lines, err)
	}
}

func wayBack(t *testing.T, w World) {
	id, spec := w.running(t, 2)
	w.fails(t, id, spec, w.Crash)
	w.update(t, id, spec)
	w.until(t, id, updateIs(swarm.UpdateStateCompleted))
	w.until(t, id, runs(2, "v1"))
}

func networkAgain(t *testing.T, w World) {
	id, spec := w.running(t, 1)
	o, err := w.Swarm.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	name := spec.TaskTemplate.Networks[0].Target
	i := slices.IndexFunc(o.Networks, func(n plan.Network) bool { return n.Spec.Name == name })
	w.apply(t, plan.RemoveService{ID: id, Name: spec.Name})
	w.apply(t, plan.RemoveNetwork{ID: o.Networks[i].ID, Name: name})
	w.network(t, "net")
	id = w.apply(t, plan.CreateService{Spec: spec}).ID
	_, tasks := w.until(t, id, runs(1, "v1"))
	for _, k := range tasks {
		if k.Status.State == swarm.TaskStateRejected {
			t.Errorf("a task was rejected: %s", k.Status.Err)
		}
	}
}

func nodes(t *testing.T, w World) {
	all, err := w.Swarm.Nodes(t.Context())
	if err != nil || len(all) == 0 {
		t.Fatalf("%v %v", all, err)
	}
	leaders := 0
	for _, n := range all {
		if n.Description.Hostname == "" {
			t.Errorf("node %s has no name", n.ID)
		}
		if n.ManagerStatus != nil && n.ManagerStatus.Leader {
			leaders++
		}
	}
	if leaders != 1 {
		t.Errorf("%d leaders", leaders)
	}
	if err := w.Swarm.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
