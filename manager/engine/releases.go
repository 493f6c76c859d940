package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/registry"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// CreateRelease makes a release of images, each pinned by the digest that a registry has for it.
func (e *Engine) CreateRelease(ctx context.Context, o NewRelease) (Release, error) {
	var p store.Project
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		p, err = getProject(tx, o.Project)
		return err
	})
	if err != nil {
		return Release{}, err
	}
	parsed, err := e.parse(p)
	if err != nil {
		return Release{}, err
	}
	wanted, err := imagesOf(parsed, o.Images)
	if err != nil {
		return Release{}, err
	}
	pinned, err := e.pin(ctx, wanted)
	if err != nil {
		return Release{}, err
	}
	r := release.Release{ID: o.ID, Project: o.Project, Commit: o.Commit, Images: pinned, Author: o.By, Created: e.now()}
	err = e.update(func(tx store.Tx) (err error) {
		r, err = e.addRelease(tx, r)
		return err
	})
	if err != nil {
		return Release{}, kept(err)
	}
	return e.Release(ctx, o.Project, r.ID)
}

// addRelease checks a release, gives it a number if it has no name, and keeps it.
func (e *Engine) addRelease(tx store.Tx, r release.Release) (release.Release, error) {
	if _, err := getProject(tx, r.Project); err != nil {
		return r, err
	}
	if r.ID == "" {
		all, err := store.Releases(tx, r.Project)
		if err != nil {
			return r, err
		}
		r.ID = nextID(all)
	}
	made, err := release.New(r)
	if err != nil {
		return r, &Error{Code: Invalid, err: err}
	}
	if err := store.AddRelease(tx, made); err != nil {
		return r, err
	}
	_, err = e.event(tx, store.Event{Type: "release.created", Project: r.Project, Release: r.ID, Text: fmt.Sprintf("release %s of %s is made", r.ID, r.Project)})
	return made, errors.Join(err, e.entry(tx, r.Author, "release create", string(r.Project)+"/"+string(r.ID), "%s", list(r.Images)))
}

func list(images map[project.ServiceName]release.Image) string {
	var all []string
	for _, s := range slices.Sorted(maps.Keys(images)) {
		all = append(all, fmt.Sprintf("%s=%s", s, images[s]))
	}
	return strings.Join(all, " ")
}

// nextID is one more than the greatest number that a release of that form has.
func nextID(all []release.Release) release.ID {
	greatest := 0
	for _, r := range all {
		if n, err := strconv.Atoi(strings.TrimPrefix(string(r.ID), "r-")); err == nil && strings.HasPrefix(string(r.ID), "r-") {
			greatest = max(greatest, n)
		}
	}
	return release.ID("r-" + strconv.Itoa(greatest+1))
}

