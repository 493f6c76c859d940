package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
	"github.com/rolling-swarm/rolling/manager/store"
)

// again is how long a rollout waits after a failure that may pass.
const again = time.Second

// Run works at rollouts until ctx ends: first at those that an earlier manager left. A rollout that ctx interrupts stays
// as it is, and is gone on with by the next Run.
func (e *Engine) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { e.warm(ctx) })
	all.Go(func() { e.watch(ctx) })
	for first := true; ; first = false {
		left := first // by an earlier manager
		var found []store.Rollout
		err := e.options.Store.View(func(tx store.Tx) (err error) {
			found, err = store.Running(tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("look for rollouts: %w", err)
		}
		for _, r := range found {
			if e.take(r.ID) {
				all.Go(func() {
					defer e.leave(r.ID)
					e.work(ctx, r.ID, left)
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.begun:
		}
	}
}

// take says whether nobody works at a rollout yet; then the caller does.
func (e *Engine) take(id RolloutID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.working[id] {
		return false
	}
	e.working[id] = true
	return true
}

func (e *Engine) leave(id RolloutID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.working, id)
	delete(e.cancelled, id)
}

// work is one rollout in the hands of one goroutine. What it holds it can lose: all that matters is in r, which is kept
// before each write to Swarm and after.
type work struct {
	e   *Engine
	log *slog.Logger
	aim aim
	r   store.Rollout

	ready     map[string]bool   // tasks whose program has answered the probe
	asked     string            // the task whose last lines were asked for
	examined  map[string]bool   // tasks whose health check was asked for
	names     map[string]string // of nodes, by id; nil: not asked yet
	conflicts int               // writes in a row that lost a race
	strange   int               // failures in a row that have no kind
	silent    time.Time         // since when Swarm gives no answer; zero: it does
	tight     time.Time         // since when there is no room for the next step; zero: there is
}

// work goes on with a rollout until it has ended or ctx has.
func (e *Engine) work(ctx context.Context, id RolloutID, left bool) {
	w := &work{e: e, log: e.options.Log.With("rollout", string(id)), ready: map[string]bool{}, examined: map[string]bool{}}
	for noted := !left; ; {
		err := w.load(id)
		if err == nil && !noted {
			if err = w.resumed(); err == nil {
				noted = true
			}
		}
		if err == nil {
			err = w.untilEnded(ctx)
		}
		if code := CodeOf(err); code == Invalid || code == NotFound { // what it is made of is gone: no try brings it back
			w.blame(err.Error(), nil)
			err = w.end(release.Failed)
		}
		if err == nil || ctx.Err() != nil {
			return
		}
		w.log.Error("the rollout cannot go on, and is tried again", "err", err)
		if !sleep(ctx, again) {
			return
		}
	}
}

// load reads the rollout and all that it is made of.
func (w *work) load(id RolloutID) error {
	return w.e.options.Store.View(func(tx store.Tx) (err error) {
		if w.r, err = getRollout(tx, id); err != nil {
			return err
		}
		w.aim, err = w.e.aimAt(tx, w.r.Project, w.r.Environment, w.r.Release, w.r.Version)
		w.aim.replicas, w.aim.only, w.aim.rollout = w.r.Replicas, w.r.Only, id
		return err
	})
}

// resumed tells people that the manager was away.
func (w *work) resumed() error {
	text := fmt.Sprintf("the manager was started anew at %s while this ran, and goes on from what Swarm shows", w.e.now().Format(time.RFC3339))
	w.r.Notes = append(w.r.Notes, text)
	for i := range w.r.Services {
		w.r.Services[i].Memory.Progressed = w.e.now() // nobody looked: it may have made progress all the time
	}
	return w.save(w.event("rollout.progress", "rollout %s: %s", w.r.ID, text))
}

// untilEnded takes turns until the rollout has ended. An error is one of the store.
func (w *work) untilEnded(ctx context.Context) error {
	for w.r.State == release.Running {
		pause, err := w.turn(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			w.heard()
		} else if pause, err = w.troubled(err); err != nil {
			return err
		}
		if w.r.State == release.Running && !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
	return nil
}

// troubled judges a failure that may pass: it is waited for as long as the project waits for progress.
func (w *work) troubled(err error) (time.Duration, error) {
	if !errors.Is(err, cluster.ErrAway) {
		return 0, err
	}
	now, deadline := w.e.now(), w.aim.environment.Rollout.Deadline
	switch {
	case w.silent.IsZero():
		w.silent = now
		w.log.Warn("Swarm does not answer", "err", err)
		return again, w.save(w.event("rollout.progress", "rollout %s waits: %s", w.r.ID, err))
	case now.Sub(w.silent) < deadline:
		return again, nil
	}
	w.blame(fmt.Sprintf("Swarm has not answered for %s (%s): what it does meanwhile nobody knows", deadline, err), nil)
	return 0, w.end(release.Failed)
}

// heard ends a silence of Swarm. What it did meanwhile nobody saw, so that time does not count as one without progress.
func (w *work) heard() {
	if w.silent.IsZero() {
		return
	}
	for i := range w.r.Services {
		m := &w.r.Services[i].Memory
		m.Progressed = m.Progressed.Add(w.e.now().Sub(w.silent))
	}
	w.silent = time.Time{}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// event begins an event of this rollout.
func (w *work) event(kind, format string, args ...any) store.Event {
	return store.Event{Type: kind, Project: w.r.Project, Environment: w.r.Environment, Release: w.r.Release, Rollout: w.r.ID, Text: fmt.Sprintf(format, args...)}
}

// about is an event of one service.
func (w *work) about(s *store.Service, v rollout.Verdict) store.Event {
	shown := *s
	shown.Before, shown.Memory = nil, rollout.Memory{}
	e := w.event("rollout.progress", "service %s: %s", s.Name, v)
	e.Service = &shown
	return e
}

// save keeps how the rollout stands, in one transaction with what tells of it.
func (w *work) save(events ...store.Event) error {
	return w.e.update(func(tx store.Tx) error {
		kept, err := getRollout(tx, w.r.ID)
		if err != nil {
			return err
		}
		w.r.Cancel = kept.Cancel
		for _, v := range events {
			v.State = w.r.State
			if _, err := w.e.event(tx, v); err != nil {
				return err
			}
		}
		return store.PutRollout(tx, w.r)
	})
}

// cancelled says who wants the rollout stopped, or "".
func (w *work) cancelled() string {
	if w.r.Cancel != "" {
		return w.r.Cancel
	}
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	return w.e.cancelled[w.r.ID]
}

// blame keeps the first cause, and lets later ones go.
func (w *work) blame(cause string, f *rollout.Failing) {
	if w.r.Cause == "" {
		w.r.Cause = cause
	}
	if w.r.Failing == nil {
		w.r.Failing = f
	}
}

// over is a rollout that has ended: what only the way back needs is dropped.
func over(r store.Rollout, outcome release.Outcome, at time.Time) store.Rollout {
	r.State, r.Ended = outcome, at
	if outcome == release.Succeeded {
		if r.Cause != "" {
			r.Notes = append(r.Notes, "on the way: "+r.Cause)
		}
		r.Cause, r.Failing, r.Lines = "", nil, nil
	}
	r.Services = slices.Clone(r.Services)
	for i := range r.Services {
		r.Services[i].Before, r.Services[i].Memory = nil, rollout.Memory{}
	}
	return r
}

// end keeps how the rollout ended, frees the environment, and after a success moves on what it should run.
func (w *work) end(outcome release.Outcome) error {
	r := over(w.r, outcome, w.e.now())
	text := fmt.Sprintf("rollout %s of %s to release %s: %s", r.ID, project.Namespace(r.Project, r.Environment), r.Release, outcome)
	if r.Cause != "" {
		text += ": " + r.Cause
	}
	err := w.e.update(func(tx store.Tx) error {
		kept, err := getRollout(tx, r.ID)
		if err != nil {
			return err
		}
		r.Cancel = kept.Cancel
		state, err := store.GetEnvironment(tx, r.Project, r.Environment)
		if err != nil {
			return err
		}
		state.Rollout = ""
		if outcome == release.Succeeded && Kind(r.Kind) != KindScale {
			state.Release, state.Version = r.Release, r.Version
		}
		v := w.event("rollout.ended", "%s", text)
		v.State = outcome
		_, err = w.e.event(tx, v)
		return errors.Join(err, store.PutRollout(tx, r), store.PutEnvironment(tx, state), w.e.deployment(tx, r, w.aim),
			w.e.entry(tx, "", string(outcome), string(r.ID), "%s", text))
	})
	if err != nil {
		return err
	}
	w.r = r
	w.log.Info("rollout ended", "project", r.Project, "environment", r.Environment, "release", r.Release, "outcome", outcome, "cause", r.Cause)
	return nil
}
