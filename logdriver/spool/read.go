package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sort"

	"github.com/rolling-swarm/rolling/logdriver/batch"
)

// An Item is a fragment or a gap, with its place in the log.
type Item struct {
	Fragment batch.Fragment // if Gap is nil
	Gap      *batch.Gap
	From, To int64
}

// After is where the cursor may be once the gap's marker of that index arrived: behind the gap only with the last one.
func (i Item) After(marker int) int64 {
	if marker < len(i.Gap.Markers())-1 {
		return i.From
	}
	return i.To
}

// A Reader reads a log forwards. It is for one goroutine.
type Reader struct {
	log    *Log
	sender bool
	pos    int64
	file   *os.File
	base   int64
}

// blockBytes is how much is read at once. Fragments keep their block alive until Kafka has them.
const blockBytes = 256 << 10

// Send reads from the cursor on, for the one who sends. What a sender has read stays until Kafka has it, although the
// sender may begin again at the cursor: some of it has arrived, and nobody else knows what.
func (l *Log) Send() *Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	pos := l.cursor.Pos
	if i := l.find(pos); i < len(l.segments) {
		l.pinned = max(l.pinned, l.segments[i].base)
	}
	return &Reader{log: l, sender: true, pos: pos, base: nobody}
}

// From reads from a position on, or from the oldest line that is there.
func (l *Log) From(pos int64) *Reader { return &Reader{log: l, pos: pos, base: nobody} }

// Pos is where the reader is.
func (r *Reader) Pos() int64 { return r.pos }

// Close ends the reading.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// find is the index of the segment that holds the position; mu is held.
func (l *Log) find(pos int64) int {
	return sort.Search(len(l.segments), func(i int) bool { return l.segments[i].end() > pos })
}

// Next gives what follows, up to a block; nothing if there is nothing yet: wait for Changed, taken before Next was called.
func (r *Reader) Next(items []Item) ([]Item, error) {
	for {
		s, until, ok := r.enter()
		switch {
		case !ok:
			return items, nil
		case s.gap != nil:
			from := r.pos
			r.pos = s.end()
			return append(items, Item{Gap: s.gap, From: from, To: r.pos}), nil
		case r.pos >= until:
			if last := r.leave(s); last {
				return items, nil
			}
			continue
		}
		got, err := r.block(items, s, until)
		if errors.Is(err, fs.ErrNotExist) { // trimmed or dropped meanwhile
			r.gone(s, until)
			continue
		}
		if errors.Is(err, errTorn) {
			r.pos = until
			r.log.store.torn(r.log, s)
			continue
		}
		return got, err
	}
}

// enter finds the reader's segment. ok is false while there is nothing to be read.
func (r *Reader) enter() (s segment, until int64, ok bool) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(r.pos)
	if i == len(l.segments) {
		return s, 0, false
	}
	s = l.segments[i]
	if s.dropping {
		return s, 0, false
	}
	if r.sender {
		l.pinned = max(l.pinned, s.base)
	}
	r.pos = max(r.pos, s.base)
	if s.gap == nil {
		r.pos = max(r.pos, s.base+int64(segmentHead))
	}
	return s, min(s.end(), l.visible), true
}

// leave goes to the next segment, and says whether there is none yet.
func (r *Reader) leave(s segment) (last bool) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.base == l.segments[len(l.segments)-1].base {
		return true
	}
	r.pos = max(r.pos, s.end())
	if i := l.find(s.base); i < len(l.segments) && l.segments[i].base == s.base {
		r.pos = max(r.pos, l.segments[i].end()) // it may have grown before it was left behind
	}
	return false
}

// gone passes a segment whose file is not there any more, although the list has it still: a log that is only looked at.
func (r *Reader) gone(s segment, until int64) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := l.find(s.base); l.looked && i < len(l.segments) && l.segments[i].base == s.base {
		r.pos = until
	}
}

func (r *Reader) block(items []Item, s segment, until int64) ([]Item, error) {
	if r.file == nil || r.base != s.base {
		f, err := os.Open(s.path(r.log.folder))
		if err != nil {
			return items, err
		}
		if r.file != nil {
			_ = r.file.Close() // only read
		}
		r.file, r.base = f, s.base
	}
	size := min(until-r.pos, blockBytes)
	for {
		b := make([]byte, size)
		if _, err := r.file.ReadAt(b, r.pos-s.base); err != nil && !errors.Is(err, io.EOF) {
			return items, err
		}
		got := len(items)
		items, size = r.parse(items, b)
		if len(items) > got {
			return items, nil
		}
		if size <= int64(len(b)) || r.pos+size > until {
			return items, errTorn
		}
	}
}

// parse takes whole records; if there is not even one, it says how many bytes that one needs.
func (r *Reader) parse(items []Item, b []byte) ([]Item, int64) {
	for {
		it, n, err := next(b, r.log.table)
		if err != nil {
			if errors.Is(err, errShort) {
				return items, int64(n)
			}
			return items, 0
		}
		items = append(items, Item{Fragment: it.fragment, Gap: it.gap, From: r.pos, To: r.pos + int64(n)})
		r.pos += int64(n)
		b = b[n:]
	}
}

// Tail finds where the last n lines begin: a position, and how many lines behind it to leave out.
func (l *Log) Tail(n uint64) (pos int64, skip uint64, err error) {
	l.mu.Lock()
	segments := append([]segment{}, l.segments...)
	visible := l.visible
	l.mu.Unlock()
	pos = visible
	for found := uint64(0); len(segments) > 0 && found < n; {
		s := segments[len(segments)-1]
		segments = segments[:len(segments)-1]
		if s.gap != nil {
			continue
		}
		here := uint64(0)
		_, _, err := scan(s.path(l.folder), l.table, s.base, func(it item, at int64) {
			if it.gap == nil && !it.fragment.More && at < visible {
				here++
			}
		})
		if errors.Is(err, fs.ErrNotExist) {
			break // trimmed meanwhile
		}
		if err != nil {
			return 0, 0, err
		}
		pos = s.base
		if found += here; found > n {
			skip = found - n
		}
	}
	return pos, skip, nil
}
