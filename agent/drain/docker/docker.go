// Package docker is a node's engine as the drain needs it: the events of its containers, and the SIGTERM. It knows Docker's
// API and what an answer means. When a signal is due it does not know.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// answerWithin is short: the grace period runs meanwhile, and a failed call is tried again.
const answerWithin = 5 * time.Second

// pastWithin covers a replay of all that an engine has kept, on a busy node.
const pastWithin = 30 * time.Second

// Engine is the engine of this node.
type Engine struct {
	api *client.Client
}

// New makes an Engine of its address, such as unix:///var/run/docker.sock. It does not connect.
func New(host string) (*Engine, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	return Of(api), nil
}

// Of makes an Engine of a client that the caller has made.
func Of(api *client.Client) *Engine { return &Engine{api: api} }

// Close ends idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Past reads what the engine still knows (256 events, of all kinds) of the time from since to until.
func (e *Engine) Past(ctx context.Context, since, until time.Time) ([]stops.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, pastWithin)
	defer cancel()
	var past []stops.Event
	err := e.read(ctx, client.EventsListOptions{Since: stamp(since), Until: stamp(until)}, func(ev stops.Event) error {
		past = append(past, ev)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the engine's past events: %w", err)
	}
	return past, nil
}

// errEnd is why a stream that should go on for ever is over.
var errEnd = errors.New("the engine has ended the stream")

// Follow hands on the events from since on, as they come. It ends with an error only.
func (e *Engine) Follow(ctx context.Context, since time.Time, to chan<- stops.Event) error {
	err := e.read(ctx, client.EventsListOptions{Since: stamp(since)}, func(ev stops.Event) error {
		select {
		case to <- ev:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err == nil {
		err = errEnd
	}
	return fmt.Errorf("follow the engine's events: %w", err)
}

func (e *Engine) read(ctx context.Context, o client.EventsListOptions, take func(stops.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the reading goroutine
	o.Filters = make(client.Filters).Add("type", string(events.ContainerEventType)).
		Add("event", string(events.ActionKill), string(events.ActionStart), string(events.ActionDie), string(events.ActionDestroy))
	stream := e.api.Events(ctx, o)
	for {
		select {
		case m := <-stream.Messages:
			if ev, matters := Event(m); matters {
				if err := take(ev); err != nil {
					return err
				}
			}
		case err := <-stream.Err:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// The signals' numbers in events are the node's own; these are amd64's and arm64's.
const (
	sigkill = "9"
	sigterm = "15"
	sigurg  = "23"
)

// Event reads a message of the engine; false if it does not matter here.
func Event(m events.Message) (stops.Event, bool) {
	ev := stops.Event{
		Container: m.Actor.ID, At: time.Unix(0, m.TimeNano), Drain: m.Actor.Attributes[contract.Drain], Name: m.Actor.Attributes["name"],
	}
	if m.TimeNano == 0 {
		ev.At = time.Unix(m.Time, 0)
	}
	switch m.Action {
	case events.ActionStart:
		ev.What = stops.Began
	case events.ActionDie, events.ActionDestroy:
		ev.What = stops.Ended
	case events.ActionKill:
		ev.What = map[string]stops.Happening{sigurg: stops.Asked, sigterm: stops.Terminated, sigkill: stops.Killed}[m.Actor.Attributes["signal"]]
	}
	return ev, ev.What != "" && ev.Container != ""
}

// stamp writes a time as the engine's API wants it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// Stops says whether the container is still the one that was asked at that time to stop: it runs without having started
// again, and SIGURG is its stop signal. To any other a SIGURG means nothing.
func (e *Engine) Stops(ctx context.Context, container string, asked time.Time) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := e.api.ContainerInspect(ctx, container, client.ContainerInspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at container %.12s: %w", container, err)
	}
	c := got.Container
	if c.State == nil || !c.State.Running || c.Config == nil || !isDrainSignal(c.Config.StopSignal) {
		return false, nil
	}
	began, err := time.Parse(time.RFC3339Nano, c.State.StartedAt)
	return err != nil || began.Before(asked), nil
}

func isDrainSignal(s string) bool {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "SIGURG", "URG", sigurg:
		return true
	}
	return false
}

// Terminate sends SIGTERM. A container that has ended needs none.
func (e *Engine) Terminate(ctx context.Context, container string) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := e.api.ContainerKill(ctx, container, client.ContainerKillOptions{Signal: "SIGTERM"})
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // a conflict: it does not run
		return nil
	}
	return fmt.Errorf("send SIGTERM to container %.12s: %w", container, err)
}
