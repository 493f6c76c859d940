package bgp

import (
	"context"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

// deadlines are the moments at which the speaker must do something by itself.
type deadlines struct {
	begun     time.Time
	notBefore time.Time // of a repair

	mu      sync.Mutex // guards all below: events come from the server's goroutine
	repair  time.Time  // send all routes again
	first   time.Time  // session of the burst that waits for its repair
	sent    uint64     // updates, when a repair was last looked at
	settle  time.Time  // tell that the rest is stale
	settled bool
}

func newDeadlines(begun time.Time, restarting bool) *deadlines {
	d := &deadlines{begun: begun, notBefore: begun, repair: begun.Add(repairEvery)}
	if restarting {
		// Sending all again also sends an End-of-RIB: before the deferral is over it would be a lie, and cost routes.
		d.notBefore = begun.Add(deferral + repairAfter)
	}
	return d
}

// joined puts the repair 5 s behind the last session of a burst, but not for ever.
func (d *deadlines) joined(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first.IsZero() {
		d.first = now
	}
	at := now.Add(repairAfter)
	if latest := d.first.Add(longestBurst); at.After(latest) {
		at = latest
	}
	if at.Before(d.notBefore) {
		at = d.notBefore
	}
	d.repair = at
}

// due says that a repair waits for nothing but silence.
func (d *deadlines) due(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !now.Before(d.repair)
}

// repairs says that it is time, once: when no update was sent since the last look. To send all again while all is still
// being sent for the first time would double what waits. Somebody who never falls silent is not waited for.
func (d *deadlines) repairs(now time.Time, sent uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now.Before(d.repair) {
		return false
	}
	if sent != d.sent && now.Sub(d.repair) < longestSending {
		d.sent = sent
		return false
	}
	d.repair, d.first = now.Add(repairEvery), time.Time{}
	return true
}

// settles says, once, that what was not learnt by now is stale: all have been heard, or some were and the rest had
// their time. With neighbours of whom none was ever heard nothing is stale: what runs keeps being forwarded.
func (d *deadlines) settles(now time.Time, neighbours, heard int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := now.Sub(d.begun) >= settleLimit
	done := neighbours > 0 && heard == neighbours || late && (heard > 0 || neighbours == 0)
	switch {
	case d.settled:
		return false
	case !done:
		d.settle = time.Time{}
		return false
	case d.settle.IsZero():
		d.settle = now.Add(settleDelay)
		return false
	case now.Before(d.settle):
		return false
	}
	d.settled = true
	return true
}

// tend does what is due.
func (r *run) tend(ctx context.Context, now time.Time) {
	r.pardon(ctx, now)
	r.warn()
	neighbours, heard := r.count()
	if r.deadlines.settles(now, neighbours, heard) {
		r.mu.Lock()
		r.settledIn = now.Sub(r.begun)
		r.mu.Unlock()
		r.told.Settle()
	}
	r.mu.Lock()
	gone := r.lull.over(now, r.reflected())
	r.mu.Unlock()
	r.withdraw(gone)
	r.mend(ctx, now)
}

// count leaves routers out: they tell us nothing.
func (r *run) count() (neighbours, heard int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for a, n := range r.neighbours {
		if n.Router {
			continue
		}
		neighbours++
		if s, ok := r.seen[a]; ok && s.heard {
			heard++
		}
	}
	return neighbours, heard
}

// pardon gives a neighbour that sent too many prefixes another chance.
func (r *run) pardon(ctx context.Context, now time.Time) {
	r.mu.Lock()
	var due []string
	for a, s := range r.seen {
		if !s.cutOff.IsZero() && now.Sub(s.cutOff) >= pardonAfter {
			s.cutOff = time.Time{}
			due = append(due, a.String())
		}
	}
	r.mu.Unlock()
	for _, a := range due {
		r.log.Warn("a neighbour that sent more prefixes than allowed may speak again", "neighbour", a, "allowed", r.settings.MaxPrefixes)
		if err := r.server.EnablePeer(ctx, &api.EnablePeerRequest{Address: a}); err != nil {
			r.log.Warn("could not let it speak again", "neighbour", a, "cause", err)
		}
	}
}
