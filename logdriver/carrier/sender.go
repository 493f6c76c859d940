package carrier

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/kafka"
	"github.com/rolling-swarm/rolling/logdriver/spool"
)

// A sender brings one container's lines from the spool to Kafka, in order.
type sender struct {
	carrier *Carrier
	lane    *lane
	to      *kafka.Lane

	mu     sync.Mutex
	window *batch.Window // guarded by mu
	cause  error         // why the last line came back; guarded by mu
	flying int64         // bytes on their way; guarded by mu

	acked  chan struct{} // the cursor moved
	landed chan struct{} // a line came back, or nothing is on its way any more, or there is room again

	// After a record that was too large: one line at a time up to careful, in parts of at most limit.
	careful int64
	limit   int
}

func newSender(c *Carrier, l *lane) *sender {
	return &sender{
		carrier: c, lane: l, to: kafka.NewLane(l.route), window: batch.NewWindow(l.log.Cursor()),
		acked: make(chan struct{}, 1), landed: make(chan struct{}, 1),
	}
}

const (
	// inFlight of one container: a few requests' worth.
	inFlight   = 2 << 20
	retryAfter = 500 * time.Millisecond
)

func (s *sender) run(ctx context.Context) {
	acks := make(chan struct{})
	go func() {
		defer close(acks)
		s.acknowledge(ctx)
	}()
	defer func() { <-acks }()
	for ctx.Err() == nil {
		grown := s.lane.log.Changed()
		if s.lane.log.Drained() { // a topic is not made for a container that says nothing
			select {
			case <-grown:
			case <-ctx.Done():
			}
			continue
		}
		limit, changed, ok := s.carrier.kafka.Ready(s.lane.route.Topic)
		if !ok {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		s.stream(ctx, limit)
		if ctx.Err() == nil {
			s.recover(ctx, limit)
		}
	}
}

// acknowledge writes the cursor as often as it moves, but never two writes at once: what moves meanwhile is in the next.
func (s *sender) acknowledge(ctx context.Context) {
	for over := false; !over; {
		select {
		case <-s.acked:
		case <-ctx.Done():
			over = true
		}
		s.mu.Lock()
		cursor := s.window.Cursor()
		lines, bytes := s.window.Passed()
		s.mu.Unlock()
		s.carrier.Stats.Sent.Add(lines)
		s.carrier.Stats.SentBytes.Add(bytes)
		if err := s.lane.log.Acknowledge(cursor, lines); err != nil {
			s.carrier.complain(s.lane.route.Container, err)
		}
	}
}

// stream sends until a line comes back or the context ends.
func (s *sender) stream(ctx context.Context, limit int) {
	reader := s.lane.log.Send()
	defer func() { _ = reader.Close() }() // only read
	var joiner batch.Joiner
	var items []spool.Item
	for {
		changed := s.lane.log.Changed()
		if s.failed() || ctx.Err() != nil {
			return
		}
		var err error
		if items, err = reader.Next(items[:0]); err != nil {
			s.carrier.complain(s.lane.route.Container, err)
			s.rest(ctx, retryAfter)
			continue
		}
		if len(items) == 0 {
			s.skipped(joiner.Oldest(reader.Pos()))
			select {
			case <-changed:
			case <-s.landed:
			case <-ctx.Done():
			}
			continue
		}
		if err := s.send(ctx, &joiner, items, limit); err != nil {
			return
		}
		if len(items) > 4096 {
			items = nil
		}
	}
}

// skipped: nothing unsent lies before pos once nothing is on its way.
func (s *sender) skipped(pos int64) {
	s.mu.Lock()
	before := s.window.Cursor()
	s.window.Skipped(pos)
	moved := s.window.Cursor() != before
	s.mu.Unlock()
	if moved {
		signal(s.acked)
	}
}

func (s *sender) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window.Failed()
}

func (s *sender) rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// send makes lines of the items and sends them, when there is room on the way.
func (s *sender) send(ctx context.Context, joiner *batch.Joiner, items []spool.Item, limit int) error {
	var lines []batch.Line
	var after []int64
	size := int64(0)
	add := func(l batch.Line, to int64) {
		if !s.window.Arrived(l) {
			lines = append(lines, l)
			after = append(after, joiner.Oldest(to))
			size += int64(len(l.Text)) + 64
		}
	}
	s.mu.Lock()
	for _, it := range items {
		if it.Gap != nil {
			joiner.Forget(*it.Gap)
			for i, m := range it.Gap.Markers() {
				add(m, it.After(i))
			}
			continue
		}
		if l, ok := joiner.Add(it.Fragment, it.From); ok {
			add(l, it.To)
		}
	}
	s.mu.Unlock()
	if len(lines) == 0 {
		return nil
	}
	if items[0].From < s.careful {
		return s.sendOneByOne(ctx, lines, after)
	}
	return s.launch(ctx, lines, after, size, limit, false)
}

