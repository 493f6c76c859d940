// Package upkeep keeps the node's plugins as the agent's bundles and settings say: it looks, has agent/bundle decide, has
// the engine act, and looks again. It knows when to look: at the start, when the engine says that a plugin was changed,
// when the engine is back, and every few seconds. It knows neither Docker's API nor how a decision is made.
package upkeep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/bundle"
)

// An Engine is what upkeep needs of this node's engine.
type Engine interface {
	Installed(ctx context.Context, alias string) (bundle.Installed, error)
	Do(ctx context.Context, b bundle.Bundle, step bundle.Step) error
	// Watch calls changed when the engine answers and at each change, until the engine goes away.
	Watch(ctx context.Context, changed func()) error
}

// Parts are what an Upkeep works with.
type Parts struct {
	Engine Engine
	Wants  []bundle.Want
	Every  time.Duration // how often to look unasked
	// Patience is how long a plugin is left to whoever disabled it while it was at work: he may want to set it first.
	Patience time.Duration
	// Alone holds other agents of this node off, until the function that it returns is called.
	Alone func(ctx context.Context) (func(), error)
	Log   *slog.Logger
	Now   func() time.Time
}

// An Upkeep owns the record of what was done; the engine owns the plugins.
type Upkeep struct {
	Parts
	wake chan struct{}

	mu      sync.Mutex
	plugins map[string]*Plugin // guarded by mu, by alias
	away    string             // guarded by mu: why the engine does not answer, "" if it does
	said    bool               // guarded by mu: the log has away
}

// A Plugin is how one plugin stands.
type Plugin struct {
	Alias     string              `json:"alias"`
	Want      string              `json:"want"` // build
	Installed bundle.Installed    `json:"installed"`
	Ready     bool                `json:"ready"` // as wanted when last looked at
	Problem   string              `json:"problem,omitempty"`
	Waits     string              `json:"waits,omitempty"`    // what is to be done once no container uses the plugin; it works as it is
	Failures  int                 `json:"failures"`           // in a row
	NextTry   *time.Time          `json:"nextTry,omitempty"`  // after failures
	LookedAt  *time.Time          `json:"lookedAt,omitempty"` // when it was seen last
	Steps     map[bundle.Verb]int `json:"steps"`              // done since the agent's start
	Failed    int                 `json:"failed"`             // tries since the agent's start

	works bool      // it was enabled when last looked at, and neither we nor the engine's end have touched it since
	off   time.Time // when somebody else was seen to have disabled it
}

// New starts nothing.
func New(p Parts) *Upkeep {
	u := &Upkeep{Parts: p, wake: make(chan struct{}, 1), plugins: map[string]*Plugin{}, away: "not asked yet"}
	for _, w := range p.Wants {
		u.plugins[w.Alias] = &Plugin{Alias: w.Alias, Want: w.Build, Steps: map[bundle.Verb]int{}}
	}
	return u
}

// Run keeps the plugins until the context ends. Steps that have begun are finished first: a stop between a removal and a
// creation would leave the node without the plugin until the next agent.
func (u *Upkeep) Run(ctx context.Context) error {
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		u.watch(ctx)
	}()
	defer func() { <-watched }()
	tick := time.NewTicker(u.Every)
	defer tick.Stop()
	for {
		u.pass(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-u.wake:
		case <-u.patient():
		}
	}
}

