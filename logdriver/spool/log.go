// Package spool keeps lines on the host's disk until Kafka has them, and a recent part of them for `docker logs`.
// A container's log is a row of append-only segment files. What was appended is in a file by write(2) before Append
// returns, so that it outlives the process; Sync, called each second, is what outlives a loss of power.
// It knows files and bounds. It refuses to know Kafka, the engine, and why somebody reads.
package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// Bounds are a container's share of the disk.
type Bounds struct {
	Most   int64
	OnFull route.OnFull
}

const (
	largestSegment = 4 << 20
	leastSegment   = 64 << 10
	nobody         = -1
)

// segmentMax: at least eight segments, so that dropping one costs an eighth.
func (b Bounds) segmentMax() int64 { return max(leastSegment, min(largestSegment, b.Most/8)) }

// A Log holds the lines of one container.
type Log struct {
	ID     string
	folder string
	store  *Store
	table  *crc32.Table
	bounds Bounds

	// pen is held by who appends, over its write(2) too: the page cache, not the disk, is waited for.
	pen   sync.Mutex
	file  *os.File                  // the last segment's; guarded by pen
	at    int64                     // where in it the next record goes; guarded by pen
	tails [entry.Streams]batch.Tail // guarded by pen
	gap   *batch.Gap                // what was dropped at the end, and may still grow; guarded by pen
	count lineCount                 // guarded by pen

	// mu is never held over I/O.
	mu       sync.Mutex
	segments []segment     // the last one grows; guarded by mu
	visible  int64         // readers see what lies before; guarded by mu
	cursor   batch.Cursor  // guarded by mu
	pinned   int64         // base of the furthest segment that a sender has read, or nobody; guarded by mu
	unsent   uint64        // lines behind the cursor; guarded by mu
	changed  chan struct{} // closed when something does, if somebody waits; guarded by mu
	waited   bool          // guarded by mu
	unsynced []*os.File    // complete segments that are not on disk; guarded by mu
	hidden   bool          // a gap at the end is not shown yet; guarded by mu
	dirty    bool          // the last segment has what is not on disk; guarded by mu
	growing  *os.File      // the last segment's, for Sync; guarded by mu
	closed   bool          // guarded by mu
	looked   bool          // it is only looked at: nothing is written, and nobody tells it of changes

	// ack is held by who writes the cursor's file.
	ack        sync.Mutex
	cursorFile *os.File // guarded by ack
}

// lineCount counts lines that ended in the log since it began.
type lineCount uint64

// open reads what is there, or begins anew.
func (s *Store) open(id string, b Bounds) (*Log, error) {
	l := &Log{ID: id, folder: filepath.Join(s.root, id), store: s, table: castagnoli(), bounds: b, pinned: nobody, changed: make(chan struct{})}
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return nil, fmt.Errorf("spool of %s: %w", id, err)
	}
	err := l.load()
	if err != nil {
		return nil, fmt.Errorf("spool of %s: %w", id, err)
	}
	s.opened(id, l.held())
	return l, nil
}

// Look opens a log that nobody has open, for readers only. It needs no Close.
func (s *Store) Look(id string) (*Log, error) {
	l := &Log{ID: id, folder: filepath.Join(s.root, id), store: s, table: castagnoli(), pinned: nobody, changed: make(chan struct{}), looked: true}
	var err error
	if l.segments, err = list(l.folder, l.table); err != nil {
		return nil, fmt.Errorf("spool of %s: %w", id, err)
	}
	if n := len(l.segments); n > 0 {
		if last := &l.segments[n-1]; last.gap == nil {
			if last.size, _, err = scan(last.path(l.folder), l.table, last.base, func(item, int64) {}); err != nil {
				return nil, fmt.Errorf("spool of %s: %w", id, err)
			}
		}
		l.visible = l.segments[n-1].end()
	}
	return l, nil
}

func (l *Log) load() (err error) {
	if l.cursorFile, l.cursor, err = openCursor(filepath.Join(l.folder, cursorName)); err != nil {
		return err
	}
	if l.segments, err = list(l.folder, l.table); err != nil {
		return err
	}
	if n := len(l.segments); n == 0 || l.segments[n-1].gap != nil {
		for i, seq := range l.cursor.Seq {
			l.tails[i].Seq = seq // what follows must not bear a number that Kafka has
		}
		base := l.cursor.Pos
		if n > 0 {
			base = max(base, l.segments[n-1].end())
			l.count = lineCount(l.segments[n-1].lines)
		}
		if err := l.begin(base); err != nil {
			return err
		}
	} else if err := l.resume(&l.segments[n-1]); err != nil {
		return err
	}
	l.cursor.Pos = min(l.cursor.Pos, l.visible)
	l.unsent, err = l.countUnsent()
	return err
}

// resume goes on in the last segment, behind its last good record.
func (l *Log) resume(last *segment) error {
	ended := last.lines
	good, tails, err := scan(last.path(l.folder), l.table, last.base, func(it item, _ int64) {
		if it.gap == nil && !it.fragment.More {
			ended++
		}
	})
	if err != nil {
		return err
	}
	if l.file, err = os.OpenFile(last.path(l.folder), os.O_RDWR, 0); err != nil {
		return err
	}
	if good < last.size {
		if err := l.file.Truncate(good); err != nil {
			return err
		}
		last.size = good
	}
	l.growing, l.at, l.tails, l.count, l.visible = l.file, good, tails, lineCount(ended), last.end()
	for i, seq := range l.cursor.Seq {
		if seq > l.tails[i].Seq { // power was lost before the disk had what Kafka got
			l.tails[i] = batch.Tail{Seq: seq}
		}
	}
	return nil
}

