// Package pagestest plays the engine behind the dashboard, for tests and for looking at pages: a small company with
// projects in every state that a person may meet. It knows what the door relies on, and no Swarm.
package pagestest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// World is the fake. Its fields are set before it is used, or under Change.
type World struct {
	Now      time.Time
	Views    []engine.Overview
	Made     map[project.Name][]engine.Release
	Closed   map[project.Name]engine.Gates
	Running  map[string][]engine.Task // by project/environment
	Measured map[string]engine.Samples
	Lines    map[string][]string
	History  []engine.Rollout // newest first
	Stories  map[engine.RolloutID][]engine.Event
	Plans    map[string]engine.Plan // by project/environment/release; "back" for a way back

	SwarmAway error // what Swarm answers instead
	StoreAway error // what the store answers instead
	TailError error
	Refusal   error // what an act is answered with instead
	Log       *slog.Logger

	mu     sync.Mutex // guards all above while pages are served, and the rest
	Done   []string   // the acts, in words
	events []engine.Event
	news   chan struct{}
}

// Parts are the world as the door takes it.
func (w *World) Parts() pages.Parts {
	return pages.Parts{Projects: w, Releases: w, Tasks: w, Deployments: w, Plans: w, Rollouts: w, Events: w, Version: "1.2.3", Log: w.Log,
		Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.Now }}
}

// Change changes the world while pages are served.
func (w *World) Change(f func(*World)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// Tell lets something happen.
func (w *World) Tell(e engine.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Seq, e.At = uint64(len(w.events))+1, w.Now
	w.events = append(w.events, e)
	if w.news != nil {
		close(w.news)
		w.news = nil
	}
}

// Acts gives what was done so far.
func (w *World) Acts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.Done)
}

func (w *World) hold() func() {
	w.mu.Lock()
	return w.mu.Unlock
}

// Missing is the engine's refusal for what there is none of.
func Missing(format string, args ...any) error { return Refuse(engine.NotFound, format, args...) }

type inner = engine.Error

type refusal struct {
	text string
	inner
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return &r.inner }

// Refuse makes a refusal of the engine with a text of its own.
func Refuse(code engine.Code, format string, args ...any) error {
	return &refusal{fmt.Sprintf(format, args...), inner{Code: code}}
}

// Overviews gives all projects.
func (w *World) Overviews(context.Context) ([]engine.Overview, error) {
	defer w.hold()()
	if err := errors.Join(w.StoreAway, w.SwarmAway); err != nil {
		return nil, err
	}
	return w.Views, nil
}

// Projects gives them without what Swarm shows.
func (w *World) Projects(context.Context) ([]engine.Project, error) {
	defer w.hold()()
	var all []engine.Project
	for _, v := range w.Views {
		p := v.Project
		p.Environments = slices.Clone(p.Environments)
		for i := range p.Environments {
			p.Environments[i].Services = nil
		}
		all = append(all, p)
	}
	return all, w.StoreAway
}

// Project gives one.
func (w *World) Project(_ context.Context, name project.Name) (engine.Project, error) {
	defer w.hold()()
	if err := errors.Join(w.StoreAway, w.SwarmAway); err != nil {
		return engine.Project{}, err
	}
	for _, v := range w.Views {
		if v.Name == name {
			return v.Project, nil
		}
	}
	return engine.Project{}, Missing("project %s: there is none of that name", name)
}

// Releases gives them newest first.
func (w *World) Releases(_ context.Context, name project.Name) ([]engine.Release, error) {
	defer w.hold()()
	return w.Made[name], w.StoreAway
}

// Gates gives those that are closed.
func (w *World) Gates(_ context.Context, name project.Name, _ []release.ID) (engine.Gates, error) {
	defer w.hold()()
	return w.Closed[name], w.StoreAway
}

// Tasks gives an environment's.
func (w *World) Tasks(_ context.Context, p project.Name, e project.EnvironmentName) ([]engine.Task, error) {
	defer w.hold()()
	return slices.Clone(w.Running[string(p)+"/"+string(e)]), w.SwarmAway
}

// Samples gives what was measured.
func (w *World) Samples(_ context.Context, ids []string) (map[string]engine.Samples, error) {
	defer w.hold()()
	found := map[string]engine.Samples{}
	for _, id := range ids {
		if s, ok := w.Measured[id]; ok {
			found[id] = s
		}
	}
	return found, nil
}

// Tail gives the last lines.
func (w *World) Tail(_ context.Context, id string, n int) ([]string, error) {
	defer w.hold()()
	all := w.Lines[id]
	return all[max(0, len(all)-n):], w.TailError
}

