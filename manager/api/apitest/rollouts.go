package apitest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
)

func pinned(asked map[project.ServiceName]string) (map[project.ServiceName]release.Image, error) {
	images := map[project.ServiceName]release.Image{}
	for service, image := range asked {
		if strings.Contains(image, "missing") {
			return nil, no(engine.ImageUnknown, "image %s: no registry has it: push it first", image)
		}
		if service == "" {
			service = "web"
		}
		if !strings.Contains(image, "@") {
			image += "@" + Digest
		}
		images[service] = release.Image(image)
	}
	return images, nil
}

// Releases lists them newest first.
func (e *Engine) Releases(_ context.Context, name project.Name) ([]engine.Release, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.project(name); err != nil {
		return nil, err
	}
	var all []engine.Release
	for _, r := range slices.Backward(e.releases[name]) {
		all = append(all, e.reached(r))
	}
	return all, nil
}

func (e *Engine) reached(r engine.Release) engine.Release {
	for _, ro := range e.rollouts {
		if ro.Project == r.Project && ro.Release == r.ID && ro.State == release.Succeeded && !slices.Contains(r.Reached, ro.Environment) {
			r.Reached = append(r.Reached, ro.Environment)
		}
	}
	return r
}

// Release gives one.
func (e *Engine) Release(_ context.Context, name project.Name, id release.ID) (engine.Release, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, err := e.release(name, id)
	if err != nil {
		return engine.Release{}, err
	}
	return e.reached(*r), nil
}

func (e *Engine) release(name project.Name, id release.ID) (*engine.Release, error) {
	if _, err := e.project(name); err != nil {
		return nil, err
	}
	for i := range e.releases[name] {
		if e.releases[name][i].ID == id {
			return &e.releases[name][i], nil
		}
	}
	return nil, no(engine.NotFound, "release %s of %s: there is none of that name", id, name)
}

// Discard takes a release out of use.
func (e *Engine) Discard(_ context.Context, o engine.Discard) (engine.Release, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, err := e.release(o.Project, o.Release)
	if err != nil {
		return engine.Release{}, err
	}
	r.Discarded = &release.Discard{Release: r.ID, By: "tester", Reason: o.Reason, At: e.now()}
	return *r, nil
}

// Plan is empty for what runs already.
func (e *Engine) Plan(_ context.Context, o engine.PlanOf) (engine.Plan, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	env, err := e.environment(o.Project, o.Environment)
	if err != nil {
		return engine.Plan{}, err
	}
	if o.Release == "" {
		o.Release = env.Release
	}
	if o.Release == "" {
		return engine.Plan{}, no(engine.Invalid, "environment %s of %s runs no release yet: say which", o.Environment, o.Project)
	}
	return planOf(o, env.Release), nil
}

func planOf(o engine.PlanOf, running release.ID) engine.Plan {
	p := engine.Plan{Project: o.Project, Environment: o.Environment, Release: o.Release, Steps: []engine.Step{}}
	head := fmt.Sprintf("%s at release %s: ", project.Namespace(o.Project, o.Environment), o.Release)
	if o.Release == running {
		p.Empty, p.Text = true, head+"nothing to do\n"
		return p
	}
	object := "service " + project.FullName(o.Project, o.Environment, "web")
	step := engine.Step{Action: "update", Object: object, Cause: "release " + string(o.Release), Restarts: true,
		Changes: []engine.Change{{Field: "image", From: "registry.example/orders/web@old", To: "registry.example/orders/web@new"}}}
	step.Text = "~ " + object + ": release " + string(o.Release) + "\n    image: registry.example/orders/web@old -> registry.example/orders/web@new"
	p.Steps, p.Text = append(p.Steps, step), head+"1 step\n"+step.Text+"\n"
	return p
}

func (e *Engine) environment(name project.Name, environment project.EnvironmentName) (engine.Environment, error) {
	p, err := e.project(name)
	if err != nil {
		return engine.Environment{}, err
	}
	for _, env := range p.Environments {
		if env.Name == environment {
			return env, nil
		}
	}
	r := no(engine.Refused, "deploy to %s of %s: 1 reason against it", environment, name)
	r.Refusals = []release.Refusal{{Code: release.UnknownEnvironment, Text: fmt.Sprintf("project %s has no environment %q (test, production)", name, environment)}}
	return engine.Environment{}, r
}

