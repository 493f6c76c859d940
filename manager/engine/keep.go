package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// update writes in one transaction and wakes those who wait for events.
func (e *Engine) update(f func(store.Tx) error) error {
	if err := e.options.Store.Update(f); err != nil {
		return err
	}
	e.bell.ring()
	return nil
}

func refusal(code Code, format string, args ...any) *Error {
	return &Error{Code: code, err: fmt.Errorf(format, args...)}
}

// kept turns the store's refusals into the engine's.
func kept(err error) error {
	switch {
	case errors.Is(err, store.ErrStale):
		return &Error{Code: Stale, err: err}
	case errors.Is(err, store.ErrExists):
		return &Error{Code: Exists, err: err}
	}
	return err
}

// event and entry are written in the transaction of what they tell of.
func (e *Engine) event(tx store.Tx, v store.Event) (uint64, error) {
	v.At = e.now()
	kept, err := store.AddEvent(tx, v)
	return kept.Seq, err
}

func (e *Engine) entry(tx store.Tx, by, action, object, format string, args ...any) error {
	return store.AddEntry(tx, store.Entry{At: e.now(), By: by, Action: action, Object: object, Text: fmt.Sprintf(format, args...)})
}

// parse reads a project file that the store has kept, each version once.
func (e *Engine) parse(p store.Project) (*project.Project, error) {
	e.mu.Lock()
	known := e.parsed[p.Version]
	e.mu.Unlock()
	if known != nil {
		return known, nil
	}
	parsed, err := project.Parse(project.Input{File: p.FileName, Bytes: p.File, Files: p.Files, Zone: e.options.Zone})
	if err != nil {
		return nil, invalid(err)
	}
	e.keepParsed(p.Version, parsed)
	return parsed, nil
}

func (e *Engine) keepParsed(version uint64, parsed *project.Project) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.parsed) > keptParsed {
		clear(e.parsed)
	}
	e.parsed[version] = parsed
}

// warm parses all projects once, so that the first who lists them need not wait: a file takes some milliseconds.
func (e *Engine) warm(ctx context.Context) {
	var all []store.Project
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		all, err = store.Projects(tx)
		return err
	})
	for _, p := range all {
		if ctx.Err() != nil {
			return
		}
		if _, err := e.parse(p); err != nil {
			e.options.Log.Warn("a project file that was good once is refused now: apply it again", "project", p.Name, "err", err)
		}
	}
	if err != nil {
		e.options.Log.Error("the projects cannot be read", "err", err)
	}
}

// keptParsed bounds the memory for parsed files.
const keptParsed = 2000

func invalid(err error) error {
	var problems *project.Problems
	if errors.As(err, &problems) {
		return &Error{Code: Invalid, Problems: problems.List, err: err}
	}
	return &Error{Code: Invalid, err: err}
}

// getProject reads a project, or refuses: there is none.
func getProject(tx store.Tx, name project.Name) (store.Project, error) {
	p, ok, err := store.GetProject(tx, name)
	if err == nil && !ok {
		err = refusal(NotFound, "there is no project %s", name)
	}
	return p, err
}

func getRelease(tx store.Tx, name project.Name, id release.ID) (release.Release, error) {
	r, ok, err := store.GetRelease(tx, name, id)
	if err == nil && !ok {
		err = refusal(NotFound, "project %s has no release %s", name, id)
	}
	return r, err
}

func getRollout(tx store.Tx, id RolloutID) (store.Rollout, error) {
	r, ok, err := store.GetRollout(tx, id)
	if err == nil && !ok {
		err = refusal(NotFound, "there is no rollout %s", id)
	}
	return r, err
}

// environmentOf gives an environment of a parsed project, or refuses with the names that there are.
func environmentOf(p *project.Project, name project.EnvironmentName) (project.Environment, error) {
	env, ok := p.Environment(name)
	if !ok {
		return env, refusal(NotFound, "project %s has no environment %s (%s)", p.Name, name, strings.Join(p.EnvironmentNames(), ", "))
	}
	return env, nil
}