// imagesOf says which image each service of the project shall have: the one that is given for it, the one that the project
// file itself names, or the one that is given for all others.
func imagesOf(p *project.Project, given map[project.ServiceName]string) (map[project.ServiceName]string, error) {
	wanted := map[project.ServiceName]string{}
	for _, env := range p.Environments {
		for name, s := range env.Model.Services {
			if wanted[project.ServiceName(name)] == "" {
				wanted[project.ServiceName(name)] = s.Image
			}
		}
	}
	services := slices.Sorted(maps.Keys(wanted))
	var problems []project.Problem
	for _, name := range services {
		switch {
		case given[name] != "":
			wanted[name] = given[name]
		case wanted[name] == "" && given[""] != "":
			wanted[name] = given[""]
		case wanted[name] == "":
			problems = append(problems, project.Problem{Path: "images." + string(name), Text: "no image: name one for this service, or one for all"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, known := wanted[name]; !known && name != "" {
			problems = append(problems, project.Problem{Path: "images." + string(name), Text: "the project has no such service" + meant(name, services)})
		}
	}
	if len(problems) > 0 {
		all := &project.Problems{File: "release of " + string(p.Name), List: problems}
		return nil, &Error{Code: Invalid, Problems: problems, err: all}
	}
	return wanted, nil
}

func meant(name project.ServiceName, services []project.ServiceName) string {
	var names []string
	for _, s := range services {
		names = append(names, string(s))
	}
	if nearest := contract.Nearest(string(name), names); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return ""
}

// pin asks the registries, for each image once, side by side.
func (e *Engine) pin(ctx context.Context, wanted map[project.ServiceName]string) (map[project.ServiceName]release.Image, error) {
	images := slices.Compact(slices.Sorted(maps.Values(wanted)))
	pinned, errs := make([]release.Image, len(images)), make([]error, len(images))
	var wg sync.WaitGroup
	for i, image := range images {
		wg.Go(func() { pinned[i], errs[i] = e.options.Registry.Resolve(ctx, image) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, one := range errs {
			if one != nil && !errors.Is(one, registry.ErrUnknown) {
				return nil, err // one that did not answer: what it has, nobody knows
			}
		}
		return nil, &Error{Code: ImageUnknown, err: err}
	}
	byService := map[project.ServiceName]release.Image{}
	for name, image := range wanted {
		i, _ := slices.BinarySearch(images, image)
		byService[name] = pinned[i]
	}
	return byService, nil
}

// Releases lists a project's releases, newest first.
func (e *Engine) Releases(_ context.Context, p project.Name) ([]Release, error) {
	var views []Release
	err := e.options.Store.View(func(tx store.Tx) error {
		if _, err := getProject(tx, p); err != nil {
			return err
		}
		all, err := store.Releases(tx, p)
		if err != nil {
			return err
		}
		record, err := store.Record(tx, p)
		for _, r := range all {
			views = append(views, viewOfRelease(r, record))
		}
		return err
	})
	return views, err
}

// Release gives one release.
func (e *Engine) Release(_ context.Context, p project.Name, id release.ID) (Release, error) {
	var view Release
	err := e.options.Store.View(func(tx store.Tx) error {
		if _, err := getProject(tx, p); err != nil {
			return err
		}
		r, err := getRelease(tx, p, id)
		if err != nil {
			return err
		}
		record, err := store.Record(tx, p)
		view = viewOfRelease(r, record)
		return err
	})
	return view, err
}

func viewOfRelease(r release.Release, record release.Record) Release {
	view := Release{Release: r, Reached: record.Reached(r.ID)}
	for _, a := range record.Approvals {
		if a.Release == r.ID {
			view.Approvals = append(view.Approvals, a)
		}
	}
	for _, d := range record.Discards {
		if d.Release == r.ID {
			view.Discarded = &d
		}
	}
	return view
}

// Discard takes a release out of use for good.
func (e *Engine) Discard(ctx context.Context, o Discard) (Release, error) {
	err := e.update(func(tx store.Tx) error {
		p, err := getProject(tx, o.Project)
		if err != nil {
			return err
		}
		if _, err := getRelease(tx, o.Project, o.Release); err != nil {
			return err
		}
		parsed, err := e.parse(p)
		if err != nil {
			return err
		}
		record, err := store.Record(tx, o.Project)
		if err != nil {
			return err
		}
		if err := record.CheckDiscard(parsed, o.Release); err != nil {
			return &Error{Code: InUse, err: err}
		}
		d := release.Discard{Release: o.Release, By: o.By, Reason: o.Reason, At: e.now()}
		if err := store.AddDiscard(tx, o.Project, d); err != nil {
			return err
		}
		_, err = e.event(tx, store.Event{Type: "release.discarded", Project: o.Project, Release: o.Release, Text: fmt.Sprintf("release %s of %s is discarded: %s", o.Release, o.Project, o.Reason)})
		return errors.Join(err, e.entry(tx, o.By, "release discard", string(o.Project)+"/"+string(o.Release), "%s", o.Reason))
	})
	if err != nil {
		return Release{}, err
	}
	return e.Release(ctx, o.Project, o.Release)
}

// Judge keeps one person's yes or no to a release for an environment.
func (e *Engine) Judge(ctx context.Context, o Word) (Release, error) {
	if o.By == "" {
		return Release{}, refusal(Invalid, "approve release %s: nobody says so: want a name", o.Release)
	}
	word := "approve"
	if !o.Agrees {
		word = "reject"
	}
	err := e.update(func(tx store.Tx) error {
		p, err := getProject(tx, o.Project)
		if err != nil {
			return err
		}
		if _, err := getRelease(tx, o.Project, o.Release); err != nil {
			return err
		}
		parsed, err := e.parse(p)
		if err != nil {
			return err
		}
		if _, err := environmentOf(parsed, o.Environment); err != nil {
			return err
		}
		a := release.Approval{Release: o.Release, Environment: o.Environment, By: o.By, Agrees: o.Agrees, Reason: o.Reason, At: e.now()}
		if err := store.AddApproval(tx, o.Project, a); err != nil {
			return err
		}
		past := map[string]string{"approve": "approved", "reject": "rejected"}[word]
		_, err = e.event(tx, store.Event{Type: "release." + past, Project: o.Project, Environment: o.Environment, Release: o.Release,
			Text: fmt.Sprintf("%s %s release %s for %s", o.By, past, o.Release, o.Environment)})
		return errors.Join(err, e.entry(tx, o.By, "release "+word, string(o.Project)+"/"+string(o.Release), "for %s: %s", o.Environment, o.Reason))
	})
	if err != nil {
		return Release{}, err
	}
	return e.Release(ctx, o.Project, o.Release)
}