// Deploy plays what the release's name says.
func (e *Engine) Deploy(_ context.Context, o engine.Deploy) (engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Release == "" {
		return engine.Rollout{}, no(engine.Invalid, "deploy to %s of %s: name a release", o.Environment, o.Project)
	}
	return e.begin(engine.KindDeploy, o)
}

// Promote goes to production unless told otherwise.
func (e *Engine) Promote(_ context.Context, o engine.Deploy) (engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.release(o.Project, o.Release); err != nil {
		return engine.Rollout{}, err
	}
	if o.Environment == "" {
		o.Environment = "production"
	}
	return e.begin(engine.KindDeploy, o)
}

// Rollback goes to r-1.
func (e *Engine) Rollback(_ context.Context, o engine.Rollback) (engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.begin(engine.KindRollback, engine.Deploy{Project: o.Project, Environment: o.Environment, Release: "r-1"})
}

// Scale refuses counts above 100 for want of addresses.
func (e *Engine) Scale(_ context.Context, o engine.Scale) (engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	env, err := e.environment(o.Project, o.Environment)
	switch {
	case err != nil:
		return engine.Rollout{}, err
	case o.Service != "web":
		return engine.Rollout{}, no(engine.NotFound, "service %s of %s/%s: there is none of that name (web)", o.Service, o.Project, o.Environment)
	case o.Replicas != nil && *o.Replicas > 100:
		p := planOf(engine.PlanOf{Project: o.Project, Environment: o.Environment, Release: "r-1"}, "")
		p.Room, p.Text = []string{"orders-test_app: 4 free addresses, 97 needed"}, "network orders-test_app: 4 free addresses, 97 needed\n"
		r := no(engine.NoRoom, "scale web of %s/%s to %d: too few free addresses", o.Project, o.Environment, *o.Replicas)
		r.Plan = &p
		return engine.Rollout{}, r
	}
	return e.begin(engine.KindScale, engine.Deploy{Project: o.Project, Environment: o.Environment, Release: env.Release})
}

// gate holds the releases back that are never let in.
func (e *Engine) gate(o engine.Deploy) error {
	refusals := map[release.ID][]release.Refusal{
		"r-frozen":     {{Code: release.Frozen, Text: "production is frozen until 2026-11-24T07:05:00Z"}},
		"r-unapproved": {{Code: release.ApprovalMissing, Text: "1 of 1 approvals are missing"}},
		"r-unproved":   {{Code: release.StageSkipped, Text: "it has not succeeded in test"}, {Code: release.ApprovalMissing, Text: "1 of 1 approvals are missing"}},
	}
	if reasons, held := refusals[o.Release]; held {
		r := no(engine.Refused, "deploy %s to %s of %s: %s against it", o.Release, o.Environment, o.Project, counted(len(reasons)))
		r.Refusals = reasons
		return r
	}
	switch o.Release {
	case "r-busy":
		r := no(engine.Busy, "rollout ro99 holds %s-%s: deploy of release r-7, begun by somebody: wait for it, or cancel it", o.Project, o.Environment)
		r.Holder = &engine.Rollout{ID: "ro99", Kind: engine.KindDeploy, Project: o.Project, Environment: o.Environment, Release: "r-7", By: "somebody", State: release.Running, Started: Begin}
		return r
	case "r-drifted":
		if !o.Overwrite {
			p := planOf(engine.PlanOf{Project: o.Project, Environment: o.Environment, Release: o.Release}, "")
			p.ByHand = []string{p.Steps[0].Object}
			r := no(engine.Drifted, "1 object was changed by hand: ask for overwriting, or change the project file")
			r.Plan = &p
			return r
		}
	case "r-away":
		return errors.New("ask the engine for services: dial unix /var/run/docker.sock: connect: no such file or directory")
	}
	return nil
}

