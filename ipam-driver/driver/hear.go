package driver

import (
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

const (
	// hearWithin leaves time to decide.
	hearWithin = time.Second
	// hearAgain is how soon the Swarm is asked again when a view failed: a manager that has just been elected says for a
	// moment that nobody leads.
	hearAgain = 100 * time.Millisecond
	// deafFor is how long no call waits after one waited in vain: an engine that does not answer must not cost every task
	// of the Swarm a second.
	deafFor = 30 * time.Second
)

// hearFirst waits until the Swarm was seen since the pool was asked for, for a second at most: nobody tells a new leader's
// plugin what containers of removed networks and removed nodes still hold. Without a view it goes on, and what is unknown is
// given last. As in lookNow, what is asked takes no lock that Swarm's allocator holds.
func (d *Driver) hearFirst(key pool.Key) {
	if d.parts.Eyes == nil || !d.unheard(key) {
		return
	}
	begun := time.Now()
	d.notes.Lock()
	deaf := begun.Before(d.deafUntil)
	d.notes.Unlock()
	if deaf {
		return
	}
	deadline := begun.Add(hearWithin)
	for d.lookBy(deadline) {
		if !d.unheard(key) {
			return
		}
		time.Sleep(min(hearAgain, max(0, time.Until(deadline))))
	}
	d.notes.Lock()
	d.deafUntil = time.Now().Add(deafFor)
	why := d.sight.Error
	d.notes.Unlock()
	d.parts.Log.Warn("the Swarm does not say what removed networks and nodes hold: what is unknown is given last", "pool", key, "waited", time.Since(begun).Round(time.Millisecond), "cause", why)
}

func (d *Driver) unheard(key pool.Key) bool {
	select {
	case <-d.ready:
	default:
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened.Book.Unheard(key)
}

// lookBy has the Swarm asked at once, and says whether a look came to its end before the deadline.
func (d *Driver) lookBy(deadline time.Time) bool {
	d.notes.Lock()
	looked := d.looked
	d.notes.Unlock()
	select {
	case d.urgent <- struct{}{}:
	default:
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-looked:
		return true
	case <-timer.C:
		return false
	}
}
