package sample

import (
	"slices"
	"time"
)

const (
	// keepTask: a task never comes back under its id, so what it has counted is kept only over a gap in the readings.
	keepTask = time.Hour
	// keepSlot: a slot may be empty for a night.
	keepSlot = 24 * time.Hour
	// mostIdle bounds what is kept of the ended ones.
	mostIdle = 5000
)

// A Book keeps what has been counted. It is not for several goroutines at once.
type Book struct {
	sources map[string]*source // by container id
	totals  map[string]*total  // by series and by slot
}

// A source is what the kernel said last of one container: the next reading minus this one is what is new.
type source struct {
	started  int64 // nanoseconds since 1970; another start began at 0 again
	restarts uint64
	at       time.Time
	raw      Counts
	disks    []Part
	links    []Part
}

// A total is what has been told of a series or a slot.
type total struct {
	seen   int64 // nanoseconds since 1970, the last round with it
	brief  bool  // of a task
	counts Counts
}

// NewBook is an empty one.
func NewBook() *Book { return &Book{map[string]*source{}, map[string]*total{}} }

// A Measured is a container and what was read of it; without a reading it holds its slot and tells nothing.
type Measured struct {
	Container Container
	Reading   *Reading // nil: it could not be read
}

// Round takes what was read at about now, and gives a sample for each reading.
func (b *Book) Round(now time.Time, all []Measured) []Sample {
	newest := map[string]*Container{}
	for i := range all {
		c := &all[i].Container
		if n := newest[c.path]; n == nil || younger(c, n) {
			newest[c.path] = c
		}
	}
	samples := make([]Sample, 0, len(all))
	for _, m := range all {
		if m.Reading != nil {
			samples = append(samples, b.add(now, m, newest[m.Container.path].ID == m.Container.ID))
		}
	}
	b.forget(now)
	return samples
}

func younger(a, b *Container) bool {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c > 0
	}
	return a.ID > b.ID
}

func (b *Book) add(now time.Time, m Measured, newest bool) Sample {
	c, r := m.Container, m.Reading
	own, _ := b.total(now, c.series, c.Name.Task != "")
	slot, held := b.total(now, c.path, false)
	s := Sample{Container: c, At: now, Newest: newest, Memory: r.Memory, WorkingSet: r.WorkingSet, MemoryLimit: r.MemoryLimit, PIDs: r.PIDs}
	old, known := b.sources[c.ID]
	if !known {
		old = &source{}
		b.sources[c.ID] = old
	}
	fresh := old.advance(&c, r)
	if known && old.started == c.Started.UnixNano() && r.At.After(old.at) {
		s.CPUCores, s.HasCores = float64(fresh[CPU])/float64(r.At.Sub(old.at)), true
	}
	old.started, old.at = c.Started.UnixNano(), r.At
	own.grow(&fresh)
	if newest {
		if !known && held {
			fresh[Restarts]++ // another container has had the slot before
		}
		slot.grow(&fresh)
	}
	s.Own, s.Slot = own.counts, slot.counts
	return s
}

// advance gives what is new since the last reading.
func (o *source) advance(c *Container, r *Reading) Counts {
	anew := o.started != c.Started.UnixNano()
	if anew {
		o.raw, o.disks, o.links = Counts{}, o.disks[:0], o.links[:0]
	}
	var fresh Counts
	for i, v := range r.Counts {
		fresh[i] = since(o.raw[i], v)
	}
	o.raw = r.Counts
	parts(fresh[DiskRead:DiskWrites+1], o.disks, r.Disks)
	parts(fresh[Received:SendDropped+1], o.links, r.Links)
	o.disks, o.links = append(o.disks[:0], r.Disks...), append(o.links[:0], r.Links...)
	switch {
	case c.Restarts > o.restarts:
		fresh[Restarts] = c.Restarts - o.restarts
	case anew && o.started != 0: // by hand: the engine counts only its own restarts
		fresh[Restarts] = 1
	}
	o.restarts = c.Restarts
	return fresh
}

// since: a counter that is less than it was began anew.
func since(old, now uint64) uint64 {
	if now < old {
		return now
	}
	return now - old
}

// parts adds what is new of each disk or interface. One that is gone takes nothing back.
func parts(into []uint64, old, now []Part) {
	for _, n := range now {
		var was Part
		if i := slices.IndexFunc(old, func(o Part) bool { return o.Name == n.Name }); i >= 0 {
			was = old[i]
		}
		for k := range into {
			into[k] += since(was.Values[k], n.Values[k])
		}
	}
}

func (t *total) grow(fresh *Counts) {
	for i, v := range fresh {
		t.counts[i] += v
	}
}

func (b *Book) total(now time.Time, key string, brief bool) (t *total, held bool) {
	t, held = b.totals[key]
	if !held {
		t = &total{brief: brief}
		b.totals[key] = t
	}
	t.seen = now.UnixNano()
	return t, held
}

// forget drops what has ended long ago, and the oldest of it beyond the bound.
func (b *Book) forget(now time.Time) {
	for id, s := range b.sources {
		if now.Sub(s.at) > keepTask {
			delete(b.sources, id)
		}
	}
	var idle []int64
	for key, t := range b.totals {
		keep := keepSlot
		if t.brief {
			keep = keepTask
		}
		if age := now.UnixNano() - t.seen; age > int64(keep) {
			delete(b.totals, key)
		} else if age > 0 {
			idle = append(idle, t.seen)
		}
	}
	if len(idle) <= mostIdle {
		return
	}
	slices.Sort(idle)
	oldest := idle[len(idle)-mostIdle]
	for key, t := range b.totals {
		if t.seen < oldest {
			delete(b.totals, key)
		}
	}
}
