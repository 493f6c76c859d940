package engine

import (
	"context"

	"github.com/rolling-swarm/rolling/manager/rollout"
	"github.com/rolling-swarm/rolling/manager/store"
)

// usualPage is how many things a list holds unless somebody wants another count.
const usualPage = 50

// Rollouts lists rollouts, newest first, without plan and lines.
func (e *Engine) Rollouts(_ context.Context, o RolloutsOf) ([]Rollout, error) {
	if o.Environment != "" && o.Project == "" {
		return nil, refusal(Invalid, "rollouts of environment %s: name its project too", o.Environment)
	}
	if o.Limit <= 0 {
		o.Limit = usualPage
	}
	var views []Rollout
	err := e.options.Store.View(func(tx store.Tx) error {
		if o.Project != "" {
			if _, err := getProject(tx, o.Project); err != nil {
				return err
			}
		}
		all, err := store.Rollouts(tx, o.Project, o.Environment, o.Before, o.Limit)
		for _, r := range all {
			v := viewOfRollout(r)
			v.Plan, v.Lines = "", nil
			views = append(views, v)
		}
		return err
	})
	return views, err
}

// Rollout gives one rollout.
func (e *Engine) Rollout(_ context.Context, id RolloutID) (Rollout, error) {
	var view Rollout
	err := e.options.Store.View(func(tx store.Tx) error {
		r, err := getRollout(tx, id)
		view = viewOfRollout(r)
		return err
	})
	return view, err
}

func viewOfRollout(r store.Rollout) Rollout {
	v := Rollout{
		ID: r.ID, Kind: Kind(r.Kind), Project: r.Project, Environment: r.Environment, Release: r.Release, From: r.From, By: r.By,
		State: r.State, Started: r.Started, GoingBack: r.Back, Cause: r.Cause, Failing: r.Failing, Lines: r.Lines, Notes: r.Notes, Plan: r.Plan,
	}
	if !r.Ended.IsZero() {
		v.Ended, v.GoingBack = &r.Ended, false
	}
	for _, s := range r.Services {
		v.Services = append(v.Services, progressOf(s))
	}
	return v
}

func progressOf(s store.Service) Progress {
	if s.State == "" {
		s.State = rollout.Progressing
	}
	return Progress{Service: s.Name, State: s.State, Running: s.Running, Wanted: s.Wanted, Others: s.Others, Reason: s.Reason}
}

// Audit lists who did what, newest first: at most limit entries (0: 100) that are older than before (0: from the newest).
func (e *Engine) Audit(_ context.Context, limit int, before uint64) ([]AuditEntry, error) {
	if limit <= 0 {
		limit = 2 * usualPage
	}
	var views []AuditEntry
	err := e.options.Store.View(func(tx store.Tx) error {
		all, err := store.Audit(tx, before, limit)
		for _, a := range all {
			views = append(views, AuditEntry(a))
		}
		return err
	})
	return views, err
}
