package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// order is what somebody wants begun.
type order struct {
	kind        Kind
	project     project.Name
	environment project.EnvironmentName
	release     release.ID // "": the one that runs there
	version     uint64     // of the project file; 0: the newest
	service     project.ServiceName
	replicas    *uint64
	by          string
	overwrite   bool
}

// Deploy begins to bring an environment to a release, if nothing speaks against it. It returns at once: see Watch.
func (e *Engine) Deploy(ctx context.Context, o Deploy) (Rollout, error) {
	if o.Release == "" {
		return Rollout{}, refusal(Invalid, "deploy to %s: name a release", project.Namespace(o.Project, o.Environment))
	}
	return e.begin(ctx, order{kind: KindDeploy, project: o.Project, environment: o.Environment, release: o.Release, by: o.By, overwrite: o.Overwrite})
}

// Promote is Deploy to the next stage that the release has not reached, unless an environment is named.
func (e *Engine) Promote(ctx context.Context, o Deploy) (Rollout, error) {
	if o.Environment == "" {
		err := e.options.Store.View(func(tx store.Tx) (err error) {
			o.Environment, err = e.nextStage(tx, o.Project, o.Release)
			return err
		})
		if err != nil {
			return Rollout{}, err
		}
	}
	return e.Deploy(ctx, o)
}

// nextStage gives the one environment of the stage after the furthest that the release has reached.
func (e *Engine) nextStage(tx store.Tx, name project.Name, id release.ID) (project.EnvironmentName, error) {
	p, err := getProject(tx, name)
	if err != nil {
		return "", err
	}
	parsed, err := e.parse(p)
	if err != nil {
		return "", err
	}
	if _, err := getRelease(tx, name, id); err != nil {
		return "", err
	}
	record, err := store.Record(tx, name)
	if err != nil {
		return "", err
	}
	furthest := project.Stage(-1)
	for _, reached := range record.Reached(id) {
		if env, ok := parsed.Environment(reached); ok {
			furthest = max(furthest, env.Stage)
		}
	}
	var next []string
	stage := project.Stage(-1)
	for _, env := range parsed.Environments { // they stand by stage
		if env.Stage > furthest && (stage < 0 || env.Stage == stage) {
			stage, next = env.Stage, append(next, string(env.Name))
		}
	}
	switch len(next) {
	case 0:
		return "", refusal(Invalid, "release %s of %s has reached the last stage", id, name)
	case 1:
		return project.EnvironmentName(next[0]), nil
	}
	return "", refusal(Invalid, "the next stage of release %s has several environments: name one of %s", id, strings.Join(next, ", "))
}

// Rollback begins to bring an environment back to its last good release: the one that runs by the record when a later
// rollout left something else behind, otherwise the one before it.
func (e *Engine) Rollback(ctx context.Context, o Rollback) (Rollout, error) {
	w := order{kind: KindRollback, project: o.Project, environment: o.Environment, by: o.By, overwrite: o.Overwrite}
	err := e.options.Store.View(func(tx store.Tx) error {
		if _, err := e.environment(tx, o.Project, o.Environment); err != nil {
			return err
		}
		record, err := store.Record(tx, o.Project)
		if err != nil {
			return err
		}
		where := project.Namespace(o.Project, o.Environment)
		if w.release = lastGood(record, o.Environment); w.release == "" {
			return refusal(NotFound, "roll back %s: no other release has succeeded there", where)
		}
		w.version, err = e.versionOf(tx, o.Project, o.Environment, w.release)
		return err
	})
	if err != nil {
		return Rollout{}, err
	}
	return e.begin(ctx, w)
}

func lastGood(record release.Record, env project.EnvironmentName) release.ID {
	last := release.Outcome("")
	for _, d := range record.Deployments {
		if d.Environment == env {
			last = d.Outcome
		}
	}
	switch last {
	case release.Failed, release.Paused, release.TimedOut:
		return record.Current(env)
	}
	return record.Before(env)
}

// versionOf is the version of the project file with which a release last succeeded in an environment: going back to the
// release is going back to its settings too.
func (e *Engine) versionOf(tx store.Tx, name project.Name, env project.EnvironmentName, id release.ID) (uint64, error) {
	for before := RolloutID(""); ; {
		all, err := store.Rollouts(tx, name, env, before, usualPage)
		if err != nil || len(all) == 0 {
			return 0, err
		}
		for _, r := range all {
			if r.Release == id && r.State == release.Succeeded && Kind(r.Kind) != KindScale {
				return r.Version, nil
			}
			before = r.ID
		}
	}
}

