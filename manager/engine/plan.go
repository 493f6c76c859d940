package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/spec"
	"github.com/rolling-swarm/rolling/manager/store"
)

// aim is what an environment shall become, and all that it is made of.
type aim struct {
	project     *project.Project
	environment project.Environment
	release     release.Release
	version     uint64 // of the project file
	replicas    map[project.ServiceName]uint64
	only        string // full name of the one service that may be touched; "": all
	rollout     RolloutID
}

// drawing is a plan and what it was drawn from.
type drawing struct {
	plan.Plan
	observed plan.Observed
	short    []string // networks that have too few addresses
}

// draw observes and plans.
func (e *Engine) draw(ctx context.Context, a aim) (drawing, error) {
	desired, err := spec.Build(a.project, a.release, a.environment.Name, spec.Adjust{Replicas: a.replicas, Rollout: string(a.rollout)})
	if err != nil {
		return drawing{}, &Error{Code: Invalid, err: err}
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return drawing{}, err
	}
	p, err := plan.Diff(desired, observed)
	if err != nil {
		return drawing{}, err
	}
	overlapping, err := e.clashes(ctx, p.Steps, observed)
	if err != nil {
		return drawing{}, err
	}
	p.Blocked = append(p.Blocked, overlapping...)
	if a.only != "" {
		p.Steps = slices.DeleteFunc(p.Steps, func(s plan.Step) bool { return s.Object() != "service "+a.only })
		p.Blocked = slices.DeleteFunc(p.Blocked, func(b plan.Block) bool { return b.Object != "service "+a.only })
		p.Notes = nil
	}
	p.Notes = append(p.Notes, counted(a)...)
	return drawing{Plan: p, observed: observed}, nil
}

// counted names the counts that do not come from the file, since nobody would look for them elsewhere.
func counted(a aim) []plan.Note {
	var notes []plan.Note
	for _, name := range slices.Sorted(maps.Keys(a.replicas)) {
		if _, known := a.environment.Model.Services[string(name)]; known {
			notes = append(notes, plan.Note{Object: "service " + string(name), Text: fmt.Sprintf("%d tasks, as it was scaled; the project file's count does not hold", a.replicas[name])})
		}
	}
	return notes
}

// measure asks for each step whether it has the addresses that it needs.
func (e *Engine) measure(ctx context.Context, d *drawing) error {
	needs := slices.ContainsFunc(d.Steps, func(s plan.Step) bool { return asService(s) != nil })
	if !needs {
		return nil
	}
	tasks, err := e.options.Cluster.Tasks(ctx)
	if err != nil {
		return err
	}
	h, taken := holdersOf(d.observed, tasks), map[string]int{}
	for _, s := range d.Steps {
		room := roomFor(s, d.observed, h, taken)
		d.short = append(d.short, room.Short...)
		if room.Note != "" {
			d.Notes = append(d.Notes, plan.Note{Object: s.Object(), Text: room.Note})
		}
	}
	return nil
}

// asService gives the spec that a step writes, or nil.
func asService(s plan.Step) *swarm.ServiceSpec {
	switch s := s.(type) {
	case plan.CreateService:
		return &s.Spec
	case plan.UpdateService:
		return &s.Spec
	}
	return nil
}

// Plan says what a deployment would do, and does nothing.
func (e *Engine) Plan(ctx context.Context, o PlanOf) (Plan, error) {
	var a aim
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		a, err = e.aimAt(tx, o.Project, o.Environment, o.Release, 0)
		return err
	})
	if err != nil {
		return Plan{}, err
	}
	d, err := e.draw(ctx, a)
	if err == nil {
		err = e.measure(ctx, &d)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("plan %s: %w", project.Namespace(o.Project, o.Environment), err)
	}
	return d.view(), nil
}

// aimAt collects what an environment shall be made of. An empty release is the one that runs there; version 0 is the
// newest project file.
func (e *Engine) aimAt(tx store.Tx, name project.Name, env project.EnvironmentName, id release.ID, version uint64) (aim, error) {
	p, err := getProject(tx, name)
	if err != nil {
		return aim{}, err
	}
	if version != 0 && version != p.Version {
		old, ok, err := store.ProjectAt(tx, name, version)
		if err != nil {
			return aim{}, err
		}
		if !ok {
			return aim{}, refusal(NotFound, "project %s has no version %d of its file any more", name, version)
		}
		p = old
	}
	a := aim{version: p.Version}
	if a.project, err = e.parse(p); err != nil {
		return a, err
	}
	if a.environment, err = environmentOf(a.project, env); err != nil {
		return a, err
	}
	state, err := store.GetEnvironment(tx, name, env)
	if err != nil {
		return a, err
	}
	a.replicas = state.Replicas
	if id == "" {
		if id = state.Release; id == "" {
			return a, refusal(Invalid, "nothing has been deployed to %s yet: name a release", project.Namespace(name, env))
		}
	}
	a.release, err = getRelease(tx, name, id)
	return a, err
}

func (d drawing) view() Plan {
	v := Plan{Project: d.Project, Environment: d.Environment, Release: d.Release, Empty: d.Empty(), Steps: []Step{}, ByHand: d.ByHand(), Room: d.short}
	for _, s := range d.Steps {
		step := Step{Action: "create", Object: s.Object(), Cause: s.Cause(), Text: s.String()}
		switch s := s.(type) {
		case plan.UpdateService:
			step.Action, step.Restarts, step.ByHand = "update", s.Restarts, s.ByHand
			for _, c := range s.Changes {
				step.Changes = append(step.Changes, Change{c.Field, c.From, c.To})
			}
		case plan.RemoveService, plan.RemoveNetwork, plan.RemoveConfig, plan.RemoveSecret:
			step.Action = "remove"
		}
		v.Steps = append(v.Steps, step)
	}
	for _, b := range d.Blocked {
		v.Blocked = append(v.Blocked, Remark{b.Object, b.Text})
	}
	for _, n := range d.Notes {
		v.Notes = append(v.Notes, Remark{n.Object, n.Text})
	}
	v.Text = d.String()
	for _, s := range d.short {
		v.Text += "! " + s + "\n"
	}
	return v
}

// refused says why a plan must not be carried out, or gives nil.
func (d drawing) refused(overwrite bool) error {
	where := project.Namespace(d.Project, d.Environment)
	view := d.view()
	if len(d.Blocked) > 0 {
		var texts []string
		for _, b := range d.Blocked {
			texts = append(texts, b.Object+": "+b.Text)
		}
		err := refusal(Blocked, "deploy to %s: %s", where, strings.Join(texts, "; "))
		err.Plan = &view
		return err
	}
	if hands := d.ByHand(); len(hands) > 0 && !overwrite {
		err := refusal(Drifted, "deploy to %s: changed by hand since Rolling wrote it: %s: look at the plan, and ask for it to be overwritten if that is right", where, strings.Join(hands, ", "))
		err.Plan = &view
		return err
	}
	if len(d.short) > 0 {
		err := refusal(NoRoom, "deploy to %s: %s", where, strings.Join(d.short, "; "))
		err.Plan = &view
		return err
	}
	return nil
}
