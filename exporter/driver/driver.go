// Package driver is the plugin: it answers the engine's metrics collector protocol, takes a round of samples every interval,
// and serves the plugin's own pages. It knows the protocol and when what is done. How containers are found, read, named and
// shown is said to it by its parts.
package driver

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

// A Finder says which containers run.
type Finder interface {
	Containers() ([]sample.Container, sample.Sight)
	// Again is told of a container that cannot be read as it is known.
	Again(id string)
}

// A Reader is one container, held open.
type Reader interface {
	Read() (sample.Reading, error)
	Close()
}

// A Keeper keeps the totals over a restart.
type Keeper interface {
	Load() ([]byte, error)
	Save([]byte) error
}

// A Sink takes points for Graphite.
type Sink interface {
	Push([]sample.Point)
	State() sample.Delivery
}

// Parts are what the plugin is made of.
type Parts struct {
	Finder     Finder
	Open       func(c *sample.Container) (Reader, error)
	Keeper     Keeper
	Graphite   Sink // nil: off
	Collectors func(latest func() []sample.Sample) []prometheus.Collector
	EngineSock string // the engine's own metrics; empty: none
	Interval   time.Duration
	Log        *slog.Logger
	Build      string
}

// A Driver is the plugin.
type Driver struct {
	parts    Parts
	started  time.Time
	stats    *stats
	metrics  []sample.Metric
	collects atomic.Bool // the engine has said StartMetrics, and not StopMetrics

	book    *sample.Book     // Run's own
	held    map[string]*held // Run's own
	record  []byte           // Run's own
	paths   map[string][]string
	unsaved bool

	mu     sync.Mutex // guards what follows
	latest []sample.Sample
	recent *sample.Recent
	last   round
}

// held is a container that is open.
type held struct {
	container sample.Container
	reader    Reader
}

// round is how the last one went.
type round struct {
	At         time.Time `json:"at"`
	Containers int       `json:"containers"`
	Samples    int       `json:"samples"`
	Unread     []string  `json:"unread"` // why containers could not be read, the first few
	Unkept     string    `json:"unkept,omitempty"`
}

// New starts nothing.
func New(p Parts) *Driver {
	return &Driver{parts: p, started: time.Now(), stats: newStats(), metrics: sample.Metrics(), book: sample.NewBook(), held: map[string]*held{},
		paths: map[string][]string{}, recent: sample.NewRecent(p.Interval), last: round{Unread: []string{}}}
}

// Run takes rounds until the context ends. They lie on multiples of the interval since 1970, on all nodes alike: sums over
// nodes then add what belongs together.
func (d *Driver) Run(ctx context.Context) error {
	d.restore()
	defer d.letGo()
	for {
		now := time.Now()
		next := now.Truncate(d.parts.Interval).Add(d.parts.Interval)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next.Sub(now)):
			d.round(time.Now())
		}
	}
}

// restore reads the totals of an earlier process. Without them counters begin anew, which is worse than old and no reason to
// measure nothing.
func (d *Driver) restore() {
	text, err := d.parts.Keeper.Load()
	if err == nil && text != nil {
		var b *sample.Book
		if b, err = sample.Restore(text); err == nil {
			d.book = b
		}
	}
	if err != nil {
		d.parts.Log.Error("counters begin anew", "cause", err)
	}
}

func (d *Driver) letGo() {
	for _, h := range d.held {
		h.reader.Close()
	}
}

// round reads every container and tells the figures.
func (d *Driver) round(now time.Time) {
	begun := time.Now()
	at := now.Truncate(d.parts.Interval)
	containers, _ := d.parts.Finder.Containers()
	report := round{At: at.UTC(), Containers: len(containers), Unread: []string{}}
	runs := map[string]bool{}
	all := make([]sample.Measured, 0, len(containers))
	for i := range containers {
		c := &containers[i]
		runs[c.ID] = true
		reading, err := d.read(c)
		if err != nil {
			d.stats.unread.Inc()
			d.parts.Finder.Again(c.ID)
			if len(report.Unread) < mostSaid {
				report.Unread = append(report.Unread, err.Error())
			}
		}
		all = append(all, sample.Measured{Container: *c, Reading: reading})
	}
	d.close(runs)
	samples := d.book.Round(at, all)
	report.Samples = len(samples)
	// Kept before it is told: what was told must not be taken back after a crash.
	d.record = d.book.AppendRecord(d.record[:0])
	if err := d.parts.Keeper.Save(d.record); err != nil {
		report.Unkept = err.Error()
		if !d.unsaved {
			d.parts.Log.Error("totals are not kept: counters may go back when the plugin starts again", "cause", err)
		}
	}
	d.unsaved = report.Unkept != ""
	d.mu.Lock()
	d.latest, d.last = samples, report
	d.recent.Add(at, samples, func(id string) bool { return runs[id] })
	d.mu.Unlock()
	d.tell(at, samples)
	d.stats.rounds.Inc()
	d.stats.samples.Add(float64(len(samples)))
	d.stats.seconds.Observe(time.Since(begun).Seconds())
}

// mostSaid bounds the reasons in /debug/state.
const mostSaid = 20

// read reads a container, and opens it first if it is new or has started anew.
func (d *Driver) read(c *sample.Container) (*sample.Reading, error) {
	h := d.held[c.ID]
	if h != nil && (h.container.PID != c.PID || !h.container.Started.Equal(c.Started)) {
		d.drop(c.ID)
		h = nil
	}
	if h == nil {
		r, err := d.parts.Open(c)
		if err != nil {
			return nil, err
		}
		h = &held{*c, r}
		d.held[c.ID] = h
	}
	reading, err := h.reader.Read()
	if err != nil {
		d.drop(c.ID)
		return nil, err
	}
	return &reading, nil
}

func (d *Driver) drop(id string) {
	d.held[id].reader.Close()
	delete(d.held, id)
}

// close lets go of what runs no more.
func (d *Driver) close(runs map[string]bool) {
	for id := range d.held {
		if !runs[id] {
			d.drop(id)
		}
	}
}

// tell sends the slots' figures to Graphite. The newest task of a slot writes its path.
func (d *Driver) tell(at time.Time, samples []sample.Sample) {
	if d.parts.Graphite == nil {
		return
	}
	points := make([]sample.Point, 0, len(samples)*len(d.metrics))
	paths := make(map[string][]string, len(samples))
	for i := range samples {
		s := &samples[i]
		if !s.Newest {
			continue
		}
		names := d.names(s.Container.Path())
		paths[s.Container.Path()] = names
		for k, m := range d.metrics {
			if v, ok := m.OfSlot(s); ok {
				points = append(points, sample.Point{Path: names[k], Value: v, At: at.Unix()})
			}
		}
	}
	d.paths = paths
	d.parts.Graphite.Push(points)
}

// names are the full paths of a slot, made once.
func (d *Driver) names(path string) []string {
	if names := d.paths[path]; names != nil {
		return names
	}
	names := make([]string, len(d.metrics))
	for k, m := range d.metrics {
		names[k] = path + "." + m.Name
	}
	return names
}

// stale is how many intervals old the last round may be before its figures are not shown any more.
const stale = 3

// Latest are the samples of the last round, none if that is long ago.
func (d *Driver) Latest() []sample.Sample {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.last.At) > stale*d.parts.Interval+time.Second {
		return nil
	}
	return d.latest
}
