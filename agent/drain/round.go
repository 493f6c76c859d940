package drain

import (
	"context"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

// round is what the loop alone knows.
type round struct {
	*Drain
	results chan result
	busy    map[string]bool      // containers that a call is under way for
	later   map[string]time.Time // containers whose last call failed, and when to try again
	running *sync.WaitGroup
	caught  bool      // the past has been read, so what is due is known
	ending  time.Time // when the agent was told to end; zero before
}

// result is what came of a call.
type result struct {
	stop stops.Stop
	sent bool // false and no error: it was none to be stopped
	err  error
}

func (r *round) loop(ctx, own context.Context, from <-chan news) {
	told := ctx.Done()
	for {
		r.send(own)
		if r.over() {
			return
		}
		timer := time.NewTimer(r.wait())
		select {
		case n := <-from:
			r.take(n)
		case done := <-r.results:
			r.finish(done)
		case <-told:
			told, r.ending = nil, time.Now()
		case <-timer.C:
		}
		timer.Stop()
	}
}

// over says whether the agent may go.
func (r *round) over() bool {
	if r.ending.IsZero() || len(r.busy) > 0 {
		return false
	}
	stayed := time.Since(r.ending)
	idle := len(r.now().Pending()) == 0
	// Past the last deadline every stop has been tried once more; an engine that refuses is waited for no longer.
	return idle && stayed >= settle || stayed >= endWithin+againAfter
}

func (r *round) late() bool { return !r.ending.IsZero() && time.Since(r.ending) >= endWithin }

// send begins a call for each container that is due.
func (r *round) send(ctx context.Context) {
	due := r.now().Due(time.Now())
	switch {
	case r.late():
		due = r.now().Pending()
	case !r.caught:
		return
	}
	for _, s := range due {
		if r.busy[s.Container] || time.Now().Before(r.later[s.Container]) {
			continue
		}
		r.busy[s.Container] = true
		r.running.Go(func() {
			done := result{stop: s}
			if done.sent, done.err = r.engine.Stops(ctx, s.Container, s.Asked); done.sent && done.err == nil {
				done.err = r.engine.Terminate(ctx, s.Container)
			}
			select {
			case r.results <- done:
			case <-ctx.Done():
			}
		})
	}
}

// wait is how long nothing happens by itself.
func (r *round) wait() time.Duration {
	next := time.Now().Add(time.Minute)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, s := range r.now().Pending() {
		at := s.Due()
		if again, failed := r.later[s.Container]; failed && again.After(at) {
			at = again
		}
		if !r.busy[s.Container] && (r.caught || r.late()) {
			sooner(at)
		}
	}
	if !r.ending.IsZero() {
		for _, at := range []time.Duration{settle, endWithin, endWithin + againAfter} {
			if t := r.ending.Add(at); t.After(time.Now()) {
				sooner(t)
			}
		}
	}
	return max(time.Until(next), time.Millisecond)
}

func (r *round) take(n news) {
	next := r.now()
	for _, s := range n.gone {
		next = next.Without(s.Container)
	}
	for _, e := range n.events {
		r.say(next, e)
		next = next.Next(e)
	}
	r.become(next)
	r.caught = r.caught || n.caught
}

// say tells of what a person should know.
func (r *round) say(before stops.Stops, e stops.Event) {
	switch {
	case before.Cut(e):
		r.note(func(x *Report) { x.Cut++ })
		r.log.Warn("a container was killed before its drain was over and has had no SIGTERM: its stop_grace_period has to be longer than its label rolling.drain",
			"container", e.Container, "name", e.Name)
	case e.What == stops.Asked:
		if _, wrong := stops.Drain(e.Drain); wrong {
			r.log.Warn("the label rolling.drain is no time such as 20s, so SIGTERM follows at once", "container", e.Container, "name", e.Name, "label", e.Drain)
		}
	}
}

func (r *round) finish(done result) {
	id := done.stop.Container
	_, again := r.later[id]
	delete(r.busy, id)
	delete(r.later, id)
	if done.sent && done.err == nil {
		r.note(func(x *Report) { x.Sent++ })
	}
	switch {
	case done.err != nil:
		r.later[id] = time.Now().Add(againAfter)
		r.note(func(x *Report) { x.Failed++ })
		if again { // the same failure again and again is said once
			return
		}
		r.log.Warn("a drain is over and SIGTERM could not be sent; trying again", "container", id, "name", done.stop.Name, "error", done.err)
	case !r.now().Has(done.stop): // it ended meanwhile
	case done.sent:
		r.become(r.now().Sent(id))
		r.log.Info("the drain is over: SIGTERM", "container", id, "name", done.stop.Name, "drain", done.stop.Drain)
	default:
		r.become(r.now().Without(id))
	}
}
