// Package api is the manager's door for programs: HTTP under /api/v1, described by the OpenAPI document that it serves, with
// events as they happen. The command line and the dashboard use nothing else.
// It knows HTTP, JSON, which kind of refusal is which status, and who may connect at all. It knows no Swarm and no store,
// decides nothing about projects and releases, and has no users yet, which is why it serves this machine alone.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// Projects keeps project files.
type Projects interface {
	ApplyProject(ctx context.Context, o engine.Apply) (engine.Project, error)
	Projects(ctx context.Context) ([]engine.Project, error)
	Project(ctx context.Context, name project.Name) (engine.Project, error)
	DeleteProject(ctx context.Context, o engine.Delete) error
}

// Releases keeps releases.
type Releases interface {
	CreateRelease(ctx context.Context, o engine.NewRelease) (engine.Release, error)
	Releases(ctx context.Context, p project.Name) ([]engine.Release, error)
	Release(ctx context.Context, p project.Name, id release.ID) (engine.Release, error)
	Discard(ctx context.Context, o engine.Discard) (engine.Release, error)
}

// Deployments changes what an environment runs. Each change begins a rollout and returns at once.
type Deployments interface {
	Plan(ctx context.Context, o engine.PlanOf) (engine.Plan, error)
	Deploy(ctx context.Context, o engine.Deploy) (engine.Rollout, error)
	Promote(ctx context.Context, o engine.Deploy) (engine.Rollout, error)
	Rollback(ctx context.Context, o engine.Rollback) (engine.Rollout, error)
	Scale(ctx context.Context, o engine.Scale) (engine.Rollout, error)
}

// Rollouts says how rollouts stand.
type Rollouts interface {
	Rollouts(ctx context.Context, o engine.RolloutsOf) ([]engine.Rollout, error)
	Rollout(ctx context.Context, id engine.RolloutID) (engine.Rollout, error)
	Cancel(ctx context.Context, o engine.Cancel) (engine.Rollout, error)
}

// Tasks says what runs, task by task.
type Tasks interface {
	Tasks(ctx context.Context, p project.Name, e project.EnvironmentName) ([]engine.Task, error)
	Samples(ctx context.Context, taskIDs []string) (map[string]engine.Samples, error)
	Tail(ctx context.Context, taskID string, lines int) ([]string, error)
}

// Events tells what happens. A channel is closed when there will be no more, or when ctx ends.
type Events interface {
	Watch(ctx context.Context, id engine.RolloutID, since uint64) (<-chan engine.Event, error)
	Events(ctx context.Context, since uint64) (<-chan engine.Event, error)
	LastEvent(ctx context.Context) (uint64, error)
}

// Swarm says what the Swarm is made of.
type Swarm interface {
	Nodes(ctx context.Context) ([]engine.Node, error)
	Addresses(ctx context.Context, o engine.AddressesOf) ([]engine.Address, error)
}

// Nodes takes nodes out of use, and back.
type Nodes interface {
	NodeDetail(ctx context.Context, name string) (engine.NodeDetail, error)
	DrainNode(ctx context.Context, o engine.NodeChange) (engine.NodeDetail, error)
	ActivateNode(ctx context.Context, o engine.NodeChange) (engine.NodeDetail, error)
}

// Doctor says what is wrong with the network.
type Doctor interface {
	Examine(ctx context.Context, node string) (engine.Examination, error)
	Reach(ctx context.Context, from, goal string) (Reach, error)
}

// Routes asks the nodes' agents where addresses are announced. Missing says who did not answer, if others did.
type Routes interface {
	Routes(ctx context.Context) (routes []Route, missing []string, err error)
}

// Pages are what people see beside the API, on the same server and under the same rules. by says who asks; untilStop gives a
// context that ends with the request and with the manager.
type Pages interface {
	Mount(e *echo.Echo, by func(context.Context) string, untilStop func(context.Context) (context.Context, context.CancelFunc))
}

// Check is one thing that the manager needs to be ready.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// Parts are what is behind the door.
type Parts struct {
	Projects     Projects
	Releases     Releases
	Deployments  Deployments
	Rollouts     Rollouts
	Tasks        Tasks
	Events       Events
	Swarm        Swarm
	Networks     Networks
	Pools        Pools
	Addresses    Addresses
	Reservations Reservations
	Nodes        Nodes
	Doctor       Doctor
	Routes       Routes // nil: no agent reports to this manager
	Pages        Pages  // nil: there are none
	Checks       []Check
	Figures      prometheus.Gatherer // for /metrics; nil: there are none
	Version      string
	Log          *slog.Logger     // nil: silence
	Now          func() time.Time // nil: time.Now
}

// API is the door.
type API struct {
	parts    Parts
	log      *slog.Logger
	now      func() time.Time
	echo     *echo.Echo
	huma     huma.API
	answers  keptAnswers
	figures  figures
	document []byte
}

// New makes the door and opens nothing: see Listen and Serve.
func New(parts Parts) (*API, error) {
	a := &API{parts: parts, log: parts.Log, now: parts.Now, echo: echo.New(), figures: newFigures()}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	a.answers.limit = keepAtMost
	a.echo.HTTPErrorHandler = a.failed
	a.echo.Use(a.named, a.recovered, a.local, a.whole, a.once)
	a.huma = humaecho.New(a.echo, description(parts.Version))
	a.routes()
	if parts.Pages != nil {
		parts.Pages.Mount(a.echo, caller, untilStop)
	}
	tidy(a.huma.OpenAPI())
	document, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("make the OpenAPI document: %w", err)
	}
	a.document = document
	return a, nil
}

func (a *API) routes() {
	a.projectRoutes()
	a.releaseRoutes()
	a.deploymentRoutes()
	a.rolloutRoutes()
	a.taskRoutes()
	a.eventRoutes()
	a.swarmRoutes()
	a.nodeRoutes()
	a.networkRoutes()
	a.addressRoutes()
	a.healthRoutes()
}

// ServeHTTP answers one request; Serve does it with the limits of a server.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.echo.ServeHTTP(w, r) }
