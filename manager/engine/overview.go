package engine

import (
	"context"
	"fmt"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Overview is a project with what Swarm runs of it, and how the last rollout of each environment stands.
type Overview struct {
	Project
	Last map[project.EnvironmentName]Rollout `json:"last,omitempty"` // without plan and lines
}

// Overviews shows all projects by name. It looks at Swarm once, however many there are.
func (e *Engine) Overviews(ctx context.Context) ([]Overview, error) {
	all, err := e.Projects(ctx)
	if err != nil {
		return nil, err
	}
	views := make([]Overview, len(all))
	err = e.options.Store.View(func(tx store.Tx) error {
		for i, p := range all {
			views[i] = Overview{Project: p, Last: map[project.EnvironmentName]Rollout{}}
			for _, env := range p.Environments {
				last, err := store.Rollouts(tx, p.Name, env.Name, "", 1)
				if err != nil {
					return err
				}
				if len(last) == 1 {
					v := viewOfRollout(last[0])
					v.Plan, v.Lines = "", nil
					views[i].Last[env.Name] = v
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	o, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("look over all projects: %w", err)
	}
	for _, v := range views {
		for i := range v.Environments {
			env := &v.Environments[i]
			env.Services = servicesOf(o, v.Name, env.Name)
			env.Adopted = len(env.Services) > 0 && env.Release == ""
		}
	}
	return views, nil
}

// Gates says, for each of the releases, why it may not go to an environment now. What is missing may go there.
type Gates map[release.ID]map[project.EnvironmentName][]release.Refusal

// Gates asks the gate of every environment about releases, and changes nothing.
func (e *Engine) Gates(_ context.Context, name project.Name, ids []release.ID) (Gates, error) {
	gates := Gates{}
	err := e.options.Store.View(func(tx store.Tx) error {
		p, err := getProject(tx, name)
		if err != nil {
			return err
		}
		parsed, err := e.parse(p)
		if err != nil {
			return err
		}
		record, err := store.Record(tx, name)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := getRelease(tx, name, id)
			if err != nil {
				return err
			}
			gates[id] = map[project.EnvironmentName][]release.Refusal{}
			for _, env := range parsed.Environments {
				verdict := release.Decide(release.Question{Project: parsed, Release: r, To: env.Name, Record: record, Now: e.now()})
				if !verdict.Allowed() {
					gates[id][env.Name] = verdict.Refusals
				}
			}
		}
		return nil
	})
	return gates, err
}

// PlanBack says what Rollback would do, and does nothing.
func (e *Engine) PlanBack(ctx context.Context, name project.Name, env project.EnvironmentName) (Plan, error) {
	var a aim
	err := e.options.Store.View(func(tx store.Tx) error {
		if _, err := e.environment(tx, name, env); err != nil {
			return err
		}
		record, err := store.Record(tx, name)
		if err != nil {
			return err
		}
		id := lastGood(record, env)
		if id == "" {
			return refusal(NotFound, "roll back %s: no other release has succeeded there", project.Namespace(name, env))
		}
		version, err := e.versionOf(tx, name, env, id)
		if err != nil {
			return err
		}
		a, err = e.aimAt(tx, name, env, id, version)
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
		return Plan{}, fmt.Errorf("plan the way back of %s: %w", project.Namespace(name, env), err)
	}
	return d.view(), nil
}

// storyLimit is how many events of one rollout are told at most.
const storyLimit = 200

// Story gives what happened in a rollout so far, oldest first, as far as it is kept: its last events if there were very many.
func (e *Engine) Story(_ context.Context, id RolloutID) ([]Event, error) {
	var r store.Rollout
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		r, err = getRollout(tx, id)
		return err
	})
	if err != nil || r.Event == 0 {
		return nil, err
	}
	var story []Event
	for since := r.Event - 1; ; {
		read, _, err := e.read(since, "")
		if err != nil {
			return nil, err
		}
		for _, v := range read {
			since = v.Seq
			if v.Rollout != id {
				continue
			}
			story = append(story, viewOfEvent(v))
			if len(story) > storyLimit {
				story = story[1:]
			}
			if v.Type == "rollout.ended" {
				return story, nil
			}
		}
		if len(read) < atOnce {
			return story, nil
		}
	}
}