func (e *Engine) begin(kind engine.Kind, o engine.Deploy) (engine.Rollout, error) {
	env, err := e.environment(o.Project, o.Environment)
	if err != nil {
		return engine.Rollout{}, err
	}
	if err := e.gate(o); err != nil {
		return engine.Rollout{}, err
	}
	r := engine.Rollout{
		ID: engine.RolloutID(fmt.Sprintf("ro%d", len(e.rollouts)+1)), Kind: kind, Project: o.Project, Environment: o.Environment, Release: o.Release,
		From: env.Release, By: "tester", State: release.Running, Started: e.now(),
	}
	e.rollouts = append(e.rollouts, r)
	e.tell(engine.Event{Type: "rollout.started", Project: r.Project, Environment: r.Environment, Release: r.Release, Rollout: r.ID, State: r.State,
		Text: fmt.Sprintf("%s of %s begins", r.Kind, r.Release)})
	e.tell(engine.Event{Type: "rollout.progress", Project: r.Project, Environment: r.Environment, Release: r.Release, Rollout: r.ID, State: r.State,
		Service: &engine.Progress{Service: project.FullName(r.Project, r.Environment, "web"), State: rollout.Progressing, Running: 2, Wanted: 3, Others: 1}})
	switch o.Release {
	case "r-long":
	case "r-bad":
		e.finish(len(e.rollouts)-1, release.RolledBack, "task 2 never became healthy")
	case "r-stuck":
		e.finish(len(e.rollouts)-1, release.TimedOut, "no progress for 10m0s")
	case "r-broken":
		e.finish(len(e.rollouts)-1, release.Failed, "service orders-test_web was removed by somebody")
	default:
		e.finish(len(e.rollouts)-1, release.Succeeded, "")
	}
	return r, nil // as it was when it began: its end is an event
}

func (e *Engine) finish(i int, outcome release.Outcome, cause string) {
	r := &e.rollouts[i]
	ended := e.now()
	r.State, r.Cause, r.Ended = outcome, cause, &ended
	if outcome == release.RolledBack {
		code := 7
		r.GoingBack = true
		r.Failing = &rollout.Failing{TaskID: "tk2", Slot: 2, NodeID: "n2", State: swarm.TaskStateFailed, ExitCode: &code}
		r.Lines = []string{"listening on :8080", "cannot read /etc/prices: no such file"}
	}
	r.Services = []engine.Progress{{Service: project.FullName(r.Project, r.Environment, "web"), State: rollout.State(outcome), Running: 3, Wanted: 3, Reason: cause}}
	e.tell(engine.Event{Type: "rollout.ended", Project: r.Project, Environment: r.Environment, Release: r.Release, Rollout: r.ID, State: outcome,
		Text: strings.TrimSuffix(fmt.Sprintf("%s: %s", outcome, cause), ": ")})
}

// Rollouts lists them newest first.
func (e *Engine) Rollouts(_ context.Context, o engine.RolloutsOf) ([]engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []engine.Rollout
	beyond := o.Before == ""
	for _, r := range slices.Backward(e.rollouts) {
		if beyond && (o.Project == "" || r.Project == o.Project) && (o.Environment == "" || r.Environment == o.Environment) && len(found) < o.Limit {
			r.Plan, r.Lines = "", nil
			found = append(found, r)
		}
		beyond = beyond || r.ID == o.Before
	}
	return found, nil
}

// Rollout gives one.
func (e *Engine) Rollout(_ context.Context, id engine.RolloutID) (engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, err := e.rollout(id)
	if err != nil {
		return engine.Rollout{}, err
	}
	return e.rollouts[i], nil
}

func (e *Engine) rollout(id engine.RolloutID) (int, error) {
	i := slices.IndexFunc(e.rollouts, func(r engine.Rollout) bool { return r.ID == id })
	if i < 0 {
		return i, no(engine.NotFound, "rollout %s: there is none of that name", id)
	}
	return i, nil
}

// Cancel ends a rollout that runs.
func (e *Engine) Cancel(_ context.Context, o engine.Cancel) (engine.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i, err := e.rollout(o.Rollout)
	if err != nil {
		return engine.Rollout{}, err
	}
	if e.rollouts[i].State != release.Running {
		return engine.Rollout{}, no(engine.InUse, "rollout %s has ended already", o.Rollout)
	}
	before := e.rollouts[i]
	e.finish(i, release.Cancelled, "cancelled by tester")
	return before, nil
}

// tell adds an event and wakes who waits. The lock is held.
func (e *Engine) tell(ev engine.Event) {
	ev.Seq, ev.At = uint64(len(e.events))+1, Begin.Add(time.Duration(e.ticks)*time.Second)
	e.events = append(e.events, ev)
	if e.news != nil {
		close(e.news)
		e.news = nil
	}
}

func counted(reasons int) string {
	if reasons == 1 {
		return "1 reason"
	}
	return fmt.Sprintf("%d reasons", reasons)
}
