// Package driver is the door for the engine: Docker's IPAM plugin protocol on a unix socket, and the plugin's own status
// pages. It knows the wire, how long a caller may wait, and in which order a decision is taken, kept and told; what an
// address is given to is decided by pool alone.
package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// answerWithin: after a daemon restart the engine waits for us without limit, and so does every service of the Swarm.
const answerWithin = 2 * time.Second

// decideWithin leaves time to write the answer.
const decideWithin = 1700 * time.Millisecond

// Ledger keeps changes in the order in which they were added; the function that Add returns waits until they are safe.
type Ledger interface {
	Add(pool.Change) (wait func() error)
	Owed() int
	Size() int64
	Close() error
}

// Eyes see what is in use. They may be slow or blind: no call of the engine's waits for them.
type Eyes interface {
	Leads(context.Context) (bool, error)
	Look(context.Context) (pool.View, error)
	Here(context.Context) (pool.View, error)
	// Settled are the Configs with named pools and reservations; here is false where no manager is to be asked.
	Settled(context.Context) (all []allotment.Copy, here bool, err error)
}

// Opened is a ledger with the book that was read from it.
type Opened struct {
	Ledger   Ledger
	Book     *pool.Book
	SetAside string // where a ledger that could not be read was put; "" if none
	Cause    error  // why
}

// Parts are what a driver is made of.
type Parts struct {
	Open  func() (Opened, error) // tried until it succeeds
	Aside func() []string        // every ledger that was ever set aside
	Eyes  Eyes
	Clock func() time.Time // does not jump while the process lives
	Log   *slog.Logger
	Build string
}

// Driver answers the engine's calls.
type Driver struct {
	parts   Parts
	started time.Time
	wake    chan struct{} // something happened that a view would tell more about
	urgent  chan struct{} // a call waits for a view
	ready   chan struct{} // closed once the ledger is open
	opened  Opened        // set before ready is closed, not changed after

	twice map[netip.Addr][]string // what was last said of addresses with two holders; watch's alone

	refusals refusals

	mu sync.Mutex // guards the book, and the order in which changes reach the ledger

	notes      sync.Mutex // guards all below
	fault      error      // why the ledger is not open
	introduced bool       // an engine introduced itself before the ledger was open
	sight      Sight
	settled    reading
	looked     chan struct{} // closed when the next view has come, or failed
	lastLook   time.Time     // when the last one began
	deafUntil  time.Time     // no call waits for a view until then: one waited in vain
	unkept     uint64        // decisions that were told before they were safe
	lastUnkept string
	stats      *stats
	strangeV6  atomic.Uint64
}

// Sight is what came of asking the engine.
type Sight struct {
	Leads    bool       `json:"leads"`
	At       *time.Time `json:"at,omitempty"`
	Took     string     `json:"took,omitempty"`
	Error    string     `json:"error,omitempty"`
	Failures int        `json:"failures"`
}

// New answers nothing yet.
func New(p Parts) *Driver {
	return &Driver{parts: p, started: p.Clock(), wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), looked: make(chan struct{}), ready: make(chan struct{}), stats: newStats()}
}

// errLate says that the disk is slower than the engine may be kept waiting.
var errLate = fmt.Errorf("the ledger did not answer within %s: is the disk stalled?", decideWithin)

// begun waits for the ledger of a process that has just started.
func (d *Driver) begun(deadline time.Time) error {
	select {
	case <-d.ready:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case <-d.ready:
		return nil
	case <-timer.C:
		return fmt.Errorf("not ready: %w", d.why())
	}
}

func (d *Driver) why() error {
	d.notes.Lock()
	defer d.notes.Unlock()
	if d.fault == nil {
		return errors.New("the ledger is being read")
	}
	return d.fault
}

// decide takes a decision and waits until it is safe. kept is nil then; a decision that is not safe yet stays in memory
// and goes to disk with the next one, so the caller chooses whether it may be told.
func (d *Driver) decide(take func(*pool.Book) (pool.Change, error)) (kept, err error) {
	return d.decideBy(time.Now().Add(decideWithin), take)
}

func (d *Driver) decideBy(deadline time.Time, take func(*pool.Book) (pool.Change, error)) (kept, err error) {
	if err := d.begun(deadline); err != nil {
		return nil, err
	}
	wait, err := d.take(take)
	if wait == nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- wait() }()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case kept = <-done:
	case <-timer.C:
		kept = errLate
	}
	return kept, err
}

func (d *Driver) take(take func(*pool.Book) (pool.Change, error)) (wait func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := take(d.opened.Book)
	if c.IsZero() {
		return nil, err
	}
	return d.opened.Ledger.Add(c), err
}

// told counts a decision that the engine hears although it is not safe: what it already holds, or lets go, is on record
// in the Swarm, and a refusal would do more harm.
func (d *Driver) told(what string, kept error) {
	if kept == nil {
		return
	}
	d.notes.Lock()
	d.unkept++
	d.lastUnkept = kept.Error()
	d.notes.Unlock()
	d.parts.Log.Error("answered before the ledger had it", "call", what, "cause", kept)
}

// poke asks for a view soon.
func (d *Driver) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run opens the ledger, then keeps the book true to what is in use, until the context ends.
func (d *Driver) Run(ctx context.Context) error {
	if !d.openLedger(ctx) {
		return nil
	}
	d.watch(ctx)
	return d.close()
}

// openEvery: a ledger that another process holds is free as soon as that has ended.
const openEvery = 250 * time.Millisecond

func (d *Driver) openLedger(ctx context.Context) bool {
	for {
		o, err := d.parts.Open()
		if err == nil {
			d.begin(o)
			return true
		}
		d.notes.Lock()
		again := d.fault != nil && d.fault.Error() == err.Error()
		d.fault = err
		d.notes.Unlock()
		if !again {
			d.parts.Log.Error("the ledger cannot be opened: calls are refused until it can", "cause", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(openEvery):
		}
	}
}

func (d *Driver) begin(o Opened) {
	if o.SetAside != "" {
		d.parts.Log.Error("the ledger could not be read: it was set aside, and what is in use is learnt anew from the Swarm", "kept as", o.SetAside, "cause", o.Cause)
	}
	d.mu.Lock()
	d.opened = o
	d.mu.Unlock()
	d.notes.Lock()
	introduced := d.introduced
	d.fault, d.introduced = nil, false
	d.notes.Unlock()
	if introduced {
		if wait, _ := d.take(func(b *pool.Book) (pool.Change, error) { return b.Introduce(), nil }); wait != nil {
			d.told("GetCapabilities", wait())
		}
	}
	close(d.ready)
	d.parts.Log.Info("ready", "after", d.parts.Clock().Sub(d.started).Round(time.Millisecond))
	d.poke()
}

func (d *Driver) close() error {
	if err := d.opened.Ledger.Close(); err != nil {
		return fmt.Errorf("close the ledger: %w", err)
	}
	return nil
}
