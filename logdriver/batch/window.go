package batch

import "github.com/rolling-swarm/rolling/logdriver/entry"

// A Cursor says what is known to be in Kafka: everything before Pos, and of each stream the numbers up to Seq.
type Cursor struct {
	Pos int64
	Seq [entry.Streams]uint64
}

// A Window knows the lines that are on their way, and moves the cursor over those that arrived.
type Window struct {
	cursor Cursor
	flying []flight // in order of sending; the first one is number base
	base   uint64
	open   int // not known yet
	beyond [entry.Streams]map[uint64]bool
	failed bool
	lines  uint64 // passed by the cursor since Passed was last asked
	bytes  uint64
}

type flight struct {
	stream entry.Stream
	marker bool
	seq    uint64
	after  int64 // where the cursor may be once this and all before it arrived
	size   int
	state  state
}

type state uint8

const (
	onItsWay state = iota
	arrived
	lost
)

// NewWindow begins at a cursor.
func NewWindow(c Cursor) *Window { return &Window{cursor: c} }

// Sent notes a line that goes out, and gives its ticket for Done. after is Joiner.Oldest of the position behind it.
func (w *Window) Sent(l Line, after int64) (ticket uint64) {
	w.flying = append(w.flying, flight{stream: l.Stream, marker: l.First != 0, seq: l.Seq, after: after, size: len(l.Text)})
	w.open++
	return w.base + uint64(len(w.flying)) - 1
}

// Arrived says whether Kafka has the line already, from before a failure or a restart.
func (w *Window) Arrived(l Line) bool {
	return l.Seq <= w.cursor.Seq[l.Stream] || w.beyond[l.Stream][l.Seq]
}

// Skipped moves the cursor to pos, which nothing unsent lies before; only while nothing is on its way.
func (w *Window) Skipped(pos int64) {
	if len(w.flying) == 0 {
		w.cursor.Pos = max(w.cursor.Pos, pos)
	}
}

// Done notes what became of a line, and says whether the cursor moved.
func (w *Window) Done(ticket uint64, ok bool) bool {
	f := &w.flying[ticket-w.base]
	w.open--
	if !ok {
		f.state, w.failed = lost, true
		return false
	}
	f.state = arrived
	moved := false
	for len(w.flying) > 0 && w.flying[0].state == arrived {
		w.pass(w.flying[0])
		w.flying = w.flying[1:]
		w.base++
		moved = true
	}
	return moved
}

func (w *Window) pass(f flight) {
	w.cursor.Pos = max(w.cursor.Pos, f.after)
	w.cursor.Seq[f.stream] = max(w.cursor.Seq[f.stream], f.seq)
	for seq := range w.beyond[f.stream] {
		if seq <= f.seq {
			delete(w.beyond[f.stream], seq)
		}
	}
	if !f.marker {
		w.lines++
		w.bytes += uint64(f.size)
	}
}

// Refused moves the cursor over a line that Kafka takes in no form; nothing may be on its way.
func (w *Window) Refused(l Line, after int64) {
	w.pass(flight{stream: l.Stream, marker: true, seq: l.Seq, after: after})
}

// Cursor is what is known to be in Kafka.
func (w *Window) Cursor() Cursor { return w.cursor }

// Passed is how many lines and bytes the cursor passed since this was last asked.
func (w *Window) Passed() (lines, bytes uint64) {
	lines, bytes = w.lines, w.bytes
	w.lines, w.bytes = 0, 0
	return lines, bytes
}

// Open is how many lines are on their way.
func (w *Window) Open() int { return w.open }

// Failed says whether one of them came back: wait until nothing is on its way, Rewind, and send from the cursor again.
func (w *Window) Failed() bool { return w.failed }

// Rewind forgets the flights, and remembers those lines beyond the cursor that arrived: they are not sent again.
func (w *Window) Rewind() {
	for _, f := range w.flying {
		if f.state != arrived {
			continue
		}
		if w.beyond[f.stream] == nil {
			w.beyond[f.stream] = map[uint64]bool{}
		}
		w.beyond[f.stream][f.seq] = true
		if !f.marker {
			w.lines++
			w.bytes += uint64(f.size)
		}
	}
	w.base += uint64(len(w.flying))
	w.flying, w.open, w.failed = nil, 0, false
}
