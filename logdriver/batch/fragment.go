// Package batch is the arithmetic of carrying lines: how the engine's pieces become numbered fragments (Cutter), how
// fragments become lines again (Joiner), which lines are known to be in Kafka (Window), and what was dropped (Gap).
// Its invariant: every line that was read is sent, or still in the spool, or counted in a gap.
// It knows positions in a spool, and no file, no Kafka and no clock.
package batch

import (
	"regexp"
	"unicode/utf8"

	"github.com/rolling-swarm/rolling/logdriver/entry"
)

// A Fragment is a piece of a line as the spool keeps it. A line is complete with its first fragment that has no More.
type Fragment struct {
	Stream entry.Stream
	Start  bool // the line's first fragment
	More   bool // the line goes on in the stream's next fragment
	// Newline: a newline stands before the text (of an event of several lines).
	Newline bool
	// Continued: the line was cut here because of its length; the stream's next number goes on with it.
	Continued bool
	Nanos     int64
	Seq       uint64 // of the line: counts per stream from 1
	Text      []byte
}

// Tail is what has to be known of a stream's past to go on with it.
type Tail struct {
	Seq   uint64 // the last number given
	Size  uint64 // of the line that is open
	Nanos int64  // of that line
	Open  bool
}

// After is the tail behind one more fragment.
func (t Tail) After(f Fragment) Tail {
	size := uint64(len(f.Text))
	if f.Newline {
		size++
	}
	if !f.Start {
		size += t.Size
	}
	if !f.More {
		size = 0
	}
	return Tail{Seq: f.Seq, Size: size, Nanos: f.Nanos, Open: f.More}
}

// mostLines bounds an event of several lines, as its bytes are by the longest line.
const mostLines = 1000

// A Cutter numbers lines, and cuts those that are too long.
type Cutter struct {
	Longest int            // bytes of a line, at least 1
	Begins  *regexp.Regexp // nil: each line is an event of its own
	streams [entry.Streams]stream
}

type stream struct {
	Tail
	within bool // a physical line has begun and not ended
	lines  int  // physical lines of the open event
}

// Resume goes on behind what the spool has.
func (c *Cutter) Resume(tails [entry.Streams]Tail) {
	for i, t := range tails {
		c.streams[i] = stream{Tail: t, within: t.Open && c.Begins == nil}
	}
}

// Take appends the fragments of an entry to out.
func (c *Cutter) Take(out []Fragment, e entry.Entry) []Fragment {
	s := &c.streams[e.Stream]
	if s.within && (!e.Partial || e.Ordinal == 1) {
		// its last piece never came: what the engine read before it lost track
		out = c.finish(out, e.Stream)
	}
	ends := !e.Partial || e.Last
	f := Fragment{Stream: e.Stream, Nanos: e.Nanos, Text: e.Line}
	if c.Begins != nil && s.Open && !s.within {
		if s.lines < mostLines && int(s.Size)+1+len(e.Line) <= c.Longest && !c.Begins.Match(e.Line) {
			f.Newline = true
			s.lines++
		} else {
			out = c.finish(out, e.Stream)
		}
	}
	s.within = !ends
	return c.put(out, f, !ends || c.Begins != nil)
}

// put cuts the text where the line gets too long. more: the last piece does not end the line.
func (c *Cutter) put(out []Fragment, f Fragment, more bool) []Fragment {
	s := &c.streams[f.Stream]
	for rest := f.Text; ; {
		f.Start, f.More, f.Continued = !s.Open, more, false
		if f.Start {
			s.Seq++
			s.Nanos = f.Nanos
			s.lines = 1
			f.Newline = false
		}
		f.Seq, f.Nanos, f.Text = s.Seq, s.Nanos, rest
		if room := c.Longest - int(s.Size); len(rest) > room {
			n := whole(rest, max(room, 0))
			f.Text, f.More, f.Continued = rest[:n], false, true
		}
		rest = rest[len(f.Text):]
		s.Tail = s.After(f)
		out = append(out, f)
		if !f.Continued {
			return out
		}
		f.Newline = false
	}
}

// whole moves a cut at n back to the beginning of a character.
func whole(text []byte, n int) int {
	for back := 0; back < utf8.UTFMax && back < n; back++ {
		if utf8.RuneStart(text[n-back]) {
			return n - back
		}
	}
	return n
}

// finish ends the open line of a stream.
func (c *Cutter) finish(out []Fragment, of entry.Stream) []Fragment {
	s := &c.streams[of]
	if !s.Open {
		return out
	}
	f := Fragment{Stream: of, Nanos: s.Nanos, Seq: s.Seq}
	*s = stream{Tail: s.After(f)}
	return append(out, f)
}

// Settle ends events of several lines whose last line is complete: nothing came for a while.
func (c *Cutter) Settle(out []Fragment) []Fragment {
	for i := range c.streams {
		if !c.streams[i].within {
			out = c.finish(out, entry.Stream(i))
		}
	}
	return out
}

// Unsettled says whether Settle would do something.
func (c *Cutter) Unsettled() bool {
	for _, s := range c.streams {
		if s.Open && !s.within {
			return true
		}
	}
	return false
}

// End ends every open line: nothing comes any more. A last line without a newline becomes complete here.
func (c *Cutter) End(out []Fragment) []Fragment {
	for i := range c.streams {
		out = c.finish(out, entry.Stream(i))
	}
	return out
}