// environment reads the state of an environment that the project has.
func (e *Engine) environment(tx store.Tx, name project.Name, env project.EnvironmentName) (store.Environment, error) {
	p, err := getProject(tx, name)
	if err != nil {
		return store.Environment{}, err
	}
	parsed, err := e.parse(p)
	if err != nil {
		return store.Environment{}, err
	}
	if _, err := environmentOf(parsed, env); err != nil {
		return store.Environment{}, err
	}
	return store.GetEnvironment(tx, name, env)
}

// Scale begins to bring one service to another count.
func (e *Engine) Scale(ctx context.Context, o Scale) (Rollout, error) {
	w := order{kind: KindScale, project: o.Project, environment: o.Environment, service: o.Service, replicas: o.Replicas, by: o.By, overwrite: o.Overwrite}
	if w.service == "" {
		return Rollout{}, refusal(Invalid, "scale %s: name a service", project.Namespace(o.Project, o.Environment))
	}
	err := e.options.Store.View(func(tx store.Tx) error {
		state, err := e.environment(tx, o.Project, o.Environment)
		w.version = state.Version // a newer file is not deployed by the way
		return err
	})
	if err != nil {
		return Rollout{}, err
	}
	return e.begin(ctx, w)
}

// begin asks everything that can be asked beforehand, keeps the rollout, and leaves the rest to Run.
func (e *Engine) begin(ctx context.Context, o order) (Rollout, error) {
	r, err := e.tryBegin(ctx, o)
	if code := CodeOf(err); code != "" && code != Invalid && code != NotFound {
		refused := err
		err = e.update(func(tx store.Tx) error {
			return e.entry(tx, o.by, string(o.kind)+" refused", project.Namespace(o.project, o.environment), "release %s: %s", o.release, refused)
		})
		if err != nil {
			e.options.Log.Error("the audit was not written", "err", err)
		}
		return Rollout{}, refused
	}
	return r, err
}

func (e *Engine) tryBegin(ctx context.Context, o order) (Rollout, error) {
	var a aim
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		a, err = e.mayBegin(tx, o)
		return err
	})
	if err != nil {
		return Rollout{}, err
	}
	d, err := e.draw(ctx, a)
	if err == nil {
		err = e.measure(ctx, &d)
	}
	if err != nil {
		return Rollout{}, fmt.Errorf("%s %s: %w", o.kind, project.Namespace(o.project, o.environment), err)
	}
	if err := d.refused(o.overwrite || o.kind == KindScale && onlyCounts(d.Steps)); err != nil {
		return Rollout{}, err
	}
	var r store.Rollout
	err = e.update(func(tx store.Tx) error {
		again, err := e.mayBegin(tx, o) // what the gate reads may have changed while Swarm was looked at
		if err != nil {
			return err
		}
		if again.version != a.version || again.release.ID != a.release.ID {
			return refusal(Stale, "%s was changed meanwhile: look at the plan again", project.Namespace(o.project, o.environment))
		}
		r, err = e.addRollout(tx, o, again, d.view().Text)
		return err
	})
	if err != nil {
		return Rollout{}, err
	}
	select {
	case e.begun <- struct{}{}:
	default:
	}
	return viewOfRollout(r), nil
}

// onlyCounts: what was changed by hand is a count, and a count is what is being asked for.
func onlyCounts(steps []plan.Step) bool {
	for _, s := range steps {
		u, ok := s.(plan.UpdateService)
		if !ok {
			return false
		}
		for _, c := range u.Changes {
			if c.Field != "deploy.replicas" {
				return false
			}
		}
	}
	return true
}

// mayBegin collects the aim, and refuses what the record speaks against.
func (e *Engine) mayBegin(tx store.Tx, o order) (aim, error) {
	a, err := e.aimAt(tx, o.project, o.environment, o.release, o.version)
	if err != nil {
		return a, err
	}
	state, err := store.GetEnvironment(tx, o.project, o.environment)
	if err != nil {
		return a, err
	}
	if state.Rollout != "" {
		return a, e.busy(tx, state)
	}
	if o.kind == KindScale {
		return e.scaled(a, o)
	}
	record, err := store.Record(tx, o.project)
	if err != nil {
		return a, err
	}
	verdict := release.Decide(release.Question{Project: a.project, Release: a.release, To: o.environment, Record: record, Now: e.now(), Back: o.kind == KindRollback})
	if !verdict.Allowed() {
		refused := refusal(Refused, "release %s may not go to %s: %s", a.release.ID, project.Namespace(o.project, o.environment), verdict)
		refused.Refusals = verdict.Refusals
		return a, refused
	}
	return a, nil
}

