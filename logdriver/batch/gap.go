package batch

import (
	"fmt"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/entry"
)

// A Reason says why lines were dropped.
type Reason uint8

// The reasons.
const (
	Full    Reason = iota + 1 // the spool's bound
	Disk                      // the disk took no more
	Stopped                   // the container was stopped while its spool was full
	Expired                   // the container ended long ago, and Kafka never took them
	Refused                   // Kafka takes not even a small piece of it
	Torn                      // the spool's file is damaged
	// Reasons is one more than the last.
	Reasons
)

// String is the word in metrics and in markers.
func (r Reason) String() string {
	switch r {
	case Full:
		return "spool-full"
	case Disk:
		return "disk-full"
	case Stopped:
		return "stopped"
	case Expired:
		return "expired"
	case Refused:
		return "refused"
	case Torn:
		return "damaged"
	}
	return "unknown"
}

// A Gap is what was dropped in one place, per stream.
type Gap struct {
	Reason  Reason
	Streams [entry.Streams]Dropped
}

// Dropped counts lines by their ends. A line of which only the beginning is gone counts as carried.
type Dropped struct {
	Lines, Bytes uint64
	First        uint64 // the first line that lost something; 0: nothing was dropped
	Last         uint64 // the last line whose end was dropped; 0: only a beginning was
	From, To     int64  // their times, nanoseconds
}

// Add counts a fragment that is dropped.
func (g *Gap) Add(f Fragment) {
	d := &g.Streams[f.Stream]
	if d.First == 0 {
		d.First, d.From = f.Seq, f.Nanos
	}
	d.To = f.Nanos
	d.Bytes += uint64(len(f.Text))
	if !f.More {
		d.Last = f.Seq
		d.Lines++
	}
}

// Join adds a gap that comes behind this one.
func (g *Gap) Join(later Gap) {
	if g.Reason == 0 {
		g.Reason = later.Reason
	}
	for i, l := range later.Streams {
		d := &g.Streams[i]
		if l.First == 0 {
			continue
		}
		if d.First == 0 {
			d.First, d.From = l.First, l.From
		}
		d.Last, d.To = max(d.Last, l.Last), l.To
		d.Lines += l.Lines
		d.Bytes += l.Bytes
	}
}

// Total is the sum over the streams.
func (g Gap) Total() (lines, bytes uint64) {
	for _, d := range g.Streams {
		lines += d.Lines
		bytes += d.Bytes
	}
	return lines, bytes
}

// Empty says whether nothing was dropped.
func (g Gap) Empty() bool {
	for _, d := range g.Streams {
		if d.First != 0 {
			return false
		}
	}
	return true
}

// Text is the sentence that stands in the stream in place of what is missing.
func (d Dropped) Text(r Reason) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rolling/log: %d lines, %d bytes dropped (%s): numbers %d..%d, from %s to %s", d.Lines, d.Bytes, r, d.First, d.Last,
		time.Unix(0, d.From).UTC().Format(time.RFC3339Nano), time.Unix(0, d.To).UTC().Format(time.RFC3339Nano))
	return b.String()
}
