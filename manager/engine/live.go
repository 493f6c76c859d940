package engine

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/store"
)

// EnvironmentChanged is the type of the event that says that Swarm shows an environment otherwise than before, whoever did
// it. It is not kept: its Seq is that of the last event before it, and whoever was away looks at the environment itself.
const EnvironmentChanged = "environment.changed"

// How the Swarm is watched while somebody listens to events; nobody else needs to know, so else it is not asked at all.
const (
	// watchEvery is how often the tasks are asked for: Swarm has no events of tasks.
	watchEvery = 400 * time.Millisecond
	// watchShare bounds what that costs: after a question the watch rests so many times as long as the answer took.
	watchShare = 9
	// watchSlowest bounds the rest of a Swarm that is slow to answer.
	watchSlowest = 10 * time.Second
	// recent: a listener also gets the changes of so short a time before it came, since it has looked before it listened.
	recent = 10 * time.Second
)

// place is one environment of one project.
type place struct {
	project     project.Name
	environment project.EnvironmentName
}

// change is the last one of a place.
type change struct {
	n  uint64 // rises from change to change
	at time.Time
}

// changes are what the watch has seen. Each place has one entry, so there are never more than environments; a listener that
// is slow gets the last change of a place in the place of all before.
type changes struct {
	mu        sync.Mutex // guards all below
	listeners int
	wanted    chan struct{} // closed when the first listener comes; nil while one is there
	n         uint64
	last      map[place]change
}

// listen counts a listener until the function that it gives is called.
func (c *changes) listen() (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners++; c.listeners == 1 && c.wanted != nil {
		close(c.wanted)
		c.wanted = nil
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.listeners--
	})
}

// idle gives a channel that is closed when somebody listens; nil if somebody does.
func (c *changes) idle() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners > 0 {
		return nil
	}
	if c.wanted == nil {
		c.wanted = make(chan struct{})
	}
	return c.wanted
}

func (c *changes) note(p place, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[place]change{}
	}
	c.n++
	c.last[p] = change{c.n, at}
}

// since gives the places that changed after the change n, or, for a new listener, after a time.
func (c *changes) since(n uint64, after time.Time) (places []place, upTo uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, last := range c.last {
		if last.n > n && last.at.After(after) {
			places = append(places, p)
		}
	}
	return places, c.n
}

// picture is what the tasks of each place come to, and whose a service is.
type picture struct {
	sums     map[place]uint64
	services map[string]place
}

func pictureOf(tasks []swarm.Task) picture {
	p := picture{sums: map[place]uint64{}, services: map[string]place{}}
	for i := range tasks {
		t := &tasks[i]
		if t.Spec.ContainerSpec == nil {
			continue
		}
		labels := t.Spec.ContainerSpec.Labels
		at := place{project.Name(labels[contract.Project]), project.EnvironmentName(labels[contract.Environment])}
		if at.project == "" || at.environment == "" {
			continue
		}
		h := fnv.New64a()
		for _, text := range []string{t.ID, string(t.Status.State), string(t.DesiredState), t.NodeID} {
			_, _ = h.Write([]byte(text + "\x00")) // a hash takes everything
		}
		p.sums[at] += h.Sum64() // a sum, since the order in which Swarm lists them says nothing
		p.services[t.ServiceID] = at
	}
	return p
}

// differs gives the places that two pictures do not agree on.
func (p picture) differs(from picture) []place {
	var all []place
	for at, sum := range p.sums {
		if from.sums[at] != sum {
			all = append(all, at)
		}
	}
	for at := range from.sums {
		if _, still := p.sums[at]; !still {
			all = append(all, at)
		}
	}
	return all
}

// watch tells of what changes in the Swarm, while somebody listens.
func (e *Engine) watch(ctx context.Context) {
	var seen picture // by the last look; before the first, a Swarm that runs nothing: all that it shows then is news
	for {
		if idle := e.changes.idle(); idle != nil {
			select {
			case <-ctx.Done():
				return
			case <-idle:
			}
		}
		e.watchListened(ctx, &seen)
		if ctx.Err() != nil {
			return
		}
	}
}

// watchListened watches until nobody listens any more. The Swarm's own events only make the next look come at once.
func (e *Engine) watchListened(ctx context.Context, seen *picture) {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	services := make(chan string, 64)
	all.Go(func() { e.relayChanges(ctx, services) })
	for {
		began := time.Now()
		e.look(ctx, seen)
		rest := min(max(watchEvery, watchShare*time.Since(began)), watchSlowest)
		timer := time.NewTimer(rest)
	resting:
		for {
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
				break resting
			case id := <-services:
				if at, ours := seen.services[id]; ours {
					e.changed(at)
				}
			}
		}
		if e.changes.idle() != nil {
			return
		}
	}
}

// relayChanges follows the Swarm's events through every loss of the engine. What does not fit is dropped: the next look
// sees it too.
func (e *Engine) relayChanges(ctx context.Context, to chan<- string) {
	for ctx.Err() == nil {
		err := e.options.Live.Changes(ctx, func(id string) {
			select {
			case to <- id:
			default:
			}
		})
		if ctx.Err() == nil {
			e.options.Log.Debug("the Swarm's events break off", "err", err)
		}
		sleep(ctx, again)
	}
}

func (e *Engine) look(ctx context.Context, seen *picture) {
	tasks, err := e.options.Live.Living(ctx)
	if err != nil {
		e.options.Log.Debug("the Swarm cannot be watched", "err", err)
		return
	}
	now := pictureOf(tasks)
	e.changed(now.differs(*seen)...)
	*seen = now
}

// changed notes changes of environments that Rolling knows, and wakes the listeners.
func (e *Engine) changed(places ...place) {
	known := 0
	err := e.options.Store.View(func(tx store.Tx) error {
		for _, p := range places {
			_, ok, err := store.GetProject(tx, p.project)
			if err != nil {
				return err
			}
			if ok {
				known++
				e.changes.note(p, e.now())
			}
		}
		return nil
	})
	if err != nil {
		e.options.Log.Error("a change in the Swarm is not told of", "err", err)
	}
	if known > 0 {
		e.bell.ring()
	}
}

// eventOf is the event of a place; seq is that of the last event that its listener has got.
func (e *Engine) eventOf(p place, seq uint64) Event {
	return Event{Seq: seq, At: e.now(), Type: EnvironmentChanged, Project: p.project, Environment: p.environment,
		Text: fmt.Sprintf("Swarm shows %s otherwise than before", project.Namespace(p.project, p.environment))}
}