// countUnsent counts the lines behind the cursor by the segments' heads; only segments that hold some line that Kafka
// has are read.
func (l *Log) countUnsent() (n uint64, err error) {
	for i, s := range l.segments {
		if s.end() <= l.cursor.Pos || s.gap != nil {
			continue
		}
		if s.base >= l.cursor.Pos && s.behind(l.cursor) {
			until := uint64(l.count)
			if i+1 < len(l.segments) {
				until = l.segments[i+1].lines
			}
			n += until - s.lines
			continue
		}
		_, _, err = scan(s.path(l.folder), l.table, s.base, func(it item, at int64) {
			if f := it.fragment; it.gap == nil && !f.More && at >= l.cursor.Pos && f.Seq > l.cursor.Seq[f.Stream] {
				n++
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// begin makes a new last segment; the pen is held, or nobody else knows the log yet.
func (l *Log) begin(base int64) error {
	path := segmentPath(l.folder, base, false)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(appendHead(nil, l.table, base, uint64(l.count), l.tails), 0); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.growing != nil {
		l.unsynced = append(l.unsynced, l.growing)
	}
	l.file, l.growing, l.at, l.dirty = f, f, int64(segmentHead), true
	l.segments = append(l.segments, segment{base: base, size: int64(segmentHead), lines: uint64(l.count), seq: [entry.Streams]uint64{l.tails[0].Seq, l.tails[1].Seq}})
	l.visible = base + int64(segmentHead)
	l.wake()
	return nil
}

// held is what the log takes on disk; mu is held, or nobody else knows the log yet.
func (l *Log) held() (n int64) {
	for _, s := range l.segments {
		n += s.disk()
	}
	return n
}

// wake tells who waits; mu is held.
func (l *Log) wake() {
	if l.waited {
		close(l.changed)
		l.changed, l.waited = make(chan struct{}), false
	}
}

// Tails are what a Cutter resumes from.
func (l *Log) Tails() [entry.Streams]batch.Tail {
	l.pen.Lock()
	defer l.pen.Unlock()
	return l.tails
}

// Changed is closed at the next change: an append, an acknowledgement, a close.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waited = true
	return l.changed
}

// Nudge wakes who waits for a change that is not in the log.
func (l *Log) Nudge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wake()
}

// End is the position behind all that readers see.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.visible
}

// Cursor is what is known to be in Kafka.
func (l *Log) Cursor() batch.Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cursor
}

// A Size is how much a log holds.
type Size struct {
	Disk   int64  `json:"diskBytes"`
	Behind int64  `json:"unsentBytes"` // behind the cursor
	Unsent uint64 `json:"unsentLines"`
}

// Size is how much the log holds.
func (l *Log) Size() Size {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Size{Disk: l.held(), Unsent: l.unsent}
	for _, g := range l.segments {
		if g.gap == nil && g.end() > l.cursor.Pos {
			s.Behind += g.end() - max(g.base+int64(segmentHead), l.cursor.Pos)
		}
	}
	return s
}

// Drained says whether Kafka has everything, gaps too.
func (l *Log) Drained() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.hidden && !slices.ContainsFunc(l.segments, func(s segment) bool {
		return s.end() > l.cursor.Pos && (s.gap != nil || s.size > int64(segmentHead))
	})
}

// Acknowledge moves the cursor: those lines are in Kafka. The file has it at once, so that little is sent twice after a kill.
func (l *Log) Acknowledge(c batch.Cursor, lines uint64) error {
	l.ack.Lock()
	defer l.ack.Unlock()
	l.mu.Lock()
	l.cursor = c
	l.unsent -= min(lines, l.unsent)
	l.wake()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil
	}
	return writeCursor(l.cursorFile, c)
}

// Sync brings to the disk what was appended. It waits for the disk and holds up nobody.
func (l *Log) Sync() error {
	l.mu.Lock()
	done, growing, dirty := l.unsynced, l.growing, l.dirty && !l.closed
	l.unsynced, l.dirty = nil, false
	l.mu.Unlock()
	var errs []error
	for _, f := range done {
		errs = append(errs, f.Sync(), f.Close())
	}
	if dirty {
		if err := growing.Sync(); !errors.Is(err, os.ErrClosed) { // else it was closed meanwhile, synced
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close syncs and closes. Readers go on with what is there.
func (l *Log) Close() error {
	l.pen.Lock()
	defer l.pen.Unlock()
	err := l.showGap()
	l.mu.Lock()
	already := l.closed
	l.closed, l.dirty = true, false
	l.unsynced = append(l.unsynced, l.growing)
	l.wake()
	l.mu.Unlock()
	if already {
		return nil
	}
	l.store.shut(l.ID, l.held())
	l.ack.Lock()
	defer l.ack.Unlock()
	return errors.Join(err, l.Sync(), l.cursorFile.Close())
}

// Blank says whether the log never held anything.
func (l *Log) Blank() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.segments) == 1 && l.segments[0].base == 0 && l.segments[0].size == int64(segmentHead)
}
