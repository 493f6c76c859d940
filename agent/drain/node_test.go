package drain

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

// node is an engine with its containers, and the disk with the record: what outlives an agent.
type node struct {
	mu     sync.Mutex
	events []stops.Event
	more   chan struct{} // closed with each new event
	began  map[string]time.Time
	plain  map[string]bool // containers whose stop signal is not SIGURG
	terms  map[string][]time.Time
	kept   []stops.Stop
	refuse bool // the engine answers nothing
}

func newNode() *node {
	return &node{more: make(chan struct{}), began: map[string]time.Time{}, plain: map[string]bool{}, terms: map[string][]time.Time{}}
}

// happen publishes an event; the caller holds no lock.
func (n *node) happen(id string, what stops.Happening, drain string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.publish(stops.Event{Container: id, What: what, At: time.Now(), Drain: drain})
}

func (n *node) publish(e stops.Event) {
	switch e.What {
	case stops.Began:
		n.began[e.Container] = e.At
	case stops.Ended:
		delete(n.began, e.Container)
	}
	n.events = append(n.events, e)
	close(n.more)
	n.more = make(chan struct{})
}

// agent is one life of an agent on the node. After its death no call has an effect.
type agent struct {
	*node
	steps int // effects left before it dies; negative: it lives
	after bool
	dead  bool
	end   context.CancelFunc
}

var errDead = errors.New("this agent is dead")

// effect runs f unless the agent is dead. The one that it dies at is done or not, as the test wants.
func (a *agent) effect(f func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.dead {
		return errDead
	}
	if a.steps == 0 {
		a.dead = true
		a.end()
		if a.after {
			_ = f()
		}
		return errDead
	}
	a.steps--
	return f()
}

func (a *agent) Load() (kept []stops.Stop, err error) {
	err = a.effect(func() error { kept = slices.Clone(a.kept); return nil })
	return kept, err
}

func (a *agent) Save(all []stops.Stop) error {
	return a.effect(func() error { a.kept = slices.Clone(all); return nil })
}

var errRefused = errors.New("the engine does not answer")

func (a *agent) ask(f func() error) error {
	return a.effect(func() error {
		if a.refuse {
			return errRefused
		}
		return f()
	})
}

func (a *agent) Past(_ context.Context, since, until time.Time) (past []stops.Event, err error) {
	err = a.ask(func() error {
		for _, e := range a.events {
			if !e.At.Before(since) && !e.At.After(until) {
				past = append(past, e)
			}
		}
		return nil
	})
	return past, err
}

func (a *agent) Follow(ctx context.Context, since time.Time, to chan<- stops.Event) error {
	for next := 0; ; {
		var e stops.Event
		var more chan struct{}
		have := false
		if err := a.ask(func() error {
			if more = a.more; next < len(a.events) {
				e, have = a.events[next], true
				a.steps++ // reading is no effect
			}
			return nil
		}); err != nil {
			return err
		}
		if !have {
			select {
			case <-more:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		next++
		if e.At.Before(since) {
			continue
		}
		select {
		case to <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *agent) Stops(_ context.Context, id string, asked time.Time) (still bool, err error) {
	err = a.ask(func() error {
		began, runs := a.began[id]
		still = runs && !a.plain[id] && began.Before(asked)
		return nil
	})
	return still, err
}

func (a *agent) Terminate(_ context.Context, id string) error {
	return a.ask(func() error {
		if _, runs := a.began[id]; runs {
			a.terms[id] = append(a.terms[id], time.Now())
			a.publish(stops.Event{Container: id, What: stops.Terminated, At: time.Now()})
		}
		return nil
	})
}

// live starts an agent. It is over when the returned channel is closed.
func (n *node) live(parent context.Context, steps int, after bool) (*agent, <-chan struct{}) {
	ctx, cancel := context.WithCancel(parent)
	a := &agent{node: n, steps: steps, after: after, end: cancel}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = New(a, a, slog.New(slog.DiscardHandler)).Run(ctx)
	}()
	return a, over
}

func (n *node) termsOf(id string) []time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.terms[id])
}
