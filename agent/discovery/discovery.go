// Package discovery keeps the registries equal to what runs, while this node is the Swarm's leader. It is the one room
// that knows the core (member) and the edges (swarm, nginx, zookeeper) both: it looks every half second, lets the core
// decide, and hands the decision to each registry, which follows at its own pace. It decides nothing by itself and needs
// no store: what it has to know again after a change of leader, Swarm and the registries tell it.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/agent/member"
)

const (
	// lookEvery leaves most of the 3.1 s between Swarm's decision to stop a task and the stop signal to the registries.
	lookEvery = 500 * time.Millisecond
	// idleEvery is how often a node that does not lead asks whether it does by now.
	idleEvery = time.Second
	// doubtFor is how long a leader that cannot ask its engine goes on. Another one is elected after about 10 s.
	doubtFor = 5 * time.Second
)

var errOver = errors.New("the term is over")

// Swarm is what the loop needs of the engine.
type Swarm interface {
	Leading(context.Context) (bool, error)
	Cluster(context.Context) (string, error)
	Observe(ctx context.Context, whole bool) (member.Observation, error)
}

// Registry is a place where members are registered. Run lasts a term and ends with its context; Set does not block.
type Registry interface {
	Run(context.Context) error
	Set(member.Decision)
	Standing() []member.Standing
}

// A Loop is discovery on one node.
type Loop struct {
	swarm      Swarm
	registries []Registry
	node       string
	cluster    string
	log        *slog.Logger

	mu     sync.Mutex
	report Report // guarded by mu; without the registries
}

// New makes a Loop. The node's name stamps its decisions; the cluster's name marks what is ours in a registry that
// several Swarms share: "" takes the Swarm's own ID.
func New(swarm Swarm, registries []Registry, node, cluster string, log *slog.Logger) *Loop {
	return &Loop{swarm: swarm, registries: registries, node: node, cluster: cluster, log: log}
}

// Run works until ctx ends. What is registered stays.
func (l *Loop) Run(ctx context.Context) error {
	for {
		leads, err := l.swarm.Leading(ctx)
		l.noteError(ctx, err)
		if leads {
			if err := l.term(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(idleEvery):
		}
	}
}

// term lasts from taking the lead to losing it.
func (l *Loop) term(ctx context.Context) error {
	cluster, err := l.clusterName(ctx)
	if err != nil {
		l.noteError(ctx, err)
		return nil // it is tried again with the next look
	}
	l.begin(cluster)
	defer l.end()
	group, within := errgroup.WithContext(ctx)
	for _, r := range l.registries {
		group.Go(func() error { return r.Run(within) })
	}
	group.Go(func() error { l.lead(within, cluster); return errOver })
	if err := group.Wait(); !errors.Is(err, errOver) && ctx.Err() == nil {
		return fmt.Errorf("discovery: %w", err)
	}
	return ctx.Err()
}

func (l *Loop) clusterName(ctx context.Context) (string, error) {
	if l.cluster != "" {
		return l.cluster, nil
	}
	return l.swarm.Cluster(ctx)
}

// lead looks and decides until this node leads no longer, or cannot tell for too long.
func (l *Loop) lead(ctx context.Context, cluster string) {
	t := term{Loop: l, cluster: cluster, confirmed: time.Now()}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if !t.look(ctx) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// term is what is known within one; a new leader starts from nothing.
type term struct {
	*Loop
	cluster   string
	confirmed time.Time // when the engine last said that this node leads
	state     member.State
	set       *member.Set // what the registries were given, nil before the first
}

// look takes one look and acts upon it; it answers whether the term goes on.
func (t *term) look(ctx context.Context) bool {
	leads, err := t.swarm.Leading(ctx)
	switch {
	case err == nil && !leads:
		return false
	case err != nil:
		t.noteError(ctx, err)
		return time.Since(t.confirmed) < doubtFor
	}
	t.confirmed = time.Now()
	o, err := t.observe(ctx)
	t.noteError(ctx, err)
	if err != nil {
		return true
	}
	t.state = t.state.Next(o)
	set := t.state.Set()
	if t.set == nil || !set.Equal(*t.set) {
		d := member.Decision{Set: set, Swarm: t.cluster, By: t.node, At: time.Now(), Changed: t.state.Changed()}
		if t.set == nil {
			d.Changed = time.Time{} // the first decision of a term is late by the change of leader, not by us
		}
		for _, r := range t.registries {
			r.Set(d)
		}
		t.set = &set
		t.logChange(set)
	}
	t.note(t.state, set, o.At)
	return true
}

// observe takes a short snapshot, and a whole one if the short one leaves something to explain.
func (t *term) observe(ctx context.Context) (member.Observation, error) {
	if t.set != nil {
		o, err := t.swarm.Observe(ctx, false)
		if err != nil || !t.state.Doubts(o) {
			return o, err
		}
	}
	return t.swarm.Observe(ctx, true)
}
