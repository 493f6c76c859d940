package driver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

const (
	// soon lets a burst of calls pass before the engine is asked about it.
	soon = time.Second
	// curious is a little more than the pause that two views must have between them to free an address.
	curious = 11 * time.Second
	// calm is how often a node's readiness and what nobody told us are looked at.
	calm = time.Minute
	// lookWithin bounds one round of questions: an engine that starts accepts them and answers minutes later.
	lookWithin = 30 * time.Second
	// share of the time that may go into questions: a view of a large Swarm costs its leader something.
	patience = 20
)

// watch asks the engine again and again, never in a call of the engine's.
func (d *Driver) watch(ctx context.Context) {
	timer := time.NewTimer(soon)
	defer timer.Stop()
	last := time.Now()
	var took time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.urgent:
		case <-d.wake:
			next := max(soon, 2*soon+patience*took-time.Since(last))
			timer.Reset(next)
			select {
			case <-ctx.Done():
				return
			case <-d.urgent:
			case <-timer.C:
			}
		case <-timer.C:
		}
		last = time.Now()
		d.look(ctx)
		took = time.Since(last)
		timer.Reset(max(d.pause(), patience*took))
	}
}

func (d *Driver) pause() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.opened.Book
	if b.IsBlind() || b.Curious(pool.Local) || d.seen().Leads && b.Curious(pool.Global) {
		return curious
	}
	return calm
}

func (d *Driver) seen() Sight {
	d.notes.Lock()
	defer d.notes.Unlock()
	return d.sight
}

// look brings the book one round of views, and tidies it.
func (d *Driver) look(ctx context.Context) {
	begun := time.Now()
	d.notes.Lock()
	d.lastLook = begun
	d.notes.Unlock()
	defer d.tellLooked()
	asked, leads, err := d.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	d.notes.Lock()
	was := d.sight
	d.sight.Leads, d.sight.Error = leads, ""
	if asked {
		at := d.parts.Clock().UTC()
		d.sight.At, d.sight.Took = &at, time.Since(begun).Round(time.Millisecond).String()
	}
	if err != nil {
		d.sight.Error = err.Error()
		d.sight.Failures++
	}
	now := d.sight
	d.notes.Unlock()
	d.stats.looked(time.Since(begun), err)
	if err != nil && was.Error != now.Error {
		d.parts.Log.Warn("the engine does not say what is in use: nothing is freed meanwhile", "cause", err)
	}
	if was.Leads != now.Leads {
		d.parts.Log.Info("the node's part in the Swarm changed", "leader", now.Leads)
	}
	d.readSettled(ctx)
	d.settle("tidying", func(b *pool.Book) pool.Change { return b.Tidy(d.parts.Clock()) })
}

func (d *Driver) tellLooked() {
	d.notes.Lock()
	defer d.notes.Unlock()
	close(d.looked)
	d.looked = make(chan struct{})
}

const (
	// lookAgainAfter keeps a full pool's calls from asking the Swarm one by one.
	lookAgainAfter = time.Second
	// lookNowWithin leaves time to decide once more.
	lookNowWithin = time.Second
)

// lookNow has the Swarm asked at once, and waits for the view, for a moment. This and hearFirst are all that a call may wait for:
// Swarm tries a task's address again when another is released, which is when a lost node is just back, and then not
// for 5 minutes. What is asked takes no lock that Swarm's allocator holds; should it do so one day, a second is lost.
func (d *Driver) lookNow() bool {
	d.notes.Lock()
	fresh := time.Since(d.lastLook) < lookAgainAfter
	d.notes.Unlock()
	if d.parts.Eyes == nil || fresh {
		return false
	}
	return d.lookBy(time.Now().Add(lookNowWithin))
}

// ask puts the questions that the book has an interest in. Who leads is always asked: only the leader gives addresses of
// the Swarm, and it does so from a ledger that may be new.
func (d *Driver) ask(ctx context.Context) (asked, leads bool, err error) {
	if d.parts.Eyes == nil {
		return false, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	global, local := d.interest()
	leads, err = d.askSwarm(ctx, global)
	if local { // a Swarm without a leader keeps no node from its own networks
		v, blocked := d.parts.Eyes.Here(ctx)
		if blocked == nil {
			d.bring(v)
		}
		err = errors.Join(err, blocked)
	}
	return true, leads, err
}

func (d *Driver) interest() (global, local bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := d.opened.Book
	return b.Has(pool.Global) || b.IsBlind() || !b.Viewed(), b.Has(pool.Local)
}

// askSwarm asks only where this node leads, before and after: another manager's book is not asked for addresses.
func (d *Driver) askSwarm(ctx context.Context, interest bool) (leads bool, err error) {
	begun := d.parts.Clock()
	if leads, err = d.parts.Eyes.Leads(ctx); err != nil {
		return leads, err
	}
	if !leads {
		d.settle("a node that follows", func(b *pool.Book) pool.Change { return b.Follow(begun) })
		return false, nil
	}
	if !interest {
		return true, nil
	}
	v, err := d.parts.Eyes.Look(ctx)
	if err != nil {
		return leads, err
	}
	if leads, err = d.parts.Eyes.Leads(ctx); err != nil || !leads {
		return leads, err
	}
	d.bring(v)
	return true, nil
}

func (d *Driver) bring(v pool.View) {
	var seen pool.Seen
	d.settle("a view", func(b *pool.Book) (c pool.Change) {
		c, seen = b.Observe(d.parts.Clock(), v)
		return c
	})
	d.stats.brought(seen)
	if seen.Adopted+seen.Freed+seen.Kept > 0 {
		d.parts.Log.Info("the book follows what is in use", "space", v.Space, "adopted", seen.Adopted, "freed", seen.Freed, "kept", seen.Kept)
	}
	if v.Space == pool.Global {
		defer func() { d.twice = seen.Twice }()
	}
	for a, who := range seen.Twice {
		if slices.Equal(d.twice[a], who) {
			continue // said before
		}
		d.parts.Log.Error("an address has two holders: stop one of them", "address", a, "holders", fmt.Sprint(who))
	}
}

// settle keeps a decision that nobody waits for.
func (d *Driver) settle(what string, decide func(*pool.Book) pool.Change) {
	wait, _ := d.take(func(b *pool.Book) (pool.Change, error) { return decide(b), nil })
	if wait == nil {
		return
	}
	if err := wait(); err != nil {
		d.told(what, err)
	}
}
