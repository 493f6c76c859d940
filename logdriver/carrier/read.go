package carrier

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/spool"
)

// A Question is what `docker logs` asks.
type Question struct {
	Since, Until time.Time // zero: no bound
	Tail         int       // lines from the end; below 0: all
	Follow       bool
}

// frameBytes: the engine takes no frame of 1 MB; a longer line is given in pieces.
const frameBytes = 256 << 10

// Read gives a container's lines from the spool, as frames. flush is called when there is nothing more for the moment.
// It ends at the end, or, if it follows, when the container has ended or the context does.
func (c *Carrier) Read(ctx context.Context, container string, q Question, emit func(frame []byte) error, flush func()) error {
	l, log, err := c.find(container)
	if err != nil || log == nil {
		return err
	}
	t := teller{q: q, emit: emit}
	pos := int64(0)
	if q.Tail >= 0 {
		if pos, t.skip, err = log.Tail(uint64(q.Tail)); err != nil {
			return err
		}
	}
	r := log.From(pos)
	defer func() { _ = r.Close() }() // only read
	var items []spool.Item
	for !t.over {
		changed := log.Changed()
		live := l.isLive()
		if items, err = r.Next(items[:0]); err != nil {
			return err
		}
		if len(items) > 0 {
			if err := t.tell(items); err != nil {
				return err
			}
			continue
		}
		flush()
		if !q.Follow || !live {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	flush()
	return nil
}

// find gives the log of a container, open or at rest; nil if there is none.
func (c *Carrier) find(container string) (*lane, *spool.Log, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	l := c.lanes[container]
	_, rests := c.resting[container]
	c.mu.Unlock()
	if l != nil {
		return l, l.log, nil
	}
	if !rests {
		return nil, nil, nil
	}
	log, err := c.store.Look(container)
	return nil, log, err
}

// isLive says whether more may come; nil: a log at rest.
func (l *lane) isLive() bool {
	if l == nil {
		return false
	}
	live, _ := l.live()
	return live
}

// A teller turns items into what `docker logs` shows.
type teller struct {
	q      Question
	skip   uint64
	joiner batch.Joiner
	emit   func(frame []byte) error
	frame  []byte
	over   bool
}

var errOver = errors.New("behind the last line that was asked for")

func (t *teller) tell(items []spool.Item) error {
	for _, it := range items {
		var err error
		switch {
		case it.Gap != nil:
			t.joiner.Forget(*it.Gap)
			for _, m := range it.Gap.Markers() {
				err = errors.Join(err, t.line(m))
			}
		default:
			if l, ok := t.joiner.Add(it.Fragment, it.From); ok {
				err = t.count(l)
			}
		}
		if errors.Is(err, errOver) {
			t.over = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *teller) count(l batch.Line) error {
	if t.skip > 0 {
		t.skip--
		return nil
	}
	return t.line(l)
}

// line emits a line with its newline again, which the engine took away. The continuation of a long line has none before it.
func (t *teller) line(l batch.Line) error {
	if !t.q.Since.IsZero() && l.Nanos < t.q.Since.UnixNano() {
		return nil
	}
	if !t.q.Until.IsZero() && l.Nanos > t.q.Until.UnixNano() {
		return errOver
	}
	text := l.Text
	if !l.Continued {
		text = append(bytes.Clone(text), '\n')
	}
	for len(text) > 0 {
		n := min(len(text), frameBytes)
		t.frame = entry.Append(t.frame[:0], entry.Entry{Stream: l.Stream, Nanos: l.Nanos, Line: text[:n]})
		if err := t.emit(t.frame); err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}
