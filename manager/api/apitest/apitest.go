// Package apitest plays the engine behind the API for tests: a small world that answers at once and always in the same way.
// It knows what doors may rely on, and no Swarm. How a rollout goes is in the release's name: r-bad rolls back, r-stuck
// times out, r-broken fails, r-long runs until it is cancelled, every other one succeeds. Some releases are never let in:
// r-frozen, r-unapproved, r-unproved, r-busy, r-drifted, r-away.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// Begin is when everything in this world starts; each thing that happens takes a second.
var Begin = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

// Digest is a digest of an image, for texts.
const Digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Engine is the fake. The zero value is an empty world.
type Engine struct {
	mu       sync.Mutex // guards all below
	ticks    int
	projects map[project.Name]engine.Project
	releases map[project.Name][]engine.Release
	rollouts []engine.Rollout // oldest first
	events   []engine.Event
	watchers int
	news     chan struct{} // closed at the next event
	dropped  int           // how many events are too old to be kept
	net      networks
	away     drained
	lines    int // how often lines were asked for
	cut      int // how many streams end before their time
}

type kind = engine.Error

// refusal is an error of the engine with a text of its own.
type refusal struct {
	text string
	kind
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return &r.kind }

func no(code engine.Code, format string, args ...any) *refusal {
	return &refusal{fmt.Sprintf(format, args...), kind{Code: code}}
}

// now moves the clock of this world on. The lock is held.
func (e *Engine) now() time.Time {
	e.ticks++
	return Begin.Add(time.Duration(e.ticks-1) * time.Second)
}

// Parts are the engine's side of a door.
func (e *Engine) Parts() api.Parts {
	return api.Parts{Projects: e, Releases: e, Deployments: e, Rollouts: e, Tasks: e, Events: e, Swarm: e, Networks: e, Pools: e, Addresses: e, Reservations: e, Nodes: e, Doctor: e, Routes: e, Version: "1.2.3",
		Checks: []api.Check{{Name: "store", Ask: func(context.Context) error { return nil }}, {Name: "swarm", Ask: func(context.Context) error { return nil }}}}
}

// ApplyProject reads the file as the manager does.
func (e *Engine) ApplyProject(_ context.Context, o engine.Apply) (engine.Project, error) {
	parsed, err := project.Parse(project.Input{File: o.FileName, Bytes: o.File, Files: o.Files, Zone: time.LoadLocation})
	var problems *project.Problems
	if errors.As(err, &problems) {
		r := no(engine.Invalid, "%v", err)
		r.Problems = problems.List
		return engine.Project{}, r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before, found := e.projects[parsed.Name]
	if o.IfVersion != nil && *o.IfVersion != before.Version {
		return engine.Project{}, no(engine.Stale, "project %s is at version %d by now, not %d: look at it and apply again", parsed.Name, before.Version, *o.IfVersion)
	}
	p := before
	p.Changed = !found || before.File != string(o.File)
	if p.Changed {
		p = engine.Project{Name: parsed.Name, Version: before.Version + 1, By: "tester", Repository: parsed.Source.Repository, FileName: o.FileName, File: string(o.File), Changed: true}
		for _, env := range parsed.Environments {
			p.Environments = append(p.Environments, engine.Environment{Name: env.Name, Stage: env.Stage.String(), Approvals: env.Approvals})
		}
	}
	if o.DryRun {
		p.Updated = Begin
		return p, nil
	}
	if p.Changed {
		p.Updated = e.now()
		if e.projects == nil {
			e.projects, e.releases = map[project.Name]engine.Project{}, map[project.Name][]engine.Release{}
		}
		e.projects[p.Name] = p
		e.tell(engine.Event{Type: "project.applied", Project: p.Name, Text: fmt.Sprintf("project %s is at version %d", p.Name, p.Version)})
	}
	return p, nil
}

// Projects lists all.
func (e *Engine) Projects(context.Context) ([]engine.Project, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []engine.Project
	for _, p := range e.projects {
		p.File = ""
		all = append(all, p)
	}
	return all, nil
}

// Project gives one.
func (e *Engine) Project(_ context.Context, name project.Name) (engine.Project, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.project(name)
}

func (e *Engine) project(name project.Name) (engine.Project, error) {
	p, found := e.projects[name]
	if !found {
		return p, no(engine.NotFound, "project %s: there is none of that name: apply its file first", name)
	}
	p.Environments = slices.Clone(p.Environments)
	for i := range p.Environments {
		env := &p.Environments[i]
		for _, r := range e.rollouts {
			if r.Project == name && r.Environment == env.Name && r.State == release.Succeeded {
				env.Release = r.Release
				env.Services = []engine.Service{{Name: "web", FullName: project.FullName(name, env.Name, "web"), Image: "registry.example/orders/web@" + Digest, Release: r.Release, Running: 3, Wanted: 3}}
			}
			if r.Project == name && r.Environment == env.Name && r.State == release.Running {
				env.Rollout = r.ID
			}
		}
	}
	return p, nil
}

// DeleteProject forgets a project that runs nothing.
func (e *Engine) DeleteProject(_ context.Context, o engine.Delete) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.project(o.Project)
	if err != nil {
		return err
	}
	if o.IfVersion != nil && *o.IfVersion != p.Version {
		return no(engine.Stale, "project %s is at version %d by now, not %d", p.Name, p.Version, *o.IfVersion)
	}
	for _, env := range p.Environments {
		if env.Release != "" && !o.Services {
			return no(engine.InUse, "project %s runs %s in %s: remove it first, or ask for its removal too", p.Name, env.Release, env.Name)
		}
	}
	delete(e.projects, p.Name)
	return nil
}