// scaled puts the count into the aim, and narrows it to the service.
func (e *Engine) scaled(a aim, o order) (aim, error) {
	s, ok := a.environment.Model.Services[string(o.service)]
	if !ok {
		return a, refusal(NotFound, "%s has no service %s", project.Namespace(o.project, o.environment), o.service)
	}
	if s.Deploy != nil && s.Deploy.Mode == "global" {
		return a, refusal(Invalid, "service %s has one task a node: it cannot be scaled", o.service)
	}
	a.replicas = maps.Clone(a.replicas)
	if a.replicas == nil {
		a.replicas = map[project.ServiceName]uint64{}
	}
	if o.replicas == nil {
		delete(a.replicas, o.service)
	} else {
		a.replicas[o.service] = *o.replicas
	}
	a.only = project.FullName(o.project, o.environment, string(o.service))
	return a, nil
}

// busy says who holds an environment.
func (e *Engine) busy(tx store.Tx, state store.Environment) error {
	r, err := getRollout(tx, state.Rollout)
	if err != nil {
		return err
	}
	by := ""
	if r.By != "" {
		by = " by " + r.By
	}
	refused := refusal(Busy, "rollout %s holds %s: %s of release %s, begun%s at %s: wait for it, or cancel it",
		r.ID, project.Namespace(state.Project, state.Name), r.Kind, r.Release, by, r.Started.UTC().Format(time.RFC3339))
	view := viewOfRollout(r)
	refused.Holder = &view
	return refused
}

func (e *Engine) addRollout(tx store.Tx, o order, a aim, text string) (store.Rollout, error) {
	state, err := store.GetEnvironment(tx, o.project, o.environment)
	if err != nil {
		return store.Rollout{}, err
	}
	r, err := store.AddRollout(tx, store.Rollout{
		Kind: string(o.kind), Project: o.project, Environment: o.environment, Release: a.release.ID, From: state.Release,
		Version: a.version, Replicas: a.replicas, Only: a.only, Overwrite: o.overwrite, By: o.by, Plan: text,
		State: release.Running, Started: e.now(),
	})
	if err != nil {
		return r, err
	}
	what := fmt.Sprintf("rollout %s begins: %s of %s to release %s", r.ID, r.Kind, project.Namespace(r.Project, r.Environment), r.Release)
	if o.kind == KindScale {
		what = fmt.Sprintf("rollout %s begins: %s is scaled", r.ID, r.Only)
	}
	r.Event, err = e.event(tx, store.Event{Type: "rollout.started", Project: r.Project, Environment: r.Environment, Release: r.Release, Rollout: r.ID, State: r.State, Text: what})
	if err != nil {
		return r, err
	}
	state.Rollout, state.Replicas = r.ID, a.replicas
	return r, errors.Join(
		store.PutRollout(tx, r),
		store.PutEnvironment(tx, state),
		e.deployment(tx, r, a),
		e.entry(tx, o.by, string(o.kind), project.Namespace(r.Project, r.Environment), "%s", what))
}

// deployment keeps the short of a rollout for the gate. A scale says nothing about a release.
func (e *Engine) deployment(tx store.Tx, r store.Rollout, a aim) error {
	if Kind(r.Kind) == KindScale {
		return nil
	}
	return store.PutDeployment(tx, r.Project, r.ID, release.Deployment{Environment: r.Environment, Release: r.Release,
		Fingerprint: a.release.Fingerprint(), Outcome: r.State, Started: r.Started})
}

// Cancel makes a rollout go back. It ends as cancelled.
func (e *Engine) Cancel(_ context.Context, o Cancel) (Rollout, error) {
	by := o.By
	if by == "" {
		by = "somebody"
	}
	var r store.Rollout
	err := e.update(func(tx store.Tx) (err error) {
		if r, err = getRollout(tx, o.Rollout); err != nil {
			return err
		}
		if r.State != release.Running {
			return refusal(Invalid, "cancel rollout %s: it has ended already, as %s", r.ID, r.State)
		}
		if r.Back {
			return refusal(Invalid, "cancel rollout %s: it is on its way back already", r.ID)
		}
		r.Cancel = by
		_, err = e.event(tx, store.Event{Type: "rollout.progress", Project: r.Project, Environment: r.Environment, Release: r.Release, Rollout: r.ID, State: r.State,
			Text: fmt.Sprintf("rollout %s is cancelled by %s", r.ID, by)})
		return errors.Join(err, store.PutRollout(tx, r), e.entry(tx, o.By, "rollout cancel", string(r.ID), ""))
	})
	if err != nil {
		return Rollout{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.working[r.ID] {
		e.cancelled[r.ID] = by
	}
	return viewOfRollout(r), nil
}
