// Package engine observes, decides and acts: it keeps Swarm equal to what the projects' environments should run, and says
// truthfully how each rollout went. It is the only room that knows the cores and the edges both.
// It knows no HTTP, no command line, no person's rights: who asks is a name that comes in. Nor does it hold truth of its
// own: what should run is in the store, what runs is in Swarm, and a manager that was restarted goes on from the two.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Cluster is what the engine needs of Docker. A write that lost a race fails with cluster.ErrConflict.
type Cluster interface {
	Observe(ctx context.Context) (plan.Observed, error)
	Look(ctx context.Context, serviceID string) (*swarm.Service, []swarm.Task, error)
	Apply(ctx context.Context, step plan.Step) (cluster.Applied, error)
	Tasks(ctx context.Context) ([]swarm.Task, error)
	Nodes(ctx context.Context) ([]swarm.Node, error)
}

// Registry turns an image's name and tag into one that is pinned by its digest.
type Registry interface {
	Resolve(ctx context.Context, image string) (release.Image, error)
}

// Probe asks a program at its own address whether it is ready. A service asks for it by the label rolling.probe.
type Probe interface {
	Probe(ctx context.Context, at netip.AddrPort, path string) error
}

// Lines fetches the last lines that a container wrote, from wherever they are.
type Lines interface {
	Lines(ctx context.Context, at cluster.Place, n int) ([]string, error)
}

// Options are what an engine is made of.
type Options struct {
	Store    store.Store
	Cluster  Cluster
	Registry Registry
	Lines    []Lines                              // asked in order until one answers; none: rollouts end without last lines
	Probe    Probe                                // nil: the manager cannot reach containers, and health is Docker's check alone
	Zone     func(string) (*time.Location, error) // nil: time.LoadLocation
	Now      func() time.Time                     // nil: time.Now
	Log      *slog.Logger                         // nil: silence
}

// Engine is the manager's loop. Its methods may be called at once from many doors.
type Engine struct {
	options Options
	bell    bell          // rung when the store has a new event
	begun   chan struct{} // has one element when there may be a rollout that nobody works at

	mu        sync.Mutex // guards the rest
	working   map[RolloutID]bool
	cancelled map[RolloutID]string        // by whom
	parsed    map[uint64]*project.Project // by the file's version
}

// New makes an engine and starts nothing.
func New(o Options) (*Engine, error) {
	var missing []error
	if o.Store == nil {
		missing = append(missing, errors.New("no store"))
	}
	if o.Cluster == nil {
		missing = append(missing, errors.New("no cluster"))
	}
	if o.Registry == nil {
		missing = append(missing, errors.New("no registry"))
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("make the engine: %w", errors.Join(missing...))
	}
	if o.Zone == nil {
		o.Zone = time.LoadLocation
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{options: o, begun: make(chan struct{}, 1), working: map[RolloutID]bool{},
		cancelled: map[RolloutID]string{}, parsed: map[uint64]*project.Project{}}, nil
}

func (e *Engine) now() time.Time { return e.options.Now().UTC() }