// CreateRelease makes a release; nobody has an image whose name holds "missing".
func (e *Engine) CreateRelease(_ context.Context, o engine.NewRelease) (engine.Release, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, err := e.project(o.Project); err != nil {
		return engine.Release{}, err
	}
	if o.ID == "" {
		o.ID = release.ID(fmt.Sprintf("r-%d", len(e.releases[o.Project])+1))
	}
	if slices.ContainsFunc(e.releases[o.Project], func(r engine.Release) bool { return r.ID == o.ID }) {
		return engine.Release{}, no(engine.Exists, "release %s of %s: there is one of that name", o.ID, o.Project)
	}
	images, err := pinned(o.Images)
	if err != nil {
		return engine.Release{}, err
	}
	made, err := release.New(release.Release{ID: o.ID, Project: o.Project, Commit: o.Commit, Images: images, Author: "tester", Created: e.now()})
	if err != nil {
		return engine.Release{}, no(engine.Invalid, "%v", err)
	}
	r := engine.Release{Release: made}
	e.releases[o.Project] = append(e.releases[o.Project], r)
	e.tell(engine.Event{Type: "release.created", Project: o.Project, Release: r.ID, Text: fmt.Sprintf("release %s of %s", r.ID, o.Project)})
	return r, nil
}

// Nodes are three managers.
func (e *Engine) Nodes(context.Context) ([]engine.Node, error) {
	var all []engine.Node
	for i, name := range []string{"n3", "n1", "n2"} {
		all = append(all, engine.Node{ID: "id" + name, Name: name, Role: "manager", Leader: name == "n1", State: "ready", Availability: "active",
			Address: fmt.Sprintf("10.99.0.1%d", i), Engine: "28.5.2", Tasks: i})
	}
	return all, nil
}

// Addresses are three, two of them of orders.
func (e *Engine) Addresses(_ context.Context, o engine.AddressesOf) ([]engine.Address, error) {
	all := []engine.Address{
		{Address: netip.MustParseAddr("10.210.3.10"), Network: "orders-test_app", Project: "orders", Environment: "test", Service: "web", Slot: "2", Node: "n2", Task: "tk2", State: "running", Since: Begin},
		{Address: netip.MustParseAddr("10.210.3.9"), Network: "orders-test_app", Project: "orders", Environment: "test", Service: "web", Slot: "1", Node: "n1", Task: "tk1", State: "running", Since: Begin},
		{Address: netip.MustParseAddr("10.210.4.1"), Network: "gateway-test_app", Project: "gateway", Environment: "test", Since: Begin},
	}
	return slices.DeleteFunc(all, func(a engine.Address) bool {
		return o.Project != "" && a.Project != string(o.Project) || o.Environment != "" && a.Environment != string(o.Environment)
	}), nil
}

// Routes are those of orders' addresses; one node does not answer.
func (e *Engine) Routes(context.Context) ([]api.Route, []string, error) {
	return []api.Route{
		{Prefix: netip.MustParsePrefix("10.210.3.10/32"), NextHop: netip.MustParseAddr("10.99.0.12"), Node: "n2", Project: "orders", Environment: "test", MissingOn: []string{"n3"}},
		{Prefix: netip.MustParsePrefix("10.210.3.9/32"), NextHop: netip.MustParseAddr("10.99.0.11"), Node: "n1", Project: "orders", Environment: "test", Since: Begin},
	}, []string{"node n4: its agent has no line to this manager"}, nil
}
