package batch

import "github.com/rolling-swarm/rolling/logdriver/entry"

// A Line is ready to be sent.
type Line struct {
	Stream entry.Stream
	Seq    uint64
	Nanos  int64
	Text   []byte // may lie in the buffer that the fragments lie in
	// Continued: the line goes on with the next number. Cut: its beginning was dropped.
	Continued, Cut bool
	// First is set on a marker: it stands for the numbers First to Seq that were dropped.
	First uint64
}

// A Joiner makes lines of fragments, each stream for itself.
type Joiner struct {
	open [entry.Streams]pending
}

type pending struct {
	on, cut bool
	from    int64 // position of its first fragment
	text    []byte
}

// Add takes a fragment that lies at position from, and gives a line if this completes one.
func (j *Joiner) Add(f Fragment, from int64) (Line, bool) {
	p := &j.open[f.Stream]
	line := Line{Stream: f.Stream, Seq: f.Seq, Nanos: f.Nanos, Continued: f.Continued}
	if f.Start && !f.More {
		*p = pending{}
		line.Text = f.Text
		return line, true
	}
	if f.Start || !p.on {
		*p = pending{on: true, cut: !f.Start, from: from}
	}
	if f.Newline {
		p.text = append(p.text, '\n')
	}
	p.text = append(p.text, f.Text...)
	if f.More {
		return Line{}, false
	}
	line.Text, line.Cut = p.text, p.cut
	*p = pending{}
	return line, true
}

// Forget leaves out what has begun of the streams that the gap took something from.
func (j *Joiner) Forget(g Gap) {
	for i, d := range g.Streams {
		if d.First != 0 {
			j.open[i] = pending{}
		}
	}
}

// Oldest is where the oldest unfinished line begins, or otherwise behind.
func (j *Joiner) Oldest(otherwise int64) int64 {
	for _, p := range j.open {
		if p.on {
			otherwise = min(otherwise, p.from)
		}
	}
	return otherwise
}

// Markers are the lines that stand for a gap. Where only a line's beginning is gone, that line itself says so.
func (g Gap) Markers() []Line {
	var lines []Line
	for i, d := range g.Streams {
		if d.Lines > 0 {
			lines = append(lines, Line{Stream: entry.Stream(i), First: d.First, Seq: d.Last, Nanos: d.To, Text: []byte(d.Text(g.Reason))})
		}
	}
	return lines
}