// Plan gives what was laid down for it, or an empty plan.
func (w *World) Plan(_ context.Context, o engine.PlanOf) (engine.Plan, error) {
	defer w.hold()()
	if w.SwarmAway != nil {
		return engine.Plan{}, w.SwarmAway
	}
	if p, ok := w.Plans[fmt.Sprintf("%s/%s/%s", o.Project, o.Environment, o.Release)]; ok {
		return p, nil
	}
	return engine.Plan{Project: o.Project, Environment: o.Environment, Release: o.Release, Empty: true, Text: "nothing to do"}, nil
}

// PlanBack gives the way back that was laid down.
func (w *World) PlanBack(_ context.Context, p project.Name, e project.EnvironmentName) (engine.Plan, error) {
	defer w.hold()()
	if found, ok := w.Plans[fmt.Sprintf("%s/%s/back", p, e)]; ok {
		return found, nil
	}
	return engine.Plan{}, Missing("roll back %s-%s: no other release has succeeded there", p, e)
}

// Rollouts lists them.
func (w *World) Rollouts(_ context.Context, o engine.RolloutsOf) ([]engine.Rollout, error) {
	defer w.hold()()
	var found []engine.Rollout
	beyond := o.Before == ""
	for _, r := range w.History {
		if beyond && (o.Project == "" || r.Project == o.Project) && (o.Environment == "" || r.Environment == o.Environment) && len(found) < o.Limit {
			found = append(found, r)
		}
		beyond = beyond || r.ID == o.Before
	}
	return found, w.StoreAway
}

// Rollout gives one.
func (w *World) Rollout(_ context.Context, id engine.RolloutID) (engine.Rollout, error) {
	defer w.hold()()
	for _, r := range w.History {
		if r.ID == id {
			return r, w.StoreAway
		}
	}
	return engine.Rollout{}, Missing("rollout %s: there is none of that name", id)
}

// Story gives what happened in it.
func (w *World) Story(_ context.Context, id engine.RolloutID) ([]engine.Event, error) {
	defer w.hold()()
	return w.Stories[id], w.StoreAway
}

func (w *World) do(id engine.RolloutID, format string, args ...any) (engine.Rollout, error) {
	defer w.hold()()
	if w.Refusal != nil {
		return engine.Rollout{}, w.Refusal
	}
	w.Done = append(w.Done, fmt.Sprintf(format, args...))
	return engine.Rollout{ID: id}, nil
}

// Deploy notes it.
func (w *World) Deploy(_ context.Context, o engine.Deploy) (engine.Rollout, error) {
	return w.do("ro900", "deploy %s to %s/%s by %s overwrite %v", o.Release, o.Project, o.Environment, o.By, o.Overwrite)
}

// Promote notes it.
func (w *World) Promote(_ context.Context, o engine.Deploy) (engine.Rollout, error) {
	return w.do("ro900", "promote %s to %s/%s by %s overwrite %v", o.Release, o.Project, o.Environment, o.By, o.Overwrite)
}

// Rollback notes it.
func (w *World) Rollback(_ context.Context, o engine.Rollback) (engine.Rollout, error) {
	return w.do("ro900", "roll back %s/%s by %s overwrite %v", o.Project, o.Environment, o.By, o.Overwrite)
}

// Scale notes it.
func (w *World) Scale(_ context.Context, o engine.Scale) (engine.Rollout, error) {
	to := "the file's own"
	if o.Replicas != nil {
		to = fmt.Sprint(*o.Replicas)
	}
	return w.do("ro900", "scale %s of %s/%s to %s by %s", o.Service, o.Project, o.Environment, to, o.By)
}

// Cancel notes it.
func (w *World) Cancel(_ context.Context, o engine.Cancel) (engine.Rollout, error) {
	return w.do(o.Rollout, "cancel %s by %s", o.Rollout, o.By)
}

// LastEvent is the newest event's number.
func (w *World) LastEvent(context.Context) (uint64, error) {
	defer w.hold()()
	return uint64(len(w.events)), w.StoreAway
}

// Events gives those beyond since as they happen.
func (w *World) Events(ctx context.Context, since uint64) (<-chan engine.Event, error) {
	out := make(chan engine.Event)
	go func() {
		defer close(out)
		for {
			w.mu.Lock()
			if w.news == nil {
				w.news = make(chan struct{})
			}
			news, found := w.news, slices.Clone(w.events[min(since, uint64(len(w.events))):])
			w.mu.Unlock()
			for _, e := range found {
				select {
				case out <- e:
					since = e.Seq
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}
