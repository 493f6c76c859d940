package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
	"github.com/rolling-swarm/rolling/manager/spec"
	"github.com/rolling-swarm/rolling/manager/store"
)

// back brings back one service of those that the rollout has touched, the last one first; when none is left, the rollout
// ends. Configs, secrets and networks that were made stay until a later success: the next attempt most likely wants them.
func (w *work) back(ctx context.Context) error {
	for i := range slices.Backward(w.r.Services) {
		s := &w.r.Services[i]
		switch {
		case s.State == rollout.RolledBack || s.Memory.Back && s.State.Ended():
			continue
		case !s.Written:
			return w.settleBack(ctx, i)
		case s.Before == nil && w.ranNothing():
			continue // nothing is there to go back to, and what failed can be looked at
		case s.Before == nil:
			return w.remove(ctx, s)
		}
		return w.bringBack(ctx, s)
	}
	return w.end(w.outcome())
}

// ranNothing: the environment was empty before, so there is no good state to bring back. Whoever cancels wants even that.
func (w *work) ranNothing() bool {
	return w.r.From == "" && w.r.BackAs != release.Cancelled &&
		!slices.ContainsFunc(w.r.Services, func(s store.Service) bool { return s.Before != nil })
}

// outcome: rolled back means that every service was seen to run as before.
func (w *work) outcome() release.Outcome {
	all := !slices.ContainsFunc(w.r.Services, func(s store.Service) bool { return s.State != rollout.RolledBack })
	switch {
	case all && w.r.BackAs == release.Cancelled:
		return release.Cancelled
	case all && (len(w.r.Services) > 0 || w.r.From != ""):
		return release.RolledBack
	case w.r.BackAs == release.Cancelled:
		return release.Failed
	}
	return w.r.BackAs
}

// settleBack finds out whether a write was taken whose answer was lost. If in doubt it was: writing back once too often
// does no harm.
func (w *work) settleBack(ctx context.Context, i int) error {
	o, err := w.e.options.Cluster.Observe(ctx)
	if err != nil {
		return err
	}
	s := &w.r.Services[i]
	at := slices.IndexFunc(o.Services, func(has swarm.Service) bool { return has.Spec.Name == s.Name })
	if at < 0 {
		w.r.Services = slices.Delete(w.r.Services, i, i+1)
		return w.save()
	}
	s.ID, s.Written = o.Services[at].ID, true
	return w.save()
}

// remove takes away a service that was not there before.
func (w *work) remove(ctx context.Context, s *store.Service) error {
	step := plan.RemoveService{ID: s.ID, Name: s.Name, Why: "it was not there before the rollout"}
	if _, err := w.e.options.Cluster.Apply(ctx, step); err != nil {
		if errors.Is(err, cluster.ErrAway) || ctx.Err() != nil {
			return err
		}
		s.State, s.Reason, s.Memory.Back = rollout.Failed, err.Error(), true
		return w.save(w.event("rollout.progress", "%s", err))
	}
	s.State, s.Reason, s.Running, s.Others = rollout.RolledBack, "removed again", 0, 0
	return w.save(w.event("rollout.step", "%s", step))
}

// bringBack writes what ran before and watches it come up. A service that somebody else has written over is left alone.
func (w *work) bringBack(ctx context.Context, s *store.Service) error {
	if s.State == rollout.Failed && *s.Memory.Old != s.Memory.New {
		s.Memory.Back = true
		return w.save()
	}
	if !s.Memory.Back {
		s.Memory.Back, s.Memory.Score, s.Memory.Standing, s.Memory.Progressed = true, math.MinInt, time.Time{}, w.e.now()
		s.Memory.Cause, s.Memory.Failing = w.r.Cause, w.r.Failing
		s.State = rollout.Progressing
		if err := w.save(w.event("rollout.step", "service %s goes back to release %s", s.Name, s.Memory.Old.Release)); err != nil {
			return err
		}
	}
	// Where no task was to be replaced Look cannot tell old from new, and does not ask for the write.
	if *s.Memory.Old == s.Memory.New {
		if err := w.restore(ctx, s); err != nil {
			return err
		}
	}
	return w.follow(ctx, s)
}

// restore writes the old spec of a service whose template was not changed, until Swarm has it.
func (w *work) restore(ctx context.Context, s *store.Service) error {
	for {
		observed, _, err := w.e.options.Cluster.Look(ctx, s.ID)
		if err != nil {
			return err
		}
		if observed == nil {
			return nil // Look will say so
		}
		done, err := w.write(ctx, s, *observed)
		if err != nil || done {
			return err
		}
		if !sleep(ctx, afterConflict) {
			return ctx.Err()
		}
	}
}

// writeBack writes the old spec once; whether it was taken, the next look tells.
func (w *work) writeBack(ctx context.Context, s *store.Service, observed swarm.Service) error {
	_, err := w.write(ctx, s, observed)
	return err
}

// write gives false when somebody else wrote meanwhile. What Swarm refuses is kept as a note: Look ends the way back when
// it has made no progress for long enough.
func (w *work) write(ctx context.Context, s *store.Service, observed swarm.Service) (bool, error) {
	old, err := spec.Seal(w.before(s, observed.Spec))
	if err != nil {
		return false, err
	}
	step := plan.UpdateService{ID: s.ID, Version: observed.Version, Before: observed.Spec, Spec: old, Restarts: true, Why: "back to what ran before"}
	_, err = w.e.options.Cluster.Apply(ctx, step)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, cluster.ErrConflict):
		return false, nil
	case errors.Is(err, cluster.ErrAway) || ctx.Err() != nil:
		return false, err
	}
	w.log.Error("the old release is not taken back", "service", s.Name, "err", err)
	if note := "not written back: " + err.Error(); !slices.Contains(w.r.Notes, note) {
		w.r.Notes = append(w.r.Notes, note)
		return true, w.save(w.event("rollout.progress", "%s", note))
	}
	return true, nil
}

// before is what ran before, with the count of now. A count that this rollout itself has brought goes back too.
func (w *work) before(s *store.Service, now swarm.ServiceSpec) swarm.ServiceSpec {
	if s.Memory.Wanted == replicas(now) {
		return *s.Before
	}
	return rollout.Back(*s.Before, now)
}
