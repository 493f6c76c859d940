package apitest

import (
	"context"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/release"
)

// Forget makes the first n events too old to be kept.
func (e *Engine) Forget(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = n
}

// Cut makes the next n watchers lose their stream after one event.
func (e *Engine) Cut(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cut = n
}

// Watchers says how many streams are open.
func (e *Engine) Watchers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watchers
}

// Tell lets something happen.
func (e *Engine) Tell(ev engine.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tell(ev)
}

// LastEvent is the newest event's number.
func (e *Engine) LastEvent(context.Context) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return uint64(len(e.events)), nil
}

// Events gives all.
func (e *Engine) Events(ctx context.Context, since uint64) (<-chan engine.Event, error) {
	return e.stream(ctx, since, func(engine.Event) bool { return true }, func() bool { return false }), nil
}

// Watch gives one rollout's.
func (e *Engine) Watch(ctx context.Context, id engine.RolloutID, since uint64) (<-chan engine.Event, error) {
	e.mu.Lock()
	i, err := e.rollout(id)
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return e.stream(ctx, since, func(ev engine.Event) bool { return ev.Rollout == id }, func() bool { return e.rollouts[i].State != release.Running }), nil
}

func (e *Engine) stream(ctx context.Context, since uint64, wanted func(engine.Event) bool, ended func() bool) <-chan engine.Event {
	out := make(chan engine.Event)
	most := e.opened()
	go func() {
		defer close(out)
		defer e.closed()
		for {
			found, news, last := e.after(since, wanted, ended)
			for _, ev := range found {
				select {
				case out <- ev:
				case <-ctx.Done():
					return
				}
				since = ev.Seq
				if most--; most == 0 {
					return
				}
			}
			if last {
				return
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// opened counts a stream, and says after how many events it shall end early; 0 means never.
func (e *Engine) opened() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers++
	if e.cut == 0 {
		return 0
	}
	e.cut--
	return 1
}

func (e *Engine) closed() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers--
}

// after gives the events beyond since, what to wait on for more, and whether there will be none.
func (e *Engine) after(since uint64, wanted func(engine.Event) bool, ended func() bool) ([]engine.Event, <-chan struct{}, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.news == nil {
		e.news = make(chan struct{})
	}
	var found []engine.Event
	for _, ev := range e.events {
		if ev.Seq > since && ev.Seq > uint64(e.dropped) && wanted(ev) {
			found = append(found, ev)
		}
	}
	return found, e.news, ended()
}