// launch sends lines together.
func (s *sender) launch(ctx context.Context, lines []batch.Line, after []int64, size int64, limit int, alone bool) error {
	if err := s.roomFor(ctx, size); err != nil {
		return err
	}
	if err := s.carrier.budget.take(ctx, s.lane.route.Topic, size); err != nil {
		return err
	}
	s.mu.Lock()
	s.flying += size
	first := uint64(0)
	for i, l := range lines {
		ticket := s.window.Sent(l, after[i])
		if i == 0 {
			first = ticket
		}
	}
	s.mu.Unlock()
	var left atomic.Int64
	left.Store(int64(len(lines)))
	begun := time.Now()
	// the records outlive this context: they are in the client's hand, and Close bounds them
	s.carrier.kafka.Send(context.WithoutCancel(ctx), s.to, lines, limit, alone, func(i int, err error) {
		s.done(first+uint64(i), err)
		if left.Add(-1) == 0 {
			s.carrier.budget.give(s.lane.route.Topic, size)
			s.mu.Lock()
			s.flying -= size
			s.mu.Unlock()
			signal(s.landed)
			s.carrier.Stats.Latency.Observe(time.Since(begun).Seconds())
		}
	})
	return nil
}

// roomFor waits until the container has not too much on its way: what is, cannot be dropped from its spool.
func (s *sender) roomFor(ctx context.Context, size int64) error {
	most := min(inFlight, s.lane.route.SpoolMax/4)
	for {
		s.mu.Lock()
		room, failed := s.flying == 0 || s.flying+size <= most, s.window.Failed()
		s.mu.Unlock()
		switch {
		case failed:
			return errBack
		case room:
			return nil
		}
		select {
		case <-s.landed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *sender) done(ticket uint64, err error) {
	s.mu.Lock()
	moved := s.window.Done(ticket, err == nil)
	if err != nil && s.cause == nil {
		s.cause = err
	}
	tell := err != nil || s.window.Open() == 0
	s.mu.Unlock()
	if moved {
		signal(s.acked)
	}
	if tell {
		signal(s.landed)
	}
}

// landing waits until nothing is on its way.
func (s *sender) landing(ctx context.Context) {
	for {
		s.mu.Lock()
		open := s.window.Open()
		s.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-s.landed:
		case <-ctx.Done():
			return
		}
	}
}

// recover deals with what came back: all that is on its way has to land first, so that nothing is sent twice.
func (s *sender) recover(ctx context.Context, limit int) {
	s.landing(ctx)
	s.mu.Lock()
	if s.window.Open() > 0 || !s.window.Failed() {
		s.mu.Unlock()
		return
	}
	cause := s.cause
	s.window.Rewind()
	s.cause = nil
	s.mu.Unlock()
	signal(s.acked)
	switch {
	case kafka.TooLarge(cause):
		s.careful = s.lane.log.End()
		s.limit = limit / 2
		s.carrier.log.Warn("the topic takes no batch of this size: smaller ones follow", "topic", s.lane.route.Topic, "cause", cause)
		return
	case kafka.TopicGone(cause):
		s.carrier.kafka.Lost(s.lane.route.Topic, cause)
	case !errors.Is(cause, context.Canceled):
		s.carrier.log.Warn("lines came back and are sent again", "container", s.lane.route.Container, "topic", s.lane.route.Topic, "cause", cause)
	}
	s.rest(ctx, retryAfter)
}

// sendOneByOne sends each line for itself, in smaller and smaller parts: never for ever.
func (s *sender) sendOneByOne(ctx context.Context, lines []batch.Line, after []int64) error {
	for i, l := range lines {
		for limit := s.limit; ; limit /= 2 {
			if err := s.launch(ctx, []batch.Line{l}, after[i:i+1], int64(len(l.Text)), limit, true); err != nil {
				return err
			}
			s.landing(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.mu.Lock()
			cause := s.cause
			large := s.window.Failed() && kafka.TooLarge(cause)
			if large {
				s.window.Rewind()
				s.cause = nil
			}
			s.mu.Unlock()
			if !large {
				break // it arrived, or it came back for another reason: stream sees that
			}
			if limit/2 < kafka.Least {
				s.refuse(l, after[i], cause)
				break
			}
			s.limit = limit / 2
		}
		if s.failed() {
			return errBack
		}
	}
	return nil
}

var errBack = errors.New("a line came back")

// refuse gives up a line that Kafka takes in no form.
func (s *sender) refuse(l batch.Line, after int64, cause error) {
	s.carrier.store.Refused(s.lane.log, len(l.Text))
	s.carrier.log.Error("Kafka takes this line in no size: it is dropped", "container", s.lane.route.Container, "seq", l.Seq, "bytes", len(l.Text), "cause", cause)
	s.mu.Lock()
	s.window.Refused(l, after)
	s.mu.Unlock()
	signal(s.acked)
}
