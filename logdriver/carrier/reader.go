package carrier

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/pipe"
)

// A reader brings what comes through one pipe into the spool.
type reader struct {
	carrier *Carrier
	lane    *lane
	pipe    *pipe.Pipe
	cutter  batch.Cutter

	rest      []byte // the beginning of a frame whose end has not come
	lent      []byte // the buffer that is read into
	fragments []batch.Fragment

	ending  atomic.Int32  // how, see below
	endings chan struct{} // closed when ending is set
	over    chan struct{} // closed when the reader is
}

// How a reader ends.
const (
	goOn int32 = iota
	// leaveFile: the container is over, and so is its last line.
	leaveFile
	// keepNote: the plugin ends; the container may live on, and the next process reads on.
	keepNote
)

const (
	readBytes = 256 << 10
	// settleAfter: an event of several lines is complete when nothing came for so long.
	settleAfter = time.Second
	// nobodyWrites: an engine that closed a pipe never opens it again.
	nobodyWrites = 10 * time.Second
	lookAgain    = 100 * time.Millisecond
)

func newReader(c *Carrier, l *lane, file string) (*reader, error) {
	r := &reader{carrier: c, lane: l, endings: make(chan struct{}), over: make(chan struct{})}
	r.cutter.Longest = l.route.MaxLine
	if l.route.Begins != "" {
		begins, err := regexp.Compile(l.route.Begins)
		if err != nil {
			return nil, fmt.Errorf("multiline-start: %w", err)
		}
		r.cutter.Begins = begins
	}
	r.cutter.Resume(l.log.Tails())
	p, err := pipe.Open(file)
	if err != nil {
		return nil, err
	}
	r.pipe = p
	return r, nil
}

// end asks the reader to drain its pipe and end.
func (r *reader) end(how int32) {
	if r.ending.CompareAndSwap(goOn, how) {
		close(r.endings)
		r.wakeUp()
	}
}

func (r *reader) wakeUp() {
	_ = r.pipe.Until(time.Unix(1, 0)) // closed: it has ended
}

// wait waits until the reader has ended, or longer than bound.
func (r *reader) wait(bound time.Duration) {
	t := time.NewTimer(bound)
	defer t.Stop()
	select {
	case <-r.over:
	case <-t.C:
		r.carrier.log.Warn("a pipe was not drained in time; the reading goes on", "container", r.lane.route.Container, "waiting", r.pipe.Waiting())
	}
}

func (r *reader) run() {
	defer close(r.over)
	defer r.carrier.ended(r)
	how := r.loop()
	if how == leaveFile {
		r.put(r.cutter.End(r.fragments[:0]))
	}
	if err := r.pipe.Close(); err != nil {
		r.carrier.log.Warn("a pipe did not close", "container", r.lane.route.Container, "cause", err)
	}
	if how == leaveFile {
		r.carrier.forget(r.pipe.Path)
	}
}

// loop reads until it is told to end, or nobody can write any more.
func (r *reader) loop() (how int32) {
	var dark time.Time // since when nobody writes
	for {
		b, err := r.receive(r.pipe.Read)
		switch {
		case err == nil:
			dark = time.Time{}
			r.consume(b)
		case r.ending.Load() != goOn:
			r.drain()
			return r.ending.Load()
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.put(r.cutter.Settle(r.fragments[:0]))
		case errors.Is(err, io.EOF):
			if dark.IsZero() {
				dark = time.Now()
			}
			if time.Since(dark) > nobodyWrites {
				if err := r.carrier.removePipe(r.pipe.Path); err != nil {
					r.carrier.log.Warn("an orphaned pipe stays", "cause", err)
				}
				return leaveFile
			}
			r.pause()
			continue
		default:
			r.carrier.log.Error("a pipe cannot be read", "container", r.lane.route.Container, "cause", err)
			return leaveFile
		}
		r.arm()
	}
}

func (r *reader) pause() {
	t := time.NewTimer(lookAgain)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.endings:
	}
}

// arm bounds the next read where an event of several lines is open.
func (r *reader) arm() {
	if r.cutter.Begins == nil {
		return
	}
	until := time.Time{}
	if r.cutter.Unsettled() {
		until = time.Now().Add(settleAfter)
	}
	_ = r.pipe.Until(until) // closed: the next read says so
	if r.ending.Load() != goOn {
		r.wakeUp()
	}
}

// drain reads until the pipe is empty: no end of file comes before the engine has our answer.
func (r *reader) drain() {
	deadline := time.Now().Add(stopWithin)
	for time.Now().Before(deadline) {
		b, err := r.receive(r.pipe.Now)
		if err != nil {
			return
		}
		r.consume(b)
	}
}

// receive reads behind the rest of the last read. The buffer is lent from the pool and goes back in consume.
func (r *reader) receive(read func(pipe.Lender) ([]byte, error)) ([]byte, error) {
	got, err := read(r)
	if err != nil {
		return nil, err
	}
	whole := r.lent[:len(r.rest)+len(got)]
	r.lent = nil
	return whole, nil
}

// Lend gives the pipe a buffer behind the rest.
func (r *reader) Lend() []byte {
	buffer, _ := r.carrier.buffers.Get().([]byte)
	if want := len(r.rest) + readBytes; cap(buffer) < want {
		buffer = make([]byte, want)
	}
	r.lent = buffer[:cap(buffer)]
	return r.lent[copy(r.lent, r.rest):]
}

// Back takes the buffer that was lent: there was nothing to read.
func (r *reader) Back([]byte) {
	r.carrier.buffers.Put(r.lent) //nolint:staticcheck // one small allocation a read
	r.lent = nil
}

// consume decodes all frames that came whole and brings them into the spool before anything else is read.
func (r *reader) consume(b []byte) {
	whole := b
	fragments := r.fragments[:0]
	for {
		e, n, err := entry.Next(b)
		if errors.Is(err, entry.ErrShort) {
			break
		}
		if err != nil {
			n = entry.Resync(b)
			r.carrier.Stats.Strayed.Add(1)
			r.carrier.log.Error("what came through a pipe is no log frame: it was left out", "container", r.lane.route.Container, "bytes", n)
		} else {
			fragments = r.cutter.Take(fragments, e)
		}
		b = b[n:]
	}
	r.put(fragments)
	r.rest = append(r.rest[:0], b...)
	r.carrier.buffers.Put(whole[:0]) //nolint:staticcheck // one small allocation a read
}

// put brings fragments into the spool. Only the policy `block` makes it wait, and no longer than the container lives.
func (r *reader) put(fragments []batch.Fragment) {
	var lines, bytes uint64
	for i := range fragments {
		bytes += uint64(len(fragments[i].Text))
		if !fragments[i].More {
			lines++
		}
	}
	left := fragments
	for len(left) > 0 {
		changed := r.lane.log.Changed()
		took, err := r.lane.log.Append(left, r.ending.Load() != goOn)
		if err != nil {
			r.carrier.complain(r.lane.route.Container, err)
		}
		if left = left[took:]; len(left) > 0 {
			select {
			case <-changed:
			case <-r.endings:
			}
		}
	}
	r.carrier.Stats.Lines.Add(lines)
	r.carrier.Stats.Bytes.Add(bytes)
	if cap(fragments) > 4096 {
		fragments = nil
	}
	r.fragments = fragments[:0]
}
