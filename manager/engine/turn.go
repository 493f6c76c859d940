package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Limits of patience with what should not go on for long.
const (
	mostConflicts = 20
	mostStrange   = 20
	afterConflict = 200 * time.Millisecond
)

// turn does one thing and says how long to wait before the next. Each turn observes and plans anew, so that it makes no
// difference whether the last one was a moment ago or before a restart.
func (w *work) turn(ctx context.Context) (time.Duration, error) {
	if by := w.cancelled(); by != "" && !w.r.Back {
		w.blame("cancelled by "+by, nil)
		return 0, w.turnBack(release.Cancelled)
	}
	if w.r.Back {
		return 0, w.back(ctx)
	}
	if s := w.inFlight(); s != nil && s.Written {
		return 0, w.follow(ctx, s)
	}
	d, err := w.e.draw(ctx, w.aim)
	if CodeOf(err) == Invalid {
		w.blame(err.Error(), nil)
		return 0, w.fail(release.Failed)
	}
	if err != nil {
		return 0, err
	}
	if s := w.inFlight(); s != nil {
		return 0, w.settle(s, d)
	}
	return w.next(ctx, d)
}

// inFlight gives the service whose update has not ended; there is one at most on the way forward.
func (w *work) inFlight() *store.Service {
	if n := len(w.r.Services); n > 0 && w.r.Services[n-1].State == rollout.Progressing {
		return &w.r.Services[n-1]
	}
	return nil
}

// settle finds out whether a write was taken whose answer was lost: if nothing is left to be written, it was.
func (w *work) settle(s *store.Service, d drawing) error {
	name := s.Name
	left := slices.ContainsFunc(d.Steps, func(step plan.Step) bool { return step.Object() == "service "+name && asService(step) != nil })
	i := slices.IndexFunc(d.observed.Services, func(has swarm.Service) bool { return has.Spec.Name == name })
	if left || i < 0 {
		w.r.Services = w.r.Services[:len(w.r.Services)-1]
		return w.save()
	}
	s.ID, s.Written, s.Memory.Version = d.observed.Services[i].ID, true, d.observed.Services[i].Version.Index
	return w.save()
}

// next carries out the first step that is left, or ends the rollout.
func (w *work) next(ctx context.Context, d drawing) (time.Duration, error) {
	if len(d.Blocked) > 0 {
		w.blame(fmt.Sprintf("%s: %s", d.Blocked[0].Object, d.Blocked[0].Text), nil)
		return 0, w.fail(release.Failed)
	}
	for _, s := range d.Steps {
		done := slices.Contains(w.r.Objects, s.Object()) || slices.ContainsFunc(w.r.Services, func(has store.Service) bool { return "service "+has.Name == s.Object() })
		if done && removes(s) {
			continue // it was refused, and is noted
		}
		if done {
			w.blame(otherwise(s), nil)
			return 0, w.fail(release.Failed)
		}
		if asService(s) != nil {
			return w.service(ctx, s, d)
		}
		return w.object(ctx, s)
	}
	return 0, w.end(release.Succeeded)
}

func removes(s plan.Step) bool {
	switch s.(type) {
	case plan.RemoveService, plan.RemoveNetwork, plan.RemoveConfig, plan.RemoveSecret:
		return true
	}
	return false
}

// otherwise says what it means that a step comes again after it was done.
func otherwise(s plan.Step) string {
	u, ok := s.(plan.UpdateService)
	if !ok {
		return s.Object() + " was made and is gone again: somebody removed it while the rollout ran"
	}
	var changes []string
	for _, c := range u.Changes {
		changes = append(changes, c.String())
	}
	who := "Swarm shows it otherwise than it was written"
	if u.ByHand {
		who = "somebody changed it by hand while the rollout ran"
	}
	return fmt.Sprintf("%s: %s (%s)", s.Object(), who, strings.Join(changes, "; "))
}

// object makes or removes a network, config or secret, or removes a service.
func (w *work) object(ctx context.Context, s plan.Step) (time.Duration, error) {
	applied, err := w.e.apply(ctx, s)
	if err != nil && removes(s) && !errors.Is(err, cluster.ErrAway) && ctx.Err() == nil {
		// What runs is right already: what could not be cleared away shows in the next plan.
		w.r.Notes = append(w.r.Notes, "not removed: "+err.Error())
		err = nil
	}
	if err != nil {
		return w.notTaken(err)
	}
	w.taken(applied)
	w.r.Objects = append(w.r.Objects, s.Object())
	return 0, w.save(w.event("rollout.step", "%s", s))
}

func (w *work) taken(applied cluster.Applied) {
	w.conflicts, w.strange = 0, 0
	w.r.Notes = append(w.r.Notes, applied.Warnings...)
}

