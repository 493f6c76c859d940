package spool

import (
	"errors"
	"io/fs"
	"os"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// Append takes fragments and says how many it took: fewer only where the policy is to block and the spool is full.
// stopping: there is no time to wait, what does not fit is dropped. An error says why lines were dropped beside the bound.
func (l *Log) Append(fragments []batch.Fragment, stopping bool) (took int, err error) {
	l.pen.Lock()
	defer l.pen.Unlock()
	for took < len(fragments) {
		n, size := l.chunk(fragments[took:])
		chunk := fragments[took : took+n]
		switch reason := l.room(size); {
		case reason == 0:
			if e := l.write(chunk); e != nil {
				err = e
				l.dropNew(chunk, batch.Disk)
			}
		case l.bounds.OnFull == route.Block && !stopping:
			return took, errors.Join(err, l.keepGap())
		case l.bounds.OnFull == route.Block:
			l.dropNew(chunk, batch.Stopped)
		default:
			l.dropNew(chunk, reason)
		}
		took += n
	}
	return took, errors.Join(err, l.keepGap())
}

// chunk is how many fragments go into one write: what the segment has room for, at least one.
func (l *Log) chunk(fragments []batch.Fragment) (n int, size int64) {
	room := l.bounds.segmentMax() - l.at
	if room < int64(recordSize(fragments[0])) {
		room = l.bounds.segmentMax() - int64(segmentHead)
	}
	for ; n < len(fragments); n++ {
		s := int64(recordSize(fragments[n]))
		if n > 0 && size+s > room {
			break
		}
		size += s
	}
	return n, size
}

// write appends the records, in a new segment if the last one is full.
func (l *Log) write(fragments []batch.Fragment) error {
	if err := l.showGap(); err != nil {
		return err
	}
	size := int64(0)
	for _, f := range fragments {
		size += int64(recordSize(f))
	}
	if l.at > int64(segmentHead) && l.at+size > l.bounds.segmentMax() {
		if err := l.roll(); err != nil {
			return err
		}
	}
	out, _ := l.store.buffers.Get().([]byte)
	out = out[:0]
	ended := uint64(0)
	tails := l.tails
	for _, f := range fragments {
		out = appendFragment(out, l.table, f)
		tails[f.Stream] = tails[f.Stream].After(f)
		if !f.More {
			ended++
		}
	}
	err := l.put(out)
	n := int64(len(out))
	l.store.buffers.Put(out) //nolint:staticcheck // one small allocation a write
	if err != nil {
		return err
	}
	l.tails = tails
	l.count += lineCount(ended)
	l.grown(n, ended)
	return nil
}

// put writes at the end; a write that did not come whole is undone.
func (l *Log) put(b []byte) error {
	if n, err := l.file.WriteAt(b, l.at); err != nil {
		if n > 0 {
			err = errors.Join(err, l.file.Truncate(l.at))
		}
		return err
	}
	return nil
}

// grown tells what was written.
func (l *Log) grown(n int64, ended uint64) {
	l.at += n
	l.store.total.Add(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	last := &l.segments[len(l.segments)-1]
	last.size += n
	l.dirty = true
	l.unsent += ended
	l.visible = last.end()
	l.wake()
}

func (l *Log) roll() error {
	l.mu.Lock()
	base := l.segments[len(l.segments)-1].end()
	l.mu.Unlock()
	if err := l.begin(base); err != nil {
		return err
	}
	l.store.total.Add(int64(segmentHead))
	return nil
}

// dropNew counts fragments that are not kept; keepGap puts the count into the file.
func (l *Log) dropNew(fragments []batch.Fragment, reason batch.Reason) {
	if l.gap == nil {
		l.gap = &batch.Gap{Reason: reason}
		l.hide(true)
	}
	lines, bytes := uint64(0), uint64(0)
	for _, f := range fragments {
		l.gap.Add(f)
		l.tails[f.Stream] = l.tails[f.Stream].After(f)
		bytes += uint64(len(f.Text))
		if !f.More {
			lines++
		}
	}
	l.store.Dropped.add(reason, lines, bytes)
}

// keepGap writes the gap at the end of the file, over its earlier count: a kill loses no count. Readers see it once
// something follows (showGap).
func (l *Log) keepGap() error {
	if l.gap == nil {
		return nil
	}
	return l.put(appendGap(nil, l.table, *l.gap, l.tails))
}

// showGap closes the gap: it has its place, and readers see it.
func (l *Log) showGap() error {
	if l.gap == nil {
		return nil
	}
	b := appendGap(nil, l.table, *l.gap, l.tails)
	if err := l.put(b); err != nil {
		return err
	}
	l.gap = nil
	l.hide(false)
	l.grown(int64(len(b)), 0)
	return nil
}

// hide notes whether there is a gap that readers do not see yet.
func (l *Log) hide(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hidden = is
}

// room makes room for n bytes, by what Kafka has already and then by the oldest that it has not, or says why there is none.
func (l *Log) room(n int64) batch.Reason {
	for {
		l.mu.Lock()
		if l.held()+n <= l.bounds.Most && l.store.total.Load()+n <= l.store.limits.Whole {
			l.mu.Unlock()
			return 0
		}
		old, ok := l.popSent()
		l.mu.Unlock()
		if ok {
			if err := l.unlink(old); err != nil {
				return batch.Disk
			}
			continue
		}
		if l.bounds.OnFull != route.DropOldest {
			return batch.Full
		}
		if more, err := l.DropOldest(batch.Full); err != nil || !more {
			return batch.Full
		}
	}
}

// popSent takes the oldest segment out that Kafka has; mu is held.
func (l *Log) popSent() (segment, bool) {
	if len(l.segments) < 2 {
		return segment{}, false
	}
	s := l.segments[0]
	if s.end() > l.cursor.Pos || s.dropping {
		return segment{}, false
	}
	l.segments = l.segments[1:]
	return s, true
}

func (l *Log) unlink(s segment) error {
	l.store.total.Add(-s.disk())
	if err := os.Remove(s.path(l.folder)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Trim removes what Kafka has but for the last keep bytes.
func (l *Log) Trim(keep int64) error {
	for {
		l.mu.Lock()
		sent := int64(0)
		for _, s := range l.segments {
			if s.end() <= l.cursor.Pos {
				sent += s.disk()
			}
		}
		if len(l.segments) == 0 || sent-l.segments[0].disk() < keep {
			l.mu.Unlock()
			return nil
		}
		old, ok := l.popSent()
		l.mu.Unlock()
		if !ok {
			return nil
		}
		if err := l.unlink(old); err != nil {
			return err
		}
	}
}

// Settle shows a gap once there is room again, although no line follows.
func (l *Log) Settle() error {
	l.pen.Lock()
	defer l.pen.Unlock()
	if l.gap == nil {
		return nil
	}
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil
		}
		if l.held()+2*int64(recordHead+gapBody) <= l.bounds.Most {
			l.mu.Unlock()
			return l.showGap()
		}
		old, ok := l.popSent()
		l.mu.Unlock()
		if !ok {
			return nil
		}
		if err := l.unlink(old); err != nil {
			return err
		}
	}
}

// DropOldest makes a gap of the oldest segment that Kafka lacks and no sender has read, and says whether there was one.
func (l *Log) DropOldest(reason batch.Reason) (bool, error) {
	l.mu.Lock()
	at := l.victim()
	if at < 0 {
		l.mu.Unlock()
		return false, nil
	}
	s, from := l.segments[at], at
	if at > 0 && l.segments[at-1].gap != nil && !l.segments[at-1].dropping && l.segments[at-1].base > l.pinned {
		from = at - 1 // it becomes one with the gap before it
	}
	before := l.segments[from]
	for i := from; i <= at; i++ {
		l.segments[i].dropping = true
	}
	cursor := l.cursor
	l.mu.Unlock()

	gap, lines, bytes, err := l.lost(s, cursor, reason)
	place := segment{base: before.base, size: s.end() - before.base, lines: before.lines, gap: &gap}
	if err == nil && before.gap != nil {
		joined := *before.gap
		joined.Join(gap)
		place.gap = &joined
	}
	if err == nil {
		err = writeGapFile(l.folder, place, l.table)
	}
	l.replace(before.base, s.base, place, err == nil, lines)
	if err != nil {
		return false, err
	}
	l.store.Dropped.add(reason, lines, bytes)
	l.store.total.Add(place.disk() - s.disk())
	if before.gap != nil {
		l.store.total.Add(-before.disk())
	}
	return true, os.Remove(s.path(l.folder))
}

// victim is the index of the segment to drop, or -1; mu is held.
func (l *Log) victim() int {
	for i, s := range l.segments[:len(l.segments)-1] {
		if s.gap == nil && !s.dropping && s.end() > l.cursor.Pos && s.base > l.pinned {
			return i
		}
	}
	return -1
}

// lost reads what a segment holds that Kafka lacks.
func (l *Log) lost(s segment, cursor batch.Cursor, reason batch.Reason) (g batch.Gap, lines, bytes uint64, err error) {
	g.Reason = reason
	_, _, err = scan(s.path(l.folder), l.table, s.base, func(it item, at int64) {
		f := it.fragment
		switch {
		case at < cursor.Pos:
		case it.gap != nil:
			g.Join(*it.gap)
		case f.Seq > cursor.Seq[f.Stream]:
			g.Add(f)
			bytes += uint64(len(f.Text))
			if !f.More {
				lines++
			}
		}
	})
	return g, lines, bytes, err
}

// replace puts a gap where the segments from..to were, or leaves them as they are.
func (l *Log) replace(from, to int64, place segment, done bool, lines uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []segment
	for _, s := range l.segments {
		if s.base < from || s.base > to {
			kept = append(kept, s)
			continue
		}
		if !done {
			s.dropping = false
			kept = append(kept, s)
		} else if s.base == to {
			kept = append(kept, place)
		}
	}
	l.segments = kept
	if done {
		l.unsent -= min(lines, l.unsent)
	}
	l.wake()
}
