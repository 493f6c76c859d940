package pages

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

const (
	environmentEvery = 5 * time.Second // new samples come no faster
	historyBeside    = 6
	// samplesWithin: figures are asked of other nodes, and a page is of use without them.
	samplesWithin = 700 * time.Millisecond
	tasksShown    = 400 // of one environment
)

type environmentHead struct {
	Project         engine.Project
	Environment     engine.Environment
	Pill            pill
	Running, Wanted uint64
	Bar             template.HTML
	Fault           *fault // why the tasks are not shown
	More            int    // tasks that are not shown
}

type environmentSide struct {
	Project     project.Name
	Environment project.EnvironmentName
	Now         *rolloutView // the one that runs, or the last one if it did not end well
	Last        []engine.Rollout
}

type serviceView struct {
	Project     project.Name
	Environment engine.Environment
	Service     engine.Service
	Image       imageText
	Pill        pill
	Bar         template.HTML
	Fixed       bool // one task a node: it has no count to set
	Scaled      bool // its count was set by hand
	Tasks       []taskView
	Measured    bool
}

type taskView struct {
	engine.Task
	Pill        pill
	CPU, Memory chart
	Log         string
}

// imageText is an image parted for reading.
type imageText struct{ Name, Digest, Whole string }

func imageOf(s string) imageText {
	name, digest, _ := strings.Cut(s, "@")
	return imageText{Name: name, Digest: short(digest), Whole: s}
}

// environment shows what one environment runs, task by task.
func (p *Pages) environment(ctx context.Context, v *visit, a address) (page, error) {
	of, env, err := p.find(ctx, a)
	if err != nil {
		return page{}, err
	}
	tasks, err := p.parts.Tasks.Tasks(ctx, of.Name, env.Name)
	head := environmentHead{Project: of, Environment: env}
	if err != nil {
		f := p.faultOf(ctx, v, err)
		head.Fault = &f
	}
	slices.SortStableFunc(tasks, bySlot)
	if head.More = max(0, len(tasks)-tasksShown); head.More > 0 {
		tasks = tasks[:tasksShown]
	}
	var h health
	h, head.Running, head.Wanted = healthOf(env.Services)
	head.Pill, head.Bar = healthPill(v.words, h), countBar(head.Running, head.Wanted)
	side, err := p.side(ctx, v, of.Name, env)
	if err != nil {
		return page{}, err
	}
	pg := page{
		title: fmt.Sprintf("%s / %s", of.Name, env.Name), nav: "board", live: true, every: environmentEvery,
		crumbs: []crumb{{v.t("nav.board"), "/"}, {string(of.Name), path("projects", of.Name)}, {string(env.Name), ""}},
		parts:  []part{{"environment-head", "environment-head", head}, {"environment-side", "environment-side", side}},
		wanted: func(e engine.Event) bool {
			return e.Project == of.Name && (e.Environment == "" || e.Environment == env.Name)
		},
	}
	if len(env.Services) == 0 {
		pg.parts = append(pg.parts, part{"environment-empty", "environment-empty", head})
	}
	samples := p.samples(ctx, tasks)
	for _, s := range env.Services {
		pg.parts = append(pg.parts, part{dom("service", s.Name), "service", v.service(of.Name, env, s, tasks, samples)})
	}
	return pg, nil
}

// find gives a project and its environment, or says that there is none.
func (p *Pages) find(ctx context.Context, a address) (engine.Project, engine.Environment, error) {
	of, err := p.parts.Projects.Project(ctx, a.project)
	if err != nil {
		return of, engine.Environment{}, err
	}
	env, ok := environmentIn(of, a.environment)
	if !ok {
		return of, env, &fault{Code: string(engine.NotFound), Detail: fmt.Sprintf("project %s has no environment %s", of.Name, a.environment), Back: path("projects", of.Name)}
	}
	return of, env, nil
}

