package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/spec"
	"github.com/rolling-swarm/rolling/manager/store"
)

// ApplyProject keeps a project file, or says everything that is wrong with it.
func (e *Engine) ApplyProject(_ context.Context, o Apply) (Project, error) {
	if o.FileName == "" {
		o.FileName = "rolling.yml"
	}
	parsed, err := project.Parse(project.Input{File: o.FileName, Bytes: o.File, Files: o.Files, Zone: e.options.Zone})
	if err != nil {
		return Project{}, invalid(err)
	}
	p := store.Project{Name: parsed.Name, FileName: o.FileName, File: o.File, Files: o.Files, By: o.By, At: e.now()}
	changed := false
	write := func(tx store.Tx) (err error) {
		p, changed, err = e.putProject(tx, p, parsed, o.IfVersion)
		return err
	}
	if o.DryRun {
		write = dry(write)
	}
	if err := e.update(write); err != nil && !errors.Is(err, errDry) {
		return Project{}, kept(err)
	}
	if changed && !o.DryRun {
		e.keepParsed(p.Version, parsed)
	}
	var view Project
	err = e.options.Store.View(func(tx store.Tx) error {
		view, err = e.viewOf(tx, p, parsed)
		return err
	})
	view.Changed, view.File = changed, string(p.File)
	return view, err
}

// putProject keeps a project, unless it is what is kept already.
func (e *Engine) putProject(tx store.Tx, p store.Project, parsed *project.Project, replaces *uint64) (_ store.Project, changed bool, err error) {
	old, ok, err := store.GetProject(tx, p.Name)
	if err != nil {
		return p, false, err
	}
	if ok && (replaces == nil || *replaces == old.Version) && same(old, p) {
		return old, false, nil
	}
	if err := e.keepsItsEnvironments(tx, parsed); err != nil {
		return p, false, err
	}
	if p, err = store.PutProject(tx, p, replaces); err != nil {
		return p, false, err
	}
	text := fmt.Sprintf("project %s is at version %d", p.Name, p.Version)
	_, err = e.event(tx, store.Event{Type: "project.applied", Project: p.Name, Text: text})
	return p, true, errors.Join(err, e.entry(tx, p.By, "project apply", string(p.Name), "version %d", p.Version))
}

var errDry = errors.New("nothing is kept")

// dry does all of a transaction and keeps none of it.
func dry(f func(store.Tx) error) func(store.Tx) error {
	return func(tx store.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return errDry
	}
}

func same(a, b store.Project) bool {
	return a.FileName == b.FileName && bytes.Equal(a.File, b.File) && maps.EqualFunc(a.Files, b.Files, bytes.Equal)
}

// keepsItsEnvironments refuses a file that no longer has an environment which runs something: nothing would ever remove it.
func (e *Engine) keepsItsEnvironments(tx store.Tx, p *project.Project) error {
	states, err := store.Environments(tx, p.Name)
	if err != nil {
		return err
	}
	var used []string
	for _, s := range states {
		if _, stays := p.Environment(s.Name); stays || s.Release == "" && s.Rollout == "" {
			continue
		}
		used = append(used, fmt.Sprintf("%s (release %s)", s.Name, s.Release))
	}
	if len(used) > 0 {
		return refusal(InUse, "project %s: the file leaves out what still runs: %s: delete what runs there first", p.Name, strings.Join(used, ", "))
	}
	return nil
}

// Projects lists all projects by name, without what Swarm runs.
func (e *Engine) Projects(_ context.Context) ([]Project, error) {
	var views []Project
	err := e.options.Store.View(func(tx store.Tx) error {
		all, err := store.Projects(tx)
		if err != nil {
			return err
		}
		for _, p := range all {
			parsed, err := e.parse(p)
			if err != nil && CodeOf(err) != Invalid {
				return err
			}
			view, err := e.viewOf(tx, p, parsed)
			if err != nil {
				return err
			}
			views = append(views, view)
		}
		return nil
	})
	return views, err
}

// viewOf shows a project by the record alone. parsed may be nil: then the file cannot be read any more.
func (e *Engine) viewOf(tx store.Tx, p store.Project, parsed *project.Project) (Project, error) {
	view := Project{Name: p.Name, Version: p.Version, Updated: p.At, By: p.By, FileName: p.FileName}
	if parsed == nil {
		var refused *Error
		if _, err := e.parse(p); errors.As(err, &refused) {
			view.Problems = refused.Problems
		}
		return view, nil
	}
	view.Repository = parsed.Source.Repository
	for _, env := range parsed.Environments {
		state, err := store.GetEnvironment(tx, p.Name, env.Name)
		if err != nil {
			return view, err
		}
		v := Environment{Name: env.Name, Stage: env.Stage.String(), Approvals: env.Approvals, Release: state.Release,
			Rollout: state.Rollout, Scale: state.Replicas}
		if until, frozen := release.FrozenUntil(env.Freezes, e.now()); frozen {
			v.FrozenUntil = &until
		}
		view.Environments = append(view.Environments, v)
	}
	return view, nil
}

