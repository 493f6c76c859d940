package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
	"github.com/rolling-swarm/rolling/manager/store"
)

// How often an update is looked at: soon after something happened, else less and less.
const (
	soonest = 300 * time.Millisecond
	latest  = time.Second
)

// lastLines is how many lines of a failing task are kept.
const lastLines = 20

// follow looks at one service until its update has ended, forward or back.
func (w *work) follow(ctx context.Context, s *store.Service) error {
	for pause := soonest; ; pause = min(2*pause, latest) {
		if w.cancelled() != "" && !w.r.Back {
			return nil // the next turn goes back
		}
		observed, tasks, err := w.e.options.Cluster.Look(ctx, s.ID)
		if err != nil {
			return err
		}
		w.heard()
		if observed != nil {
			w.probe(ctx, observed, tasks)
		}
		memory, v := rollout.Look(s.Memory, rollout.Observation{Now: w.e.now(), Service: observed, Tasks: tasks})
		w.examine(ctx, &memory, &v)
		v.Reason = w.readable(ctx, v.Reason)
		if err := w.noted(s, memory, v); err != nil {
			return err
		}
		if v.Act == rollout.WriteOld {
			if err := w.writeBack(ctx, s, *observed); err != nil {
				return err
			}
		}
		if err := w.blamed(ctx, v); err != nil {
			return err
		}
		if v.Act == rollout.Done {
			return w.ended(s, v)
		}
		if v.Act == rollout.WriteOld {
			pause = soonest
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

// noted keeps what has changed since the last look, and tells of it when it is news for people.
func (w *work) noted(s *store.Service, memory rollout.Memory, v rollout.Verdict) error {
	before := *s
	s.Memory, s.Reason, s.Running, s.Wanted, s.Others = memory, v.Reason, v.Running, v.Wanted, v.Others
	if v.Act != rollout.Done {
		s.State = v.State
	}
	news := v.Act != rollout.Done && (before.Running != s.Running || before.Others != s.Others || before.Wanted != s.Wanted || before.Reason != s.Reason)
	switch {
	case memory.Back && !w.r.Back: // Look has turned: all others follow
		w.blame(v.Reason, memory.Failing)
		w.r.Back, w.r.BackAs = true, release.Failed
		if memory.TimedOut {
			w.r.BackAs = release.TimedOut
		}
		return w.save(w.about(s, v), w.event("rollout.back", "rollout %s goes back: %s", w.r.ID, w.r.Cause))
	case news:
		return w.save(w.about(s, v))
	case !reflect.DeepEqual(before.Memory, memory):
		return w.save()
	}
	return nil
}

// ended keeps how the update of one service ended, and what that means for the rollout.
func (w *work) ended(s *store.Service, v rollout.Verdict) error {
	s.State = v.State
	w.log.Info("service", "service", s.Name, "state", v.State, "reason", v.Reason)
	if v.State == rollout.Succeeded || w.r.Back {
		return w.save(w.about(s, v))
	}
	if err := w.save(w.about(s, v)); err != nil {
		return err
	}
	w.blame(v.Reason, v.Failing)
	switch v.State {
	case rollout.Paused:
		return w.end(release.Paused)
	case rollout.TimedOut:
		return w.fail(release.TimedOut)
	}
	return w.fail(release.Failed)
}

// blamed keeps the task that shows what went wrong, and fetches its last lines as soon as it has a container: Swarm keeps
// that for a while only.
func (w *work) blamed(ctx context.Context, v rollout.Verdict) error {
	f := v.Failing
	if f == nil || w.r.Failing != nil && w.r.Failing.TaskID != f.TaskID {
		return nil
	}
	news := w.r.Failing == nil
	w.blame(v.Reason, f)
	if f.ContainerID != "" && w.r.Lines == nil && (w.asked != f.TaskID || v.Act == rollout.Done) {
		w.asked = f.TaskID
		w.r.Lines = w.lines(ctx, cluster.Place{Node: f.NodeID, Task: f.TaskID, Container: f.ContainerID})
		news = news || w.r.Lines != nil
	}
	if !news {
		return nil
	}
	return w.save()
}

// readable puts the nodes' names in the place of their ids. Without an answer the ids stay.
func (w *work) readable(ctx context.Context, text string) string {
	if text == "" {
		return ""
	}
	if w.names == nil {
		nodes, err := w.e.options.Cluster.Nodes(ctx)
		if err != nil {
			return text
		}
		w.names = map[string]string{}
		for _, n := range nodes {
			w.names[n.ID] = n.Description.Hostname
		}
	}
	for id, name := range w.names {
		text = strings.ReplaceAll(text, "node "+id, "node "+name)
	}
	return text
}

func (w *work) lines(ctx context.Context, at cluster.Place) []string {
	for _, source := range w.e.options.Lines {
		lines, err := source.Lines(ctx, at, lastLines)
		if err == nil && len(lines) > 0 {
			return lines
		}
		if err != nil {
			w.log.Debug("no last lines", "task", at.Task, "err", err)
		}
	}
	return nil
}

// probe lets a task count as running only once its program has answered at its own address. Look then does with it what it
// does with a task whose health check has not passed: it waits, for as long as the project waits for progress.
func (w *work) probe(ctx context.Context, s *swarm.Service, tasks []swarm.Task) {
	port, path, ok := probeOf(s.Spec)
	if !ok || w.e.options.Probe == nil {
		return
	}
	var all sync.WaitGroup
	errs := make([]error, len(tasks))
	for i, t := range tasks {
		at, found := reachable(t)
		if !found || w.ready[t.ID] || t.Status.State != swarm.TaskStateRunning || t.DesiredState != swarm.TaskStateRunning {
			continue
		}
		w.ready[t.ID] = true
		all.Go(func() { errs[i] = w.e.options.Probe.Probe(ctx, netip.AddrPortFrom(at, port), path) })
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			delete(w.ready, tasks[i].ID)
			tasks[i].Status.State, tasks[i].Status.Err = swarm.TaskStateStarting, err.Error()
		}
	}
}

// probeOf reads the label rolling.probe: PORT or PORT/PATH.
func probeOf(s swarm.ServiceSpec) (port uint16, path string, ok bool) {
	text, path, _ := strings.Cut(s.Labels[contract.Probe], "/")
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), "/" + path, err == nil && n > 0
}

// reachable is the first address of a task on a network whose addresses the whole data centre can reach.
func reachable(t swarm.Task) (netip.Addr, bool) {
	for _, a := range t.NetworksAttachments {
		if driverOf(a.Network) == contract.PluginNet && len(a.Addresses) > 0 {
			return a.Addresses[0].Addr(), true
		}
	}
	return netip.Addr{}, false
}

func driverOf(n swarm.Network) string {
	if n.DriverState.Name == "" && n.Spec.DriverConfiguration != nil {
		return n.Spec.DriverConfiguration.Name
	}
	return n.DriverState.Name
}

func copied[T any](v T) (out T, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		err = fmt.Errorf("copy %T: %w", v, err)
	}
	return out, err
}
