// Package carrier carries lines from the engine's pipes into the spool, and from the spool to Kafka. It is the loop that
// knows the cores and the edges: one goroutine reads each pipe and waits for nothing but the pipe and the page cache;
// one sends each container's lines and waits for Kafka. Nothing but the spool lies between them.
package carrier

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/kafka"
	"github.com/rolling-swarm/rolling/logdriver/route"
	"github.com/rolling-swarm/rolling/logdriver/spool"
)

// Settings of a carrier.
type Settings struct {
	State   string // folder; the spool and the notes on open pipes are below it
	Pipes   string // folder where the engine makes its pipes
	Node    route.Node
	Limits  route.Limits
	Keep    int64         // of each container, for `docker logs`, beside what Kafka lacks
	KeepFor time.Duration // after the container ended
	Buffer  int64         // bytes on their way to Kafka
}

// A Carrier carries.
type Carrier struct {
	set    Settings
	store  *spool.Store
	kafka  *kafka.Client // nil: everything stays in the spool
	log    *slog.Logger
	budget *budget
	Stats  Stats

	buffers sync.Pool
	sending context.Context // ends when senders must

	// turn is held by who starts or ends a container: they come one after the other.
	turn sync.Mutex

	mu      sync.Mutex
	lanes   map[string]*lane     // by container; guarded by mu
	readers map[string]*reader   // by pipe; guarded by mu
	resting map[string]resting   // ended, sent, closed; guarded by mu
	strange map[string]time.Time // pipes that nobody explained, since when; guarded by mu
	closing bool                 // guarded by mu
}

// A lane is a container whose log is open.
type lane struct {
	route route.Lane
	log   *spool.Log
	stop  context.CancelFunc
	done  chan struct{} // closed when its sender has ended

	mu      sync.Mutex
	readers int       // guarded by mu
	ended   time.Time // when the last reader ended; guarded by mu
}

// resting is a container that ended: its log is on disk only.
type resting struct {
	route  route.Lane
	ended  time.Time
	unsent uint64 // where there is no Kafka
}

// New makes a carrier; client may be nil.
func New(set Settings, store *spool.Store, client *kafka.Client, log *slog.Logger) *Carrier {
	return &Carrier{
		set: set, store: store, kafka: client, log: log, budget: newBudget(set.Buffer), Stats: newStats(), sending: context.Background(),
		lanes: map[string]*lane{}, readers: map[string]*reader{}, resting: map[string]resting{}, strange: map[string]time.Time{},
	}
}

// Run attaches to the pipes of an earlier process, keeps house until the context ends, and drains all pipes then.
func (c *Carrier) Run(ctx context.Context) error {
	if err := c.attach(); err != nil { //nolint:contextcheck // what is sent outlives the reading: its context is the carrier's own
		c.log.Error("not everything of the last run was found again", "cause", err)
	}
	var all sync.WaitGroup
	all.Go(func() { c.each(ctx, time.Second, c.sync) })
	all.Go(func() { c.each(ctx, time.Second, c.keepHouse) })
	all.Go(func() { c.each(ctx, strangeAfter/3, c.lookForStrangers) })
	<-ctx.Done()
	c.drain()
	all.Wait()
	return c.close() //nolint:contextcheck // the context has ended here
}