// Project gives one project with its file and what its environments run.
func (e *Engine) Project(ctx context.Context, name project.Name) (Project, error) {
	var view Project
	err := e.options.Store.View(func(tx store.Tx) error {
		p, err := getProject(tx, name)
		if err != nil {
			return err
		}
		parsed, err := e.parse(p)
		if err != nil && CodeOf(err) != Invalid {
			return err
		}
		view, err = e.viewOf(tx, p, parsed)
		view.File = string(p.File)
		return err
	})
	if err != nil {
		return view, err
	}
	o, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return view, fmt.Errorf("project %s: %w", name, err)
	}
	for i := range view.Environments {
		env := &view.Environments[i]
		env.Services = servicesOf(o, name, env.Name)
		env.Adopted = len(env.Services) > 0 && env.Release == ""
	}
	return view, nil
}

// owned says that the manager made an object for a project's environment.
func owned(labels map[string]string, name project.Name, env project.EnvironmentName) bool {
	return labels[contract.Project] == string(name) && labels[contract.Environment] == string(env) && labels[contract.Spec] != ""
}

func servicesOf(o plan.Observed, name project.Name, env project.EnvironmentName) []Service {
	var all []Service
	for _, s := range o.Services {
		if !owned(s.Spec.Labels, name, env) {
			continue
		}
		v := Service{Name: s.Spec.Labels[contract.Service], FullName: s.Spec.Name, Release: release.ID(spec.MarkOf(s.Spec.TaskTemplate).Release)}
		if c := s.Spec.TaskTemplate.ContainerSpec; c != nil {
			v.Image = c.Image
		}
		if st := s.ServiceStatus; st != nil {
			v.Running, v.Wanted = st.RunningTasks, st.DesiredTasks
		}
		if u := s.UpdateStatus; u != nil && u.State != swarm.UpdateStateCompleted {
			v.Update = string(u.State) + ": " + u.Message
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// DeleteProject forgets a project, or removes what one of its environments runs. With Services it waits until what runs
// has ended.
func (e *Engine) DeleteProject(ctx context.Context, o Delete) error {
	var p store.Project
	var names []project.EnvironmentName
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		if p, err = getProject(tx, o.Project); err != nil {
			return err
		}
		names, err = e.deletable(tx, p, o)
		return err
	})
	if err != nil {
		return err
	}
	if err := e.clear(ctx, o, names); err != nil {
		return fmt.Errorf("delete project %s: %w", o.Project, err)
	}
	return e.update(func(tx store.Tx) error {
		now, err := getProject(tx, o.Project)
		if err != nil {
			return err
		}
		if now.Version != p.Version {
			return refusal(Stale, "project %s was changed while it was being deleted", o.Project)
		}
		if _, err := e.deletable(tx, now, o); err != nil { // a rollout may have begun meanwhile
			return err
		}
		object, what := string(o.Project), "project "+string(o.Project)+" is deleted"
		if o.Environment != "" {
			object += "/" + string(o.Environment)
			what = project.Namespace(o.Project, o.Environment) + " is emptied"
			err = store.PutEnvironment(tx, store.Environment{Project: o.Project, Name: o.Environment})
		} else {
			err = store.DeleteProject(tx, o.Project)
		}
		_, err2 := e.event(tx, store.Event{Type: "project.deleted", Project: o.Project, Environment: o.Environment, Text: what})
		return errors.Join(err, err2, e.entry(tx, o.By, "project delete", object, ""))
	})
}

// deletable gives the environments that are to be emptied, and refuses while a rollout is at work in one.
func (e *Engine) deletable(tx store.Tx, p store.Project, o Delete) ([]project.EnvironmentName, error) {
	if o.IfVersion != nil && *o.IfVersion != p.Version {
		return nil, refusal(Stale, "project %s is at version %d, not %d", p.Name, p.Version, *o.IfVersion)
	}
	states, err := store.Environments(tx, p.Name)
	if err != nil {
		return nil, err
	}
	var names []project.EnvironmentName
	if parsed, err := e.parse(p); err == nil {
		for _, env := range parsed.Environments {
			names = append(names, env.Name)
		}
	}
	for _, s := range states {
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	if o.Environment != "" {
		if !slices.Contains(names, o.Environment) {
			return nil, refusal(NotFound, "project %s has no environment %s", p.Name, o.Environment)
		}
		names = []project.EnvironmentName{o.Environment}
	}
	for _, s := range states {
		if s.Rollout != "" && slices.Contains(names, s.Name) {
			return nil, e.busy(tx, s)
		}
	}
	return names, nil
}

// clear removes all that the manager made for the environments.
func (e *Engine) clear(ctx context.Context, o Delete, names []project.EnvironmentName) error {
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return err
	}
	var steps []plan.Step
	var used []string
	for _, env := range names {
		removal, err := plan.Diff(spec.Desired{Project: o.Project, Environment: env}, observed)
		if err != nil {
			return err
		}
		for _, s := range removal.Steps {
			if _, runs := s.(plan.RemoveService); runs {
				used = append(used, s.Object())
			}
		}
		steps = append(steps, removal.Steps...)
	}
	if len(used) > 0 && !o.Services {
		return refusal(InUse, "it still runs %s: ask for them to be removed too", strings.Join(used, ", "))
	}
	for _, s := range steps {
		if _, err := e.options.Cluster.Apply(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
