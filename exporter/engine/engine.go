// Package engine asks the node's engine which containers run: a list now and then, and events in between. It asks in the
// background only, since an engine that starts waits for its plugins; an engine that does not answer changes nothing.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/exporter/naming"
	"github.com/rolling-swarm/rolling/exporter/sample"
)

const (
	answerWithin = 10 * time.Second
	// listEvery is for what no event told: it costs the engine a millisecond and asks about nobody it has told of.
	listEvery = 30 * time.Second
	// gather: a deployment brings many events at once.
	gather = 100 * time.Millisecond
	// again is the first pause after a failure, and mostAgain the longest.
	again     = time.Second
	mostAgain = 15 * time.Second
)

// A Watch keeps the list of the containers that run.
type Watch struct {
	docker  *client.Client
	cluster string
	log     *slog.Logger
	nudge   chan struct{}

	mu      sync.Mutex // guards what follows
	sight   sample.Sight
	dirty   map[string]bool // to be asked about, though known
	known   map[string]sample.Container
	ordered []sample.Container
}

// New dials nothing yet. The address is the engine's, such as unix:///run/docker.sock.
func New(engine, cluster string, log *slog.Logger) (*Watch, error) {
	docker, err := client.New(client.WithHost(engine))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", engine, err)
	}
	return &Watch{docker: docker, cluster: cluster, log: log, nudge: make(chan struct{}, 1), dirty: map[string]bool{}, known: map[string]sample.Container{}}, nil
}

// Containers are those that run, and how the engine was seen last. The list is not changed later.
func (w *Watch) Containers() ([]sample.Container, sample.Sight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ordered, w.sight
}

// Again asks about a container anew, soon: what is known of it does not fit what the kernel says.
func (w *Watch) Again(id string) {
	w.mu.Lock()
	w.dirty[id] = true
	w.mu.Unlock()
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// Run keeps the list until the context ends.
func (w *Watch) Run(ctx context.Context) error {
	defer w.docker.Close() //nolint:errcheck // the process ends
	pause := again
	for {
		begun := time.Now()
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(begun) > mostAgain {
			pause = again
		}
		w.mu.Lock()
		fresh := w.sight.Error == ""
		w.sight.Error = err.Error()
		w.mu.Unlock()
		if fresh {
			w.log.Warn("the engine does not say which containers run; those known stay", "cause", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, mostAgain)
	}
}

// follow lists, and lists again after events, until something fails.
func (w *Watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream of events
	node, err := w.greet(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	for id := range w.known { // what was known may have started anew unseen
		w.dirty[id] = true
	}
	w.mu.Unlock()
	stream := w.docker.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", string(events.ContainerEventType)).
		Add("event", string(events.ActionStart), string(events.ActionDie), string(events.ActionRename), string(events.ActionDestroy))})
	tick := time.NewTicker(listEvery)
	defer tick.Stop()
	for {
		if err := w.list(ctx, node); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-w.nudge:
		case err := <-stream.Err:
			return fmt.Errorf("events: %w", err)
		case m := <-stream.Messages:
			if err := w.gather(ctx, m, stream); err != nil {
				return err
			}
		}
	}
}

// greet agrees on the API's version (an engine that starts may answer without one) and asks for the node's name.
func (w *Watch) greet(ctx context.Context) (node string, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := w.docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true}); err != nil {
		return "", fmt.Errorf("GET /_ping: %w", err)
	}
	got, err := w.docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", fmt.Errorf("GET /info: %w", err)
	}
	return got.Info.Name, nil
}

// gather takes the events that come within a moment.
func (w *Watch) gather(ctx context.Context, m events.Message, stream client.EventsResult) error {
	over := time.After(gather)
	for {
		w.mu.Lock()
		w.dirty[m.Actor.ID] = true
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-over:
			return nil
		case err := <-stream.Err:
			return fmt.Errorf("events: %w", err)
		case m = <-stream.Messages:
		}
	}
}

// list asks for all that run, and about each that is new or may have changed.
func (w *Watch) list(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	w.mu.Lock()
	dirty := w.dirty
	w.dirty = map[string]bool{}
	w.mu.Unlock()
	got, err := w.docker.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		w.restore(dirty)
		return fmt.Errorf("GET /containers/json: %w", err)
	}
	now := map[string]sample.Container{}
	for _, s := range got.Items {
		c, known := w.known[s.ID]
		if known && !dirty[s.ID] {
			now[s.ID] = c
			continue
		}
		c, running, err := w.inspect(ctx, node, s)
		if err != nil {
			w.restore(dirty)
			return err
		}
		if running {
			now[s.ID] = c
		}
	}
	ordered := make([]sample.Container, 0, len(now))
	for _, c := range now {
		ordered = append(ordered, c)
	}
	slices.SortFunc(ordered, func(a, b sample.Container) int { return strings.Compare(a.ID, b.ID) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known, w.ordered, w.sight = now, ordered, sample.Sight{Node: node, At: time.Now().UTC()}
	return nil
}

func (w *Watch) restore(dirty map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range dirty {
		w.dirty[id] = true
	}
}

// inspect asks about one; false if it has ended meanwhile.
func (w *Watch) inspect(ctx context.Context, node string, s container.Summary) (sample.Container, bool, error) {
	got, err := w.docker.ContainerInspect(ctx, s.ID, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return sample.Container{}, false, nil
	}
	if err != nil {
		return sample.Container{}, false, fmt.Errorf("GET /containers/%.12s/json: %w", s.ID, err)
	}
	c, err := read(w.cluster, node, got.Container)
	if errors.Is(err, errIdle) {
		return c, false, nil
	}
	return c, err == nil, err
}

var errIdle = errors.New("it does not run")

// read makes a container of the engine's answer.
func read(cluster, node string, in container.InspectResponse) (sample.Container, error) {
	if in.State == nil || !in.State.Running || in.State.Pid <= 0 || in.Config == nil {
		return sample.Container{}, errIdle
	}
	c := sample.NewContainer(cluster, in.ID, naming.Of(node, in.Name, in.Config.Labels))
	c.PID, c.Restarts, c.OwnNetwork = in.State.Pid, uint64(max(0, in.RestartCount)), true
	if in.HostConfig != nil {
		mode := in.HostConfig.NetworkMode
		c.OwnNetwork = !mode.IsHost() && !mode.IsContainer() && !mode.IsNone()
	}
	var err error
	if c.Created, err = time.Parse(time.RFC3339Nano, in.Created); err != nil {
		return c, fmt.Errorf("container %.12s: when it was created: %w", in.ID, err)
	}
	if c.Started, err = time.Parse(time.RFC3339Nano, in.State.StartedAt); err != nil {
		return c, fmt.Errorf("container %.12s: when it started: %w", in.ID, err)
	}
	return c, nil
}