func (c *Carrier) each(ctx context.Context, period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// errClosing answers who comes too late; the engine tries again.
var errClosing = errors.New("the plugin is being stopped: try again")

// Start begins to read a pipe. The only refusal is of options; Kafka is not asked.
func (c *Carrier) Start(file string, from route.Container) error {
	plan, err := route.Plan(from, c.set.Node, c.set.Limits)
	if err != nil {
		// the engine leaves the pipe there, and nobody will ever write to it
		return errors.Join(err, c.removePipe(file))
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	c.endBefore(file, plan.Container)
	l, err := c.open(plan)
	if err != nil {
		return err
	}
	if err := c.read(l, file, true); err != nil {
		return fmt.Errorf("container %s: %w", plan.Container, err)
	}
	return nil
}

// endBefore ends what read this pipe as a stranger's, and drains an older pipe of the same container: an engine that
// was killed makes a new one.
func (c *Carrier) endBefore(file, container string) {
	c.mu.Lock()
	var old []*reader
	for path, r := range c.readers {
		if path == file || r.lane.route.Container == container {
			old = append(old, r)
		}
	}
	c.mu.Unlock()
	for _, r := range old {
		r.end(leaveFile)
		r.wait(stopWithin)
	}
}

// stopWithin bounds the draining of a pipe: the engine holds the container's lock all the while.
const stopWithin = 2 * time.Second

// Stop drains a pipe and ends its reading. Pipes that are not known are fine.
func (c *Carrier) Stop(file string) {
	c.mu.Lock()
	r := c.readers[file]
	c.mu.Unlock()
	if r == nil {
		return
	}
	r.end(leaveFile) // the engine removes it
	r.wait(stopWithin + time.Second/2)
}

// open gives the container's lane, from memory or from disk; turn is held.
func (c *Carrier) open(plan route.Lane) (*lane, error) {
	c.mu.Lock()
	l, closing := c.lanes[plan.Container], c.closing
	c.mu.Unlock()
	if closing {
		return nil, errClosing
	}
	if l != nil {
		if live, _ := l.live(); live || reflect.DeepEqual(l.route, plan) {
			return l, nil
		}
		c.reset(l)
	}
	log, err := c.store.Open(plan)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(c.sending)
	l = &lane{route: plan, log: log, stop: stop, done: make(chan struct{}), ended: log.LastChange()}
	c.mu.Lock()
	c.lanes[plan.Container] = l
	if _, known := c.resting[plan.Container]; !known {
		c.Stats.Found.Add(log.Size().Unsent)
	}
	delete(c.resting, plan.Container)
	c.mu.Unlock()
	if c.kafka == nil {
		close(l.done)
		return l, nil
	}
	s := newSender(c, l)
	go func() {
		defer close(l.done)
		s.run(ctx)
	}()
	return l, nil
}

// reset closes a lane whose container begins anew with other settings; turn is held.
func (c *Carrier) reset(l *lane) {
	if err := c.shut(l); err != nil {
		c.log.Warn("a log did not close cleanly", "container", l.route.Container, "cause", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting[l.route.Container] = resting{l.route, time.Now(), l.log.Size().Unsent}
}

// shut ends the lane's sender and closes its log; turn is held.
func (c *Carrier) shut(l *lane) error {
	l.stop()
	<-l.done
	c.mu.Lock()
	delete(c.lanes, l.route.Container)
	c.mu.Unlock()
	return l.log.Close()
}

// read starts a reader. note: write down that the pipe is this container's.
func (c *Carrier) read(l *lane, file string, note bool) error {
	r, err := newReader(c, l, file)
	if err != nil {
		return err
	}
	if note {
		if err := c.note(file, l.route.Container); err != nil {
			return errors.Join(err, r.pipe.Close())
		}
	}
	l.mu.Lock()
	l.readers++
	l.mu.Unlock()
	c.mu.Lock()
	c.readers[file] = r
	delete(c.strange, file)
	c.mu.Unlock()
	go r.run()
	return nil
}

// ended is told by a reader that it is over.
func (c *Carrier) ended(r *reader) {
	c.mu.Lock()
	if c.readers[r.pipe.Path] == r {
		delete(c.readers, r.pipe.Path)
	}
	c.mu.Unlock()
	r.lane.mu.Lock()
	r.lane.readers--
	if r.lane.readers == 0 {
		r.lane.ended = time.Now()
	}
	r.lane.mu.Unlock()
	r.lane.log.Nudge() // who follows may end
}

// live says whether somebody still reads for the lane.
func (l *lane) live() (bool, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readers > 0, l.ended
}

// drain empties all pipes into the spool. The containers may live on: their pipes are not given up.
func (c *Carrier) drain() {
	c.mu.Lock()
	c.closing = true
	readers := make([]*reader, 0, len(c.readers))
	for _, r := range c.readers {
		readers = append(readers, r)
	}
	c.mu.Unlock()
	for _, r := range readers {
		r.end(keepNote)
	}
	for _, r := range readers {
		r.wait(stopWithin + time.Second/2)
	}
}

// flushWithin is how long what is on its way may take when the plugin ends: the engine kills it after 10 s.
const flushWithin = 3 * time.Second

// close waits a moment for Kafka, ends the senders and closes all logs.
func (c *Carrier) close() error {
	var errs []error
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	lanes := make([]*lane, 0, len(c.lanes))
	for _, l := range c.lanes {
		lanes = append(lanes, l)
	}
	c.mu.Unlock()
	if c.kafka != nil {
		c.settleWithin(lanes, flushWithin)
	}
	for _, l := range lanes {
		l.stop()
	}
	if c.kafka != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.kafka.Close(ctx); err != nil {
			c.log.Warn("lines stay in the spool", "cause", err)
		}
	}
	for _, l := range lanes {
		errs = append(errs, c.shut(l))
	}
	return errors.Join(errs...)
}

// settleWithin waits until Kafka has everything, if it takes lines at all.
func (c *Carrier) settleWithin(lanes []*lane, bound time.Duration) {
	deadline := time.Now().Add(bound)
	for _, l := range lanes {
		for !l.log.Drained() && time.Now().Before(deadline) && c.kafka.Fault() == nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (c *Carrier) notes() string { return filepath.Join(c.set.State, "open") }
