// Package isolation brings the policy to every node: the agent on the Swarm's leader makes it of the services' labels,
// the others take the freshest copy that a manager's agent has, and each lays it where its rolling/net reads it. It is the
// one room that knows the core (allow) and the edges (swarm, policy) both. When nobody answers, what lies there stays.
package isolation

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/agent/allow"
	"github.com/rolling-swarm/rolling/agent/policy"
	"github.com/rolling-swarm/rolling/agent/swarm"
	"github.com/rolling-swarm/rolling/internal/permits"
)

const (
	// lookEvery is how often the leader looks at the labels, and the others ask.
	lookEvery = 500 * time.Millisecond
	// placeEvery: GET /info is slow on a busy engine, and a Swarm's members change seldom.
	placeEvery = 5 * time.Second
	// freshFor: a copy that is older makes a node ask the other managers too.
	freshFor = 5 * time.Second
)

// Swarm is what the loop needs of the engine.
type Swarm interface {
	Leading(context.Context) (bool, error)
	Labels(context.Context) ([]allow.Service, []allow.Network, error)
	Place(context.Context) (swarm.Place, error)
}

// Shelf is where the policy lies on this node.
type Shelf interface {
	Read() (d permits.Document, laid time.Time, err error)
	Lay(permits.Document) error
}

// Ask asks one manager for its copy.
type Ask func(ctx context.Context, self, manager netip.Addr) (policy.Copy, error)

// Loop is the policy on one node.
type Loop struct {
	swarm Swarm
	shelf Shelf
	ask   Ask
	log   *slog.Logger

	mu     sync.Mutex // guards the rest
	place  swarm.Place
	placed time.Time
	have   permits.Document
	made   time.Time // the look at the Swarm that it was made from was not before this; zero: a copy of an earlier life
	until  time.Time // nor after this: another copy that may be older could open again what this one closed
	from   string
	trouble,
	said string
	problems []allow.Problem
}

// New makes a Loop.
func New(s Swarm, shelf Shelf, ask Ask, log *slog.Logger) *Loop {
	return &Loop{swarm: s, shelf: shelf, ask: ask, log: log}
}

// Open makes the Loop of an engine's address and the folder of rolling/net. It connects to nothing.
func Open(engine, folder string, log *slog.Logger) (*Loop, error) {
	s, err := swarm.New(engine)
	if err != nil {
		return nil, err
	}
	return New(s, policy.Shelf{Folder: folder}, policy.Ask, log), nil
}

// Run works until ctx ends. What was laid stays.
func (l *Loop) Run(ctx context.Context) error {
	l.recall(time.Now())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.listen(ctx) })
	group.Go(func() error {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			l.say(ctx, l.look(ctx))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
	return group.Wait()
}

// recall takes what an earlier life has laid. Its age counts from here on, whatever becomes of the clock; a date that is
// still to come is of a clock that was wrong, and says nothing.
func (l *Loop) recall(now time.Time) {
	d, laid, err := l.shelf.Read()
	if err != nil {
		l.log.Warn("the policy that lies here cannot be read; the next one replaces it", "cause", err)
	}
	if err != nil || laid.IsZero() {
		return
	}
	until := time.Time{}
	if age := now.Sub(laid); age >= 0 {
		until = now.Add(-age)
	}
	l.take(d, time.Time{}, until, "an earlier life")
}

// look takes one look: at the labels if this node leads, else at the managers' copies.
func (l *Loop) look(ctx context.Context) error {
	place, err := l.where(ctx)
	if err != nil || !place.Self.IsValid() {
		return err
	}
	if place.Manager {
		if leads, err := l.swarm.Leading(ctx); err != nil || leads {
			if err != nil {
				return err
			}
			return l.make(ctx)
		}
	}
	return l.fetch(ctx, place)
}

func (l *Loop) where(ctx context.Context) (swarm.Place, error) {
	l.mu.Lock()
	place, old := l.place, time.Since(l.placed) > placeEvery
	l.mu.Unlock()
	if !old {
		return place, nil
	}
	now, err := l.swarm.Place(ctx)
	if err != nil && !place.Self.IsValid() {
		return place, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.placed = time.Now(); err == nil {
		l.place = now
	}
	return l.place, nil
}

// make is the leader's.
func (l *Loop) make(ctx context.Context) error {
	begun := time.Now()
	services, networks, err := l.swarm.Labels(ctx)
	if err != nil {
		return err
	}
	ended := time.Now()
	d, problems := allow.Policy(services, networks)
	l.mu.Lock()
	news := !slices.Equal(problems, l.problems)
	l.problems = problems
	l.mu.Unlock()
	if news {
		for _, p := range problems {
			l.log.Error("a label that says who may connect is wrong", "where", p.Where, "what", p.What)
		}
	}
	return l.put(d, begun, ended, "the swarm's labels")
}

// fetch takes the freshest copy of a manager's agent; one that is fresh enough is good enough.
func (l *Loop) fetch(ctx context.Context, place swarm.Place) error {
	managers := slices.Clone(place.Managers)
	rand.Shuffle(len(managers), func(i, j int) { managers[i], managers[j] = managers[j], managers[i] })
	var best policy.Copy
	var from netip.Addr
	var made, until time.Time
	var problem error
	for _, m := range managers {
		asked := time.Now()
		c, err := l.ask(ctx, place.Self, m)
		if err != nil {
			problem = err
			continue
		}
		if !from.IsValid() || c.Age < best.Age {
			best, from, made, until = c, m, asked.Add(-c.Age), time.Now().Add(-c.Age)
		}
		if c.Age < freshFor {
			break
		}
	}
	l.mu.Lock()
	older := !made.After(l.until)
	l.problems = nil
	l.mu.Unlock()
	switch {
	case !from.IsValid() && problem != nil:
		return fmt.Errorf("no manager's agent hands the policy out; the last one stays: %w", problem)
	case !from.IsValid() || older:
		return nil
	}
	return l.put(best.Document, made, until, from.String())
}

func (l *Loop) put(d permits.Document, made, until time.Time, from string) error {
	l.mu.Lock()
	same := l.have.Revision == d.Revision
	l.mu.Unlock()
	if !same {
		if err := l.shelf.Lay(d); err != nil {
			return err
		}
		l.log.Info("a new policy", "revision", d.Revision, "projects", len(d.Projects), "permits", len(d.Permits), "from", from)
	}
	l.take(d, made, until, from)
	return nil
}

func (l *Loop) take(d permits.Document, made, until time.Time, from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.have, l.made, l.until, l.from = d, made, until, from
}

// say logs trouble when it begins and when it ends.
func (l *Loop) say(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trouble = ""
	if err != nil {
		l.trouble = err.Error()
	}
	if (l.said == "") == (l.trouble == "") {
		return
	}
	if l.said = l.trouble; err != nil {
		l.log.Warn("the policy is not brought up to date", "cause", err)
		return
	}
	l.log.Info("the policy is up to date again")
}

// Report is for /debug/state.
type Report struct {
	Revision string          `json:"revision"`
	From     string          `json:"from"`
	Made     time.Time       `json:"made,omitzero"`
	Projects int             `json:"projects"`
	Permits  int             `json:"permits"`
	Problems []allow.Problem `json:"problems"` // of labels, on the leader
	Trouble  string          `json:"trouble,omitempty"`
}

// Report tells how it stands.
func (l *Loop) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Report{l.have.Revision, l.from, l.made, len(l.have.Projects), len(l.have.Permits), l.problems, l.trouble}
}
