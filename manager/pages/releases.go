package pages

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

const (
	releasesAPage = 20
	releasesEvery = 15 * time.Second // a freeze ends without an event
)

type releasesHead struct {
	Project engine.Project
	Targets []environmentState
	Older   string
	Newest  string
	Empty   bool
}

// environmentState is what an environment runs, for the head of a project's page.
type environmentState struct {
	engine.Environment
	Pill            pill
	Running, Wanted uint64
	Link            string
}

type releaseView struct {
	engine.Release
	Images []serviceImage
	Steps  []gateView
	Next   []gateView // where it may be promoted to next
}

type serviceImage struct {
	Service project.ServiceName
	Image   imageText
}

// gateView is one environment as a release sees it.
type gateView struct {
	Project     project.Name
	Environment engine.Environment
	State       string // here: it runs there; reached: it ran there; open, closed: it may or may not go there
	Reasons     []reason
	Link        string
}

// releases shows what has been made of a project and how far each release came.
func (p *Pages) releases(ctx context.Context, v *visit, a address) (page, error) {
	of, err := p.parts.Projects.Project(ctx, a.project)
	if err != nil {
		return page{}, err
	}
	all, err := p.parts.Releases.Releases(ctx, a.project)
	if err != nil {
		return page{}, err
	}
	head := v.releasesHead(of)
	shown := head.leaf(all, a.query("before"))
	var ids []release.ID
	for _, r := range shown {
		ids = append(ids, r.ID)
	}
	gates, err := p.gates(ctx, of, ids)
	if err != nil {
		return page{}, err
	}
	pg := page{title: v.t("releases.title", "project", of.Name), nav: "board", live: true, every: releasesEvery,
		crumbs: []crumb{{v.t("nav.board"), "/"}, {string(of.Name), ""}},
		wanted: func(e engine.Event) bool { return e.Project == of.Name },
		parts:  []part{{"releases-head", "releases-head", head}}}
	for _, r := range shown {
		pg.parts = append(pg.parts, part{dom("release", r.ID), "release", releaseOf(of, r, gates[r.ID])})
	}
	if head.Older != "" || head.Newest != "" {
		pg.parts = append(pg.parts, part{"releases-more", "releases-more", head})
	}
	return pg, nil
}

func (v *visit) releasesHead(of engine.Project) releasesHead {
	head := releasesHead{Project: of}
	for _, env := range of.Environments {
		one := environmentState{Environment: env, Link: path("projects", of.Name, "environments", env.Name)}
		var h health
		h, one.Running, one.Wanted = healthOf(env.Services)
		one.Pill = healthPill(v.words, h)
		head.Targets = append(head.Targets, one)
	}
	return head
}

// leaf picks the releases of one page, those after one that was the last of the page before, and notes where the others are.
func (h *releasesHead) leaf(all []engine.Release, before string) []engine.Release {
	h.Empty = len(all) == 0
	at := path("projects", h.Project.Name)
	if before != "" {
		h.Newest = at
		all = all[1+slices.IndexFunc(all, func(r engine.Release) bool { return string(r.ID) == before }):]
	}
	if len(all) > releasesAPage {
		all = all[:releasesAPage]
		h.Older = at + "?before=" + queryEscape(all[releasesAPage-1].ID)
	}
	return all
}

// gates asks nothing of a project whose file cannot be read: nothing can be deployed of it.
func (p *Pages) gates(ctx context.Context, of engine.Project, ids []release.ID) (engine.Gates, error) {
	if len(of.Problems) > 0 || len(ids) == 0 {
		return nil, nil
	}
	return p.parts.Releases.Gates(ctx, of.Name, ids)
}

func releaseOf(of engine.Project, r engine.Release, closed map[project.EnvironmentName][]release.Refusal) releaseView {
	view := releaseView{Release: r}
	for _, s := range slices.Sorted(maps.Keys(r.Images)) {
		view.Images = append(view.Images, serviceImage{s, imageOf(string(r.Images[s]))})
	}
	furthest := -1
	for i, env := range of.Environments {
		if slices.Contains(r.Reached, env.Name) {
			furthest = i
		}
	}
	next := ""
	for i, env := range of.Environments {
		g := gateView{Project: of.Name, Environment: env, State: "open", Reasons: reasons(closed[env.Name]),
			Link: path("projects", of.Name, "environments", env.Name, "deploy") + "?release=" + queryEscape(r.ID)}
		switch {
		case env.Release == r.ID:
			g.State = "here"
		case slices.Contains(r.Reached, env.Name):
			g.State = "reached"
		case len(g.Reasons) > 0:
			g.State = "closed"
		}
		view.Steps = append(view.Steps, g)
		beyond := i > furthest && (furthest < 0 || env.Stage != of.Environments[furthest].Stage)
		if beyond && (next == "" || next == env.Stage) && r.Discarded == nil {
			next = env.Stage
			view.Next = append(view.Next, g)
		}
	}
	return view
}

func queryEscape(s any) string { return url.QueryEscape(fmt.Sprint(s)) }
