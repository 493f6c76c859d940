package pages

import (
	"context"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

const (
	rolloutEvery  = 5 * time.Second
	storyBeside   = 5 // lines of a rollout's story on its environment's page
	rolloutsAPage = 25
)

// rolloutView is a rollout for a template.
type rolloutView struct {
	engine.Rollout
	Pill     pill
	Running  bool
	Until    time.Time // its end, or now
	Services []progressView
	Story    []storyLine
	Unwell   bool // it ended otherwise than it was meant to
}

type progressView struct {
	engine.Progress
	Short string
	Pill  pill
	Bar   template.HTML
	Every bool // one task a node
}

type storyLine struct {
	At   time.Time
	Type string
	Text string
}

func (v *visit) rolloutView(r engine.Rollout, story []engine.Event) rolloutView {
	view := rolloutView{Rollout: r, Pill: outcomePill(v.words, r.State, r.GoingBack), Running: r.State == release.Running, Until: v.now}
	if r.Ended != nil {
		view.Until = *r.Ended
	}
	switch r.State {
	case release.Failed, release.TimedOut, release.RolledBack, release.Paused:
		view.Unwell = true
	}
	view.Cause, view.Lines = clean(r.Cause), cleanAll(r.Lines)
	prefix := project.Namespace(r.Project, r.Environment) + "_"
	for _, s := range r.Services {
		one := progressView{Progress: s, Short: s.Service, Pill: outcomePill(v.words, s.State, r.GoingBack && !s.State.Ended()), Every: s.Wanted < 0}
		if len(s.Service) > len(prefix) && s.Service[:len(prefix)] == prefix {
			one.Short = s.Service[len(prefix):]
		}
		one.Reason = clean(s.Reason)
		one.Bar = countBar(uint64(max(0, s.Running)), uint64(max(0, s.Wanted, s.Running))) //nolint:gosec // not negative
		view.Services = append(view.Services, one)
	}
	for _, e := range story {
		view.Story = append(view.Story, storyLine{At: e.At, Type: e.Type, Text: clean(e.Text)})
	}
	return view
}

// rollout shows one rollout: how it goes on, or how it ended and why.
func (p *Pages) rollout(ctx context.Context, v *visit, a address) (page, error) {
	r, err := p.parts.Rollouts.Rollout(ctx, a.rollout)
	if err != nil {
		return page{}, err
	}
	story, err := p.parts.Rollouts.Story(ctx, a.rollout)
	if err != nil {
		return page{}, err
	}
	view := v.rolloutView(r, story)
	slices.Reverse(view.Story) // the newest first: it is what one comes back for
	pg := page{
		title: v.t("rollout.title", "id", r.ID), nav: "rollouts", live: view.Running,
		crumbs: []crumb{{v.t("nav.board"), "/"}, {string(r.Project), path("projects", r.Project)},
			{string(r.Environment), path("projects", r.Project, "environments", r.Environment)}, {string(r.ID), ""}},
		every:  rolloutEvery,
		wanted: func(e engine.Event) bool { return e.Rollout == r.ID },
		parts:  []part{{"rollout-head", "rollout-head", view}},
	}
	if view.Cause != "" || view.Failing != nil || len(view.Lines) > 0 || len(view.Notes) > 0 {
		pg.parts = append(pg.parts, part{"rollout-fault", "rollout-fault", view})
	}
	if len(view.Services) > 0 {
		pg.parts = append(pg.parts, part{"rollout-services", "rollout-services", view})
	}
	pg.parts = append(pg.parts, part{"rollout-story", "rollout-story", view})
	if r.Plan != "" {
		pg.parts = append(pg.parts, part{"rollout-plan", "rollout-plan", view})
	}
	return pg, nil
}

type historyView struct {
	Project     project.Name
	Environment project.EnvironmentName
	Rollouts    []rolloutView
	Older       string // address of the next page; "": there is none
	Newest      string // address of the first page, from another one
}

// history lists rollouts, newest first.
func (p *Pages) history(ctx context.Context, v *visit, a address) (page, error) {
	before := engine.RolloutID(a.query("before"))
	view := historyView{Project: project.Name(a.query("project")), Environment: project.EnvironmentName(a.query("environment"))}
	found, err := p.parts.Rollouts.Rollouts(ctx, engine.RolloutsOf{Project: view.Project, Environment: view.Environment, Limit: rolloutsAPage + 1, Before: before})
	if err != nil {
		return page{}, err
	}
	query := fmt.Sprintf("/rollouts?project=%s&environment=%s", queryEscape(view.Project), queryEscape(view.Environment))
	if before != "" {
		view.Newest = query
	}
	if len(found) > rolloutsAPage {
		found = found[:rolloutsAPage]
		view.Older = query + "&before=" + queryEscape(found[rolloutsAPage-1].ID)
	}
	for _, r := range found {
		view.Rollouts = append(view.Rollouts, v.rolloutView(r, nil))
	}
	pg := page{title: v.t("rollouts.title"), nav: "rollouts", live: before == "", every: boardEvery,
		parts: []part{{"rollouts-head", "rollouts-head", view}, {"rollouts-list", "rollouts-list", view}}}
	pg.wanted = func(e engine.Event) bool {
		return e.Rollout != "" && (view.Project == "" || e.Project == view.Project) && (view.Environment == "" || e.Environment == view.Environment)
	}
	return pg, nil
}
