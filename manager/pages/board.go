package pages

import (
	"context"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// boardEvery draws the board again without any event: counts change by themselves where nobody listens to the Swarm.
const boardEvery = 10 * time.Second

type boardHead struct {
	Query, Show              string
	Projects, Moving, Unwell int
	Shown                    int
	Stages                   []string
	Fault                    *fault // what Swarm did not say; the record is shown all the same
}

type boardRow struct {
	Project engine.Project
	Columns []boardColumn
	Width   int // how many stages there are
}

type boardColumn struct {
	Stage string
	Cells []boardCell
}

type boardCell struct {
	Project         project.Name
	Environment     engine.Environment
	Named           bool // its name says more than its stage
	Health          health
	Pill            pill
	Running, Wanted uint64
	Bar             template.HTML
	Last            *engine.Rollout
	Counted         bool // Swarm said how many run
}

func (c boardCell) unwell() bool {
	if c.Health == down || c.Health == lacking {
		return true
	}
	if c.Last == nil {
		return false
	}
	switch c.Last.State {
	case release.Failed, release.TimedOut, release.Paused, release.RolledBack:
		return true
	}
	return false
}

func (c boardCell) moving() bool { return c.Environment.Rollout != "" }

// board shows all projects by stage.
func (p *Pages) board(ctx context.Context, v *visit, a address) (page, error) {
	all, err := p.parts.Projects.Overviews(ctx)
	head := boardHead{Query: strings.TrimSpace(a.query("q")), Show: a.query("show")}
	if err != nil {
		f := p.faultOf(ctx, v, err)
		head.Fault = &f
		if all, err = p.recorded(ctx); err != nil {
			return page{}, err
		}
	}
	head.Projects, head.Stages = len(all), stagesOf(all)
	var rows []part
	for _, o := range all {
		row, moving, unwell := v.row(o, head.Stages, head.Fault == nil)
		head.Moving, head.Unwell = head.Moving+moving, head.Unwell+unwell
		hidden := !strings.Contains(strings.ToLower(string(o.Name)), strings.ToLower(head.Query)) ||
			head.Show == "unwell" && unwell == 0 || head.Show == "moving" && moving == 0
		if !hidden {
			rows = append(rows, part{dom("row", o.Name), "board-row", row})
		}
	}
	head.Shown = len(rows)
	pg := page{title: v.t("board.title"), nav: "board", live: true, every: boardEvery, parts: []part{{"board-head", "board-head", head}}}
	switch {
	case len(all) == 0:
		pg.parts = append(pg.parts, part{"board-empty", "board-empty", nil})
	case len(rows) == 0:
		pg.parts = append(pg.parts, part{"board-none", "board-none", head})
	default:
		pg.parts = append(pg.parts, part{"board-columns", "board-columns", head})
		pg.parts = append(pg.parts, rows...)
	}
	return pg, nil
}

// recentRollouts is how many rollouts are looked through for the last one of each environment while Swarm does not answer.
const recentRollouts = 200

// recorded is what can be said of all projects without Swarm.
func (p *Pages) recorded(ctx context.Context) ([]engine.Overview, error) {
	known, err := p.parts.Projects.Projects(ctx)
	if err != nil {
		return nil, err
	}
	recent, err := p.parts.Rollouts.Rollouts(ctx, engine.RolloutsOf{Limit: recentRollouts})
	if err != nil {
		return nil, err
	}
	last := map[project.Name]map[project.EnvironmentName]engine.Rollout{}
	for _, r := range slices.Backward(recent) {
		if last[r.Project] == nil {
			last[r.Project] = map[project.EnvironmentName]engine.Rollout{}
		}
		last[r.Project][r.Environment] = r
	}
	var all []engine.Overview
	for _, one := range known {
		all = append(all, engine.Overview{Project: one, Last: last[one.Name]})
	}
	return all, nil
}

// stagesOf are the stages that any project has, in their order.
func stagesOf(all []engine.Overview) []string {
	used := map[string]bool{}
	for _, o := range all {
		for _, env := range o.Environments {
			used[env.Stage] = true
		}
	}
	var stages []string
	for s := project.Isolated; s <= project.Production; s++ {
		if used[s.String()] {
			stages = append(stages, s.String())
		}
	}
	return stages
}

func (v *visit) row(o engine.Overview, stages []string, counted bool) (row boardRow, moving, unwell int) {
	row = boardRow{Project: o.Project, Width: len(stages)}
	for _, stage := range stages {
		column := boardColumn{Stage: stage}
		for _, env := range o.Environments {
			if env.Stage != stage {
				continue
			}
			c := boardCell{Project: o.Name, Environment: env, Named: string(env.Name) != stage, Counted: counted}
			c.Health, c.Running, c.Wanted = healthOf(env.Services)
			if !counted && env.Release != "" {
				c.Health = unsure
			}
			c.Pill, c.Bar = healthPill(v.words, c.Health), countBar(c.Running, c.Wanted)
			if last, ok := o.Last[env.Name]; ok {
				c.Last = &last
			}
			if c.moving() {
				moving++
			}
			if c.unwell() {
				unwell++
			}
			column.Cells = append(column.Cells, c)
		}
		row.Columns = append(row.Columns, column)
	}
	return row, moving, unwell
}

// environmentIn finds one environment of a project.
func environmentIn(p engine.Project, name project.EnvironmentName) (engine.Environment, bool) {
	i := slices.IndexFunc(p.Environments, func(e engine.Environment) bool { return e.Name == name })
	if i < 0 {
		return engine.Environment{}, false
	}
	return p.Environments[i], true
}
