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
	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/internal/wire"
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

// Live is what the engine needs of Docker to see tasks one by one, and to hear of what others do.
type Live interface {
	Living(ctx context.Context) ([]swarm.Task, error)
	TasksOf(ctx context.Context, labels map[string]string) ([]swarm.Task, error)
	Task(ctx context.Context, id string) (swarm.Task, error)
	Changes(ctx context.Context, tell func(serviceID string)) error
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

// Agents are asked for what only a task's own node knows.
type Agents interface {
	Checks(ctx context.Context, at cluster.Place) (Checks, error)
	Samples(ctx context.Context, node string, tasks []string) (map[string]Samples, error)
}

// Settlements keeps named pools and reservations in the Swarm. A number that is taken fails with cluster.ErrConflict.
type Settlements interface {
	Settled(ctx context.Context) ([]allotment.Copy, error)
	Settle(ctx context.Context, number uint64, text []byte) error
}

// Ledger is the IPAM plugin of a node, by way of its agent. Only the leader's knows the Swarm's addresses.
type Ledger interface {
	Addresses(ctx context.Context, node string, leases bool, one netip.Addr) (wire.Addresses, error)
	Free(ctx context.Context, node string, a netip.Addr, sure bool) error
	ReadSettled(ctx context.Context, node string) error
}

// Options are what an engine is made of.
type Options struct {
	Store      store.Store
	Cluster    Cluster
	Settled    Settlements // nil: there are no named pools and no reservations
	Ledger     Ledger      // nil: nobody knows what rests, and why a network was refused
	Registry   Registry
	Live       Live
	Fabric     Fabric                               // nil: nobody knows how the nodes' network stands
	Membership Membership                           // nil: nodes cannot be drained
	Agents     Agents                               // nil: there are none, and nobody knows samples and health checks
	Lines      []Lines                              // asked in order until one answers; none: rollouts end without last lines
	Probe      Probe                                // nil: the manager cannot reach containers, and health is Docker's check alone
	Zone       func(string) (*time.Location, error) // nil: time.LoadLocation
	Now        func() time.Time                     // nil: time.Now
	Log        *slog.Logger                         // nil: silence
}

// Engine is the manager's loop. Its methods may be called at once from many doors.
type Engine struct {
	options Options
	bell    bell          // rung when the store has a new event, or the Swarm a change
	changes changes       // of the Swarm, as far as somebody listens
	begun   chan struct{} // has one element when there may be a rollout that nobody works at

	mu        sync.Mutex // guards the rest
	working   map[RolloutID]bool
	cancelled map[RolloutID]string        // by whom
	parsed    map[uint64]*project.Project // by the file's version
	places    map[string]cluster.Place    // of tasks, by id, as far as they were seen on a node
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
	if o.Live == nil {
		missing = append(missing, errors.New("no live view of the cluster"))
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
		cancelled: map[RolloutID]string{}, parsed: map[uint64]*project.Project{}, places: map[string]cluster.Place{}}, nil
}

func (e *Engine) now() time.Time { return e.options.Now().UTC() }