// notTaken judges a write that failed: observe and decide again, or give up.
func (w *work) notTaken(err error) (time.Duration, error) {
	switch {
	case errors.Is(err, cluster.ErrAway), errors.Is(err, context.Canceled):
		return 0, err
	case errors.Is(err, cluster.ErrConflict), errors.Is(err, cluster.ErrGone):
		if w.conflicts++; w.conflicts < mostConflicts {
			return afterConflict, nil
		}
	case errors.Is(err, cluster.ErrRefused):
	default:
		if w.strange++; w.strange < mostStrange {
			w.log.Warn("Swarm failed to take a step, which is tried again", "err", err)
			return again, nil
		}
	}
	w.blame(err.Error(), nil)
	return 0, w.fail(release.Failed)
}

// service writes one service: first into the store that it is about to, then to Swarm, then into the store that it is done.
func (w *work) service(ctx context.Context, step plan.Step, d drawing) (time.Duration, error) {
	u, isUpdate := step.(plan.UpdateService)
	mayOverwrite := w.r.Overwrite || w.r.Only != "" && onlyCounts([]plan.Step{step})
	if isUpdate && u.ByHand && !mayOverwrite {
		w.blame(otherwise(step), nil)
		return 0, w.fail(release.Failed)
	}
	if pause, err := w.room(ctx, step, d); pause > 0 || err != nil || w.r.State != release.Running || w.r.Back {
		return pause, err
	}
	written := rollout.Written{Spec: *asService(step), Rollout: w.aim.environment.Rollout, StartedAt: w.e.now()}
	s := store.Service{Name: written.Spec.Name, State: rollout.Progressing, Wanted: -1}
	if isUpdate {
		before, err := named(u.Before, d.observed)
		if err != nil {
			return 0, err
		}
		s.ID, s.Before, written.Before, written.Version = u.ID, &before, &before, u.Version.Index
	}
	s.Memory = rollout.Begin(written)
	s.Wanted = s.Memory.Wanted
	w.r.Services = append(w.r.Services, s)
	if err := w.save(w.event("rollout.step", "%s", step)); err != nil {
		return 0, err
	}
	applied, err := w.e.options.Cluster.Apply(ctx, step)
	if err != nil {
		if errors.Is(err, cluster.ErrConflict) || errors.Is(err, cluster.ErrGone) || errors.Is(err, cluster.ErrRefused) {
			w.r.Services = w.r.Services[:len(w.r.Services)-1] // it was not written
			if err := w.save(); err != nil {
				return 0, err
			}
		}
		return w.notTaken(err)
	}
	w.taken(applied)
	last := &w.r.Services[len(w.r.Services)-1]
	last.ID, last.Written, last.Memory.Version = applied.ID, true, applied.Version
	return 0, w.save()
}

// room waits until there are enough addresses: Swarm would leave a task without one new for ever, and tell nobody.
func (w *work) room(ctx context.Context, step plan.Step, d drawing) (time.Duration, error) {
	tasks, err := w.e.options.Cluster.Tasks(ctx)
	if err != nil {
		return 0, err
	}
	room := roomFor(step, d.observed, holdersOf(d.observed, tasks), map[string]int{})
	if room.Enough() {
		w.tight = time.Time{}
		return 0, nil
	}
	now := w.e.now()
	if w.tight.IsZero() {
		w.tight = now
		return again, w.save(w.event("rollout.progress", "rollout %s waits: %s", w.r.ID, room))
	}
	if now.Sub(w.tight) < w.aim.environment.Rollout.Deadline {
		return again, nil
	}
	w.blame(fmt.Sprintf("no room for %s: %s", w.aim.environment.Rollout.Deadline, room), nil)
	return 0, w.fail(release.TimedOut)
}

// named is a service as it is written: networks by name, as ids may be other ones by the time it is written back.
func named(s swarm.ServiceSpec, o plan.Observed) (swarm.ServiceSpec, error) {
	out, err := copied(s)
	for i, n := range out.TaskTemplate.Networks {
		for _, has := range o.Networks {
			if has.ID == n.Target {
				out.TaskTemplate.Networks[i].Target = has.Spec.Name
			}
		}
	}
	return out, err
}

// fail ends the rollout where it stands, or turns it back, as the project wants it. A scale has nothing to go back to.
func (w *work) fail(as release.Outcome) error {
	if w.aim.environment.Rollout.OnFailure == project.OnFailurePause || Kind(w.r.Kind) == KindScale {
		return w.end(as)
	}
	return w.turnBack(as)
}

// turnBack begins the way back; as is how the rollout ends if not everything comes back.
func (w *work) turnBack(as release.Outcome) error {
	w.r.Back, w.r.BackAs = true, as
	return w.save(w.event("rollout.back", "rollout %s goes back: %s", w.r.ID, w.r.Cause))
}