// patient is when the first plugin that somebody disabled is not left to him any longer; nil if there is none.
func (u *Upkeep) patient() <-chan time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	var first time.Time
	for _, p := range u.plugins {
		if !p.off.IsZero() && (first.IsZero() || p.off.Before(first)) {
			first = p.off
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(first.Add(u.Patience).Sub(u.Now()))
}

const (
	soonest = 500 * time.Millisecond
	latest  = 10 * time.Second
)

// tries bounds what Once does about a refusal. The first may come from a start that an agent killed a moment ago still
// has under way: the engine then refuses both.
const tries = 3

// Once brings the plugins in order and returns. An engine that is away is waited for until the context ends; what the
// engine refuses is tried a few times.
func (u *Upkeep) Once(ctx context.Context) error {
	away := soonest
	for refused := 0; ; {
		err := u.Pass(ctx)
		if err == nil {
			return nil
		}
		pause := away
		if u.answers() {
			if refused++; refused == tries {
				return err
			}
			u.Log.Warn("plugins are not as they should be; trying again", "cause", err)
			pause, away = bundle.Pause(refused), soonest
		} else {
			away = min(2*away, latest)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func (u *Upkeep) answers() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.away == ""
}

// watch follows the engine, and waits for one that is away.
func (u *Upkeep) watch(ctx context.Context) {
	for pause := soonest; ; pause = min(2*pause, latest) {
		answered := false
		err := u.Engine.Watch(ctx, func() {
			answered = true
			u.look()
		})
		if ctx.Err() != nil {
			return
		}
		if answered {
			pause = soonest
		}
		u.engineAway(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// pass says what went wrong, but for an engine that is away: that is said once.
func (u *Upkeep) pass(ctx context.Context) {
	if err := u.Pass(ctx); err != nil && ctx.Err() == nil && u.answers() {
		u.Log.Error("plugins are not as they should be", "cause", err)
	}
}

// look asks for a pass soon.
func (u *Upkeep) look() {
	select {
	case u.wake <- struct{}{}:
	default: // one is asked for already
	}
}

// Pass looks at every plugin once and does what is needed. One plugin's failure does not keep the others from theirs.
func (u *Upkeep) Pass(ctx context.Context) error {
	release, err := u.Alone(ctx)
	if err != nil {
		return fmt.Errorf("wait for another agent of this node: %w", err)
	}
	defer release()
	var problems []error
	for _, w := range u.Wants {
		if ctx.Err() != nil {
			return errors.Join(append(problems, ctx.Err())...)
		}
		if err := u.keep(ctx, w); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (u *Upkeep) keep(ctx context.Context, w bundle.Want) error {
	have, err := u.Engine.Installed(ctx, w.Alias)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		u.engineAway(err)
		u.set(w.Alias, func(p *Plugin) { p.Ready = false })
		return err
	}
	u.engineBack()
	steps := bundle.Steps(w, have)
	if u.record(w.Alias, have, len(steps) == 0) || len(steps) == 0 {
		return nil
	}
	if err := u.do(ctx, w, have, steps); errors.Is(err, bundle.ErrInUse) {
		u.waits(w.Alias, steps[0].Cause)
		return nil
	} else if err != nil {
		u.fail(w.Alias, err)
		return err
	}
	if have, err = u.Engine.Installed(context.WithoutCancel(ctx), w.Alias); err == nil {
		u.record(w.Alias, have, len(bundle.Steps(w, have)) == 0)
	}
	return nil
}

func (u *Upkeep) do(ctx context.Context, w bundle.Want, have bundle.Installed, steps []bundle.Step) error {
	ctx = context.WithoutCancel(ctx) // see Run; each step is bounded by itself
	u.set(w.Alias, func(p *Plugin) { p.works, p.off = false, time.Time{} })
	begun := u.Now()
	for _, s := range steps {
		if err := u.Engine.Do(ctx, w.Bundle, s); err != nil {
			return err
		}
		u.set(w.Alias, func(p *Plugin) { p.Steps[s.Verb]++ })
	}
	var words []string
	for _, s := range steps {
		words = append(words, string(s.Verb))
	}
	u.Log.Info("plugin brought in order", "plugin", w.Alias, "cause", steps[0].Cause, "steps", words,
		"build", bundle.Short(w.Build), "before", bundle.Short(have.Build), "took", u.Now().Sub(begun).Round(time.Millisecond).String())
	return nil
}

func (u *Upkeep) set(alias string, change func(*Plugin)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(u.plugins[alias])
}

// record keeps what was seen, and says whether to wait with what is to be done.
func (u *Upkeep) record(alias string, have bundle.Installed, ready bool) (wait bool) {
	now := u.Now()
	u.set(alias, func(p *Plugin) {
		p.Installed, p.LookedAt = have, &now
		p.Ready = ready || p.Waits != "" && have.Enabled
		if ready {
			p.Problem, p.Waits, p.Failures, p.NextTry = "", "", 0, nil
		}
		wait = p.NextTry != nil && now.Before(*p.NextTry) || p.left(have, now, u.Patience)
	})
	return wait
}

// left says whether the plugin is left to whoever disabled it.
func (p *Plugin) left(have bundle.Installed, now time.Time, patience time.Duration) bool {
	if have.Enabled || !have.Present {
		p.works, p.off = have.Enabled, time.Time{}
		return false
	}
	if p.works {
		p.works, p.off = false, now
	}
	if p.off.IsZero() || now.Sub(p.off) >= patience {
		return false
	}
	p.Problem = fmt.Sprintf("somebody has disabled it: it is enabled again %s after that", patience)
	return true
}

// askAgain is how often a plugin is tried whose containers have to go first: a try costs the engine an unpacking.
const askAgain = time.Minute

func (u *Upkeep) waits(alias, cause string) {
	next, news := u.Now().Add(askAgain), false
	u.set(alias, func(p *Plugin) {
		news = p.Waits == ""
		p.Ready, p.Problem, p.Waits, p.Failures, p.NextTry = true, "", cause+"; it waits until no container of this node uses the plugin", 0, &next
	})
	if news {
		u.Log.Warn("the plugin waits until no container uses it, and works as it is", "plugin", alias, "cause", cause)
	}
}

func (u *Upkeep) fail(alias string, err error) {
	u.set(alias, func(p *Plugin) {
		p.Ready, p.Problem = false, err.Error()
		p.Failures++
		p.Failed++
		next := u.Now().Add(bundle.Pause(p.Failures))
		p.NextTry = &next
	})
}

func (u *Upkeep) engineAway(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.said {
		u.Log.Warn("the engine does not answer; waiting for it", "cause", err)
	}
	u.away, u.said = err.Error(), true
	for _, p := range u.plugins {
		p.works, p.off = false, time.Time{} // an engine that starts disables what does not answer it
	}
}

func (u *Upkeep) engineBack() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.said {
		u.Log.Info("the engine answers")
	}
	u.away, u.said = "", false
}
