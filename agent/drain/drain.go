// Package drain sends the real SIGTERM to containers whose stop signal is SIGURG, when their drain is over. It is the one
// room that knows the core (stops) and the edges (docker, record) both: it reads the engine's events, lets the core say what
// is due, and sends. What a label asks for is decided in the core; when a task is stopped, Swarm decides.
//
// A container is drained if its stop signal is SIGURG; how long, its own label rolling.drain says (a worker cannot read the
// labels of a service). The manager writes both. A stack file written by hand sets stop_signal: SIGURG, labels:
// {rolling.drain: 20s} beside the image, and a stop_grace_period longer than that. Without the label SIGTERM follows at once.
package drain

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

const (
	// rememberFor is how far back events are read at the start. The engine itself keeps 256 of them, however old.
	rememberFor = time.Hour
	// overlap covers events that the engine stamped before, and published after, the end of what was read.
	overlap = 2 * time.Second
	// againAfter is the wait after a call that failed.
	againAfter = time.Second
	// settle: when a node is drained, ours is one of the tasks that Swarm stops, and the others' SIGURG may come after our
	// SIGTERM. So the agent stays for that long at least.
	settle = 3 * time.Second
	// endWithin bounds how long the agent outstays its own SIGTERM; Rolling's stack file gives it a minute. Whoever is still
	// drained then gets SIGTERM at once, since nobody knows whether there will be a successor.
	endWithin = 50 * time.Second
)

// Engine is what the drain needs of the node's engine.
type Engine interface {
	Past(ctx context.Context, since, until time.Time) ([]stops.Event, error)
	Follow(ctx context.Context, since time.Time, to chan<- stops.Event) error
	// Stops says whether the container still runs, has not started since it was asked to stop, and is one that is drained.
	Stops(ctx context.Context, container string, asked time.Time) (bool, error)
	Terminate(ctx context.Context, container string) error
}

// Record is where the stops outlive the agent.
type Record interface {
	Load() ([]stops.Stop, error)
	Save([]stops.Stop) error
}

// A Report says how it stands.
type Report struct {
	Following bool         `json:"following"` // the engine's events are being read
	Problem   string       `json:"problem,omitempty"`
	Pending   []stops.Stop `json:"pending"`
	Sent      int          `json:"sent"`   // SIGTERMs since the agent's start
	Failed    int          `json:"failed"` // calls that had to be made again
	Cut       int          `json:"cut"`    // containers killed before their drain was over
}

// A Drain is the drain of one node.
type Drain struct {
	engine Engine
	record Record
	log    *slog.Logger

	mu     sync.Mutex
	stops  stops.Stops // guarded by mu
	report Report      // guarded by mu; without Pending
}

// New makes a Drain and starts nothing.
func New(engine Engine, record Record, log *slog.Logger) *Drain {
	return &Drain{engine: engine, record: record, log: log, stops: stops.Of(nil)}
}

// Report says how it stands now.
func (d *Drain) Report() Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.report
	r.Pending = d.stops.Pending()
	return r
}

func (d *Drain) now() stops.Stops {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stops
}

func (d *Drain) note(change func(*Report)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.report)
}

// become takes the next state over, and records it. A record that cannot be written is complained of and not waited for:
// the drain itself needs none.
func (d *Drain) become(next stops.Stops) {
	d.mu.Lock()
	same := d.stops.Equal(next)
	d.stops = next
	d.mu.Unlock()
	if same {
		return
	}
	if err := d.record.Save(next.List()); err != nil {
		d.log.Error("a drain may be forgotten if the agent is killed now", "error", err)
	}
}

// Run works until ctx ends, and then until nobody waits for a SIGTERM any more, for 50 s at most.
func (d *Drain) Run(ctx context.Context) error {
	kept, err := d.record.Load()
	if err != nil {
		d.log.Error("drains that began before the agent's start may be unknown", "error", err)
	}
	d.mu.Lock()
	d.stops = stops.Of(kept)
	d.mu.Unlock()

	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	news := make(chan news)
	watching.Go(func() { d.watch(own, news) })
	r := round{Drain: d, results: make(chan result), busy: map[string]bool{}, later: map[string]time.Time{}, running: &watching}
	r.loop(ctx, own, news)
	return ctx.Err()
}

// news is what the watcher found.
type news struct {
	gone   []stops.Stop // known stops that are none any more
	events []stops.Event
	caught bool // everything until now has been read
}

// watch reads events for ever: first those of the past, then those that come.
func (d *Drain) watch(ctx context.Context, to chan<- news) {
	for ctx.Err() == nil {
		err := d.follow(ctx, to)
		if ctx.Err() != nil {
			return
		}
		d.note(func(r *Report) { r.Following, r.Problem = false, err.Error() })
		d.log.Warn("the engine's events are not read; trying again", "error", err)
		pause(ctx, againAfter)
	}
}

func (d *Drain) follow(ctx context.Context, to chan<- news) error {
	n := news{caught: true}
	// What is known is looked at before the past is read: a container that has been started again, while nobody read
	// events, would else be taken for one that has had its SIGTERM.
	for _, s := range d.now().List() {
		still, err := d.engine.Stops(ctx, s.Container, s.Asked)
		if err != nil {
			return err
		}
		if !still {
			n.gone = append(n.gone, s)
		}
	}
	until := time.Now()
	var err error
	if n.events, err = d.engine.Past(ctx, until.Add(-rememberFor), until); err != nil {
		return err
	}
	if !give(ctx, to, n) {
		return ctx.Err()
	}
	d.note(func(r *Report) { r.Following, r.Problem = true, "" })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, failed := make(chan stops.Event), make(chan error, 1)
	go func() { failed <- d.engine.Follow(ctx, until.Add(-overlap), events) }()
	for {
		select {
		case e := <-events:
			give(ctx, to, news{events: []stops.Event{e}})
		case err := <-failed:
			return err
		}
	}
}

func give(ctx context.Context, to chan<- news, n news) bool {
	select {
	case to <- n:
		return true
	case <-ctx.Done():
		return false
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
