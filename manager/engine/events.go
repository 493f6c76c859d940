package engine

import (
	"context"
	"time"

	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// atOnce is how many events are read in one transaction.
const atOnce = 500

// Watch gives the events of one rollout beyond since (0: all), as they happen. The channel is closed after the event that
// ends the rollout, or when ctx ends.
func (e *Engine) Watch(ctx context.Context, id RolloutID, since uint64) (<-chan Event, error) {
	var r store.Rollout
	err := e.options.Store.View(func(tx store.Tx) (err error) {
		r, err = getRollout(tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.Event > 0 {
		since = max(since, r.Event-1)
	}
	return e.stream(ctx, since, id), nil
}

// Events gives all events beyond since, as they happen, until ctx ends. Those that are too old to be kept are missing:
// the first then has a Seq greater than since + 1. Between them come those of type EnvironmentChanged, which are not kept.
func (e *Engine) Events(ctx context.Context, since uint64) (<-chan Event, error) {
	return e.stream(ctx, since, ""), nil
}

// LastEvent is the number of the newest event: who wants no old ones begins there.
func (e *Engine) LastEvent(_ context.Context) (n uint64, err error) {
	err = e.options.Store.View(func(tx store.Tx) error {
		n, err = store.LastEvent(tx)
		return err
	})
	return n, err
}

// stream reads from the store at its reader's pace, so a slow reader misses nothing and costs nothing.
func (e *Engine) stream(ctx context.Context, since uint64, only RolloutID) <-chan Event {
	out := make(chan Event)
	go func() {
		defer close(out)
		e.feed(ctx, out, since, only)
	}()
	return out
}

// feed gives what the store has, then what changed in the Swarm, and waits for more of both.
func (e *Engine) feed(ctx context.Context, out chan<- Event, since uint64, only RolloutID) {
	var noted uint64 // the last change of an environment that was told
	after := e.now().Add(-recent)
	if only == "" {
		defer e.changes.listen()()
	}
	for {
		news := e.bell.wait()
		read, over, err := e.read(since, only)
		if err != nil {
			e.options.Log.Error("events cannot be read", "err", err)
			return
		}
		for _, v := range read {
			since = v.Seq
			if (only == "" || v.Rollout == only) && !give(ctx, out, viewOfEvent(v)) {
				return
			}
		}
		if len(read) == atOnce {
			continue
		}
		if over {
			return
		}
		if only == "" {
			var places []place
			places, noted = e.changes.since(noted, after)
			after = time.Time{}
			if !e.tell(ctx, out, places, since) {
				return
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
	}
}

// tell gives an event for each environment that has changed.
func (e *Engine) tell(ctx context.Context, out chan<- Event, places []place, since uint64) bool {
	for _, p := range places {
		if !give(ctx, out, e.eventOf(p, since)) {
			return false
		}
	}
	return true
}

func give(ctx context.Context, to chan<- Event, v Event) bool {
	select {
	case to <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

// read gives the next events, and says whether nothing more will come of the rollout that is watched.
func (e *Engine) read(since uint64, only RolloutID) (read []store.Event, over bool, err error) {
	err = e.options.Store.View(func(tx store.Tx) error {
		if read, err = store.Events(tx, since, atOnce); err != nil || only == "" {
			return err
		}
		r, ok, err := store.GetRollout(tx, only)
		over = !ok || r.State != release.Running
		return err
	})
	return read, over, err
}

func viewOfEvent(v store.Event) Event {
	out := Event{Seq: v.Seq, At: v.At, Type: v.Type, Project: v.Project, Environment: v.Environment, Release: v.Release, Rollout: v.Rollout,
		State: v.State, Text: v.Text}
	if v.Service != nil {
		p := progressOf(*v.Service)
		out.Service = &p
	}
	return out
}