// samples asks what was measured, of all nodes in pieces side by side; whatever fails is missing.
func (p *Pages) samples(ctx context.Context, tasks []engine.Task) map[string]engine.Samples {
	var ids []string
	for _, t := range tasks {
		if t.State == "running" {
			ids = append(ids, t.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, samplesWithin)
	defer cancel()
	found, err := p.parts.Tasks.Samples(ctx, ids)
	if err != nil {
		p.parts.Log.Debug("no samples", "error", err)
	}
	return found
}

// side is the rollout that matters now and those before it.
func (p *Pages) side(ctx context.Context, v *visit, name project.Name, env engine.Environment) (environmentSide, error) {
	side := environmentSide{Project: name, Environment: env.Name}
	last, err := p.parts.Rollouts.Rollouts(ctx, engine.RolloutsOf{Project: name, Environment: env.Name, Limit: historyBeside})
	if err != nil {
		return side, err
	}
	side.Last = last
	if len(last) == 0 {
		return side, nil
	}
	var now engine.Rollout
	var story []engine.Event
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		now, err = p.parts.Rollouts.Rollout(ctx, last[0].ID)
		return err
	})
	group.Go(func() (err error) {
		story, err = p.parts.Rollouts.Story(ctx, last[0].ID)
		return err
	})
	if err := group.Wait(); err != nil {
		return side, err
	}
	view := v.rolloutView(now, story)
	view.Story = view.Story[max(0, len(view.Story)-storyBeside):]
	side.Now = &view
	return side, nil
}

func (v *visit) service(name project.Name, env engine.Environment, s engine.Service, tasks []engine.Task, samples map[string]engine.Samples) serviceView {
	view := serviceView{Project: name, Environment: env, Service: s, Image: imageOf(s.Image), Pill: healthPill(v.words, serviceHealth(s)), Bar: countBar(s.Running, s.Wanted)}
	_, view.Scaled = env.Scale[project.ServiceName(s.Name)]
	for _, t := range tasks {
		if t.Service != s.Name {
			continue
		}
		if _, err := strconv.Atoi(t.Slot); err != nil && t.Slot != "" {
			view.Fixed = true
		}
		one := taskView{Task: t, Pill: taskPill(v.words, t), Log: path("projects", name, "environments", env.Name, "tasks", t.ID, "log")}
		one.Message = clean(t.Message)
		if measured, ok := samples[t.ID]; ok {
			one.CPU, one.Memory = charts(v.words, measured)
			view.Measured = true
		}
		view.Tasks = append(view.Tasks, one)
	}
	return view
}

// bySlot sorts by service and slot, and puts the newest task of a slot first.
func bySlot(a, b engine.Task) int {
	if c := strings.Compare(a.Service, b.Service); c != 0 {
		return c
	}
	x, errX := strconv.Atoi(a.Slot)
	y, errY := strconv.Atoi(b.Slot)
	if errX == nil && errY == nil && x != y {
		return cmp.Compare(x, y)
	}
	if c := strings.Compare(a.Slot, b.Slot); c != 0 {
		return c
	}
	if c := b.Since.Compare(a.Since); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// tailLines is how many lines of a log are shown.
const tailLines = 200

type logView struct {
	Task    engine.Task
	Project project.Name
	Env     project.EnvironmentName
	Lines   []string
	Link    string
	Fault   *fault
}

// log shows the last lines that a task wrote: as a page, or as the piece of one where the page's script asks.
func (p *Pages) log(ctx context.Context, v *visit, a address) (page, error) {
	tasks, err := p.parts.Tasks.Tasks(ctx, a.project, a.environment)
	if err != nil {
		return page{}, err
	}
	back := path("projects", a.project, "environments", a.environment)
	i := slices.IndexFunc(tasks, func(t engine.Task) bool { return t.ID == a.task })
	if i < 0 {
		return page{}, &fault{Code: "no_task", Detail: fmt.Sprintf("task %s of %s/%s", a.task, a.project, a.environment), Back: back}
	}
	view := logView{Task: tasks[i], Project: a.project, Env: a.environment, Link: back + path("tasks", a.task, "log")}
	lines, err := p.parts.Tasks.Tail(ctx, a.task, tailLines)
	if err != nil {
		f := p.faultOf(ctx, v, err)
		view.Fault = &f
	}
	view.Lines = cleanAll(lines)
	title := v.t("log.title", "service", view.Task.Service, "slot", view.Task.Slot)
	return page{title: title, nav: "board",
		crumbs: []crumb{{v.t("nav.board"), "/"}, {string(a.project), path("projects", a.project)}, {string(a.environment), back}, {title, ""}},
		parts:  []part{{dom("tail", a.task), "log", view}}}, nil
}
