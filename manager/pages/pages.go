// Package pages is the dashboard's door: pages for people, served beside the API, made on the server and kept true by
// server-sent events. It knows HTML, forms, languages and what a person has to see at a glance. It knows no Swarm and no
// store, and decides nothing: every act goes through the same engine as the API's.
//
// Each page is a list of parts, elements with an id of their own. GET shows all of them; the page's one event stream
// (/live) draws the page again when something happened, and sends the parts that differ.
//
// What tests and scripts may rely on, beside the addresses in Mount:
//
//   - <html lang data-theme>; body[data-live], set by the page's script, is connecting, live or stale; #stale is the banner of the latter
//   - parts: #board-head, #row-PROJECT[data-project], #environment-head, #environment-side, #service-NAME[data-service],
//     #releases-head, #release-ID[data-release], #rollout-head, #rollout-services, #rollout-story, #rollout-fault, #rollout-plan,
//     #rollouts-list, #plan, #fault[data-code]
//   - a cell of the board: [data-project][data-environment][data-health] with [data-field=release|count|outcome]
//   - a task: #task-ID[data-task][data-slot][data-state] with [data-field=address|node|state|age|cpu|memory]; its log opens in #log-ID
//   - acts: [data-action=deploy|promote|rollback|scale|unscale|cancel|log|close-log|language|theme|filter]; the button that
//     carries one out is [data-action=confirm]
//   - a state: [data-state] or [data-health] with the engine's own word, whatever the language
//
// In an id every character of a name but letters, digits and hyphens is _ and its code in hexadecimal.
package pages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/ui"
)

// Projects says what there is.
type Projects interface {
	Overviews(ctx context.Context) ([]engine.Overview, error)
	Projects(ctx context.Context) ([]engine.Project, error)
	Project(ctx context.Context, name project.Name) (engine.Project, error)
}

// Releases says what has been made and where it may go.
type Releases interface {
	Releases(ctx context.Context, p project.Name) ([]engine.Release, error)
	Gates(ctx context.Context, p project.Name, ids []release.ID) (engine.Gates, error)
}

// Tasks says what runs, task by task. Samples and Tail may cost a question to other nodes: both bound it by ctx, and a
// task that nobody can tell anything of is missing from the answer, not an error.
type Tasks interface {
	Tasks(ctx context.Context, p project.Name, e project.EnvironmentName) ([]engine.Task, error)
	Samples(ctx context.Context, taskIDs []string) (map[string]engine.Samples, error)
	Tail(ctx context.Context, taskID string, lines int) ([]string, error)
}

// Deployments changes what an environment runs. Each change begins a rollout and returns at once.
type Deployments interface {
	Deploy(ctx context.Context, o engine.Deploy) (engine.Rollout, error)
	Promote(ctx context.Context, o engine.Deploy) (engine.Rollout, error)
	Rollback(ctx context.Context, o engine.Rollback) (engine.Rollout, error)
	Scale(ctx context.Context, o engine.Scale) (engine.Rollout, error)
}

// Plans says what a deployment or a way back would do, and does nothing.
type Plans interface {
	Plan(ctx context.Context, o engine.PlanOf) (engine.Plan, error)
	PlanBack(ctx context.Context, p project.Name, e project.EnvironmentName) (engine.Plan, error)
}

// Rollouts says how rollouts stand.
type Rollouts interface {
	Rollouts(ctx context.Context, o engine.RolloutsOf) ([]engine.Rollout, error)
	Rollout(ctx context.Context, id engine.RolloutID) (engine.Rollout, error)
	Story(ctx context.Context, id engine.RolloutID) ([]engine.Event, error)
	Cancel(ctx context.Context, o engine.Cancel) (engine.Rollout, error)
}

// Events tells what happens. A channel is closed when there will be no more, or when ctx ends.
type Events interface {
	Events(ctx context.Context, since uint64) (<-chan engine.Event, error)
	LastEvent(ctx context.Context) (uint64, error)
}

// Parts are what is behind the door.
type Parts struct {
	Projects    Projects
	Releases    Releases
	Tasks       Tasks
	Deployments Deployments
	Plans       Plans
	Rollouts    Rollouts
	Events      Events
	Version     string
	Log         *slog.Logger     // nil: silence
	Now         func() time.Time // nil: time.Now
}

// Pages is the door.
type Pages struct {
	parts   Parts
	kit     *ui.Kit
	sets    map[ui.Language]*template.Template
	key     []byte        // of the tokens in forms: a new one in each process
	streams chan struct{} // as many as may be open at once
	drawing chan struct{} // as many pages as are drawn at once for streams
}

// New makes the door and serves nothing: see Mount.
func New(parts Parts) (*Pages, error) {
	if parts.Projects == nil || parts.Releases == nil || parts.Tasks == nil || parts.Deployments == nil || parts.Plans == nil || parts.Rollouts == nil || parts.Events == nil {
		return nil, errors.New("make the dashboard: something behind it is missing")
	}
	if parts.Log == nil {
		parts.Log = slog.New(slog.DiscardHandler)
	}
	if parts.Now == nil {
		parts.Now = time.Now
	}
	kit, err := ui.Load()
	if err != nil {
		return nil, err
	}
	p := &Pages{parts: parts, kit: kit, sets: map[ui.Language]*template.Template{}, key: make([]byte, 32),
		streams: make(chan struct{}, streamsAtOnce), drawing: make(chan struct{}, drawnAtOnce)}
	if _, err := rand.Read(p.key); err != nil {
		return nil, fmt.Errorf("make the key of the dashboard's forms: %w", err)
	}
	for _, l := range ui.Languages() {
		if p.sets[l], err = kit.Templates(p.functions(l)); err != nil {
			return nil, fmt.Errorf("read the dashboard's templates: %w", err)
		}
	}
	return p, nil
}
