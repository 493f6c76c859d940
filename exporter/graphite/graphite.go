// Package graphite sends points to a Graphite server (carbon, or a relay) in the plaintext protocol over one connection that
// is kept. It knows the protocol and how a connection ends. What the points mean it does not know.
//
// The protocol has no receipts: what was written may lie in a dead server's socket. So points are kept for a while after
// they were written, and written once more over the next connection; the same point twice is one point to Graphite.
package graphite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

const (
	dialWithin  = 5 * time.Second
	writeWithin = 5 * time.Second
	// silentWithin: written and never acknowledged, the peer's machine is gone. It has to be less than hold.
	silentWithin = 20 * time.Second
	// hold is how long a written point is kept.
	hold = 30 * time.Second
	// The pauses between two attempts grow from the first to the most.
	firstPause = 500 * time.Millisecond
	mostPause  = 10 * time.Second
	// chunk is how many points are written at once: some 80 KiB.
	chunk = 1000
	// lastWithin is for what waits when the process is told to end.
	lastWithin = time.Second
)

// A Sender keeps points until they are with the server.
type Sender struct {
	address string
	log     *slog.Logger
	wake    chan struct{}

	mu   sync.Mutex // guards what follows
	ring *ring
	seen sample.Delivery
}

// New sends to host:port, with at most that many points in memory.
func New(address string, points int, log *slog.Logger) *Sender {
	return &Sender{address: address, log: log, wake: make(chan struct{}, 1), ring: newRing(points), seen: sample.Delivery{Address: address}}
}

// Push takes points. It never waits: the oldest are dropped when there is no room.
func (s *Sender) Push(points []sample.Point) {
	s.mu.Lock()
	s.ring.push(points)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// State says how sending stands.
func (s *Sender) State() sample.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.seen
	state.Waiting, state.Kept, state.Dropped = s.ring.waiting(), s.ring.end-s.ring.first, s.ring.dropped
	return state
}

// Run connects, sends, and connects again, until the context ends.
func (s *Sender) Run(ctx context.Context) error {
	pause := firstPause
	for {
		sent, err := s.session(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being stopped is no failure
		}
		if sent {
			pause = firstPause
		}
		s.fail(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2+1)): // not all nodes at once
		}
		pause = min(2*pause, mostPause)
	}
}

// fail notes why there is no connection, and makes what may be lost wait again.
func (s *Sender) fail(err error) {
	s.mu.Lock()
	again := s.ring.rewind()
	first := s.seen.Connected || s.seen.Error == ""
	s.seen.Connected, s.seen.Error = false, err.Error()
	s.seen.Resent += uint64(again)
	s.mu.Unlock()
	if first {
		s.log.Warn("no connection to Graphite; points are kept", "address", s.address, "cause", err)
	}
}

// session is one connection, from its beginning to its end.
func (s *Sender) session(ctx context.Context) (sent bool, err error) {
	s.mu.Lock()
	s.seen.Dials++
	s.mu.Unlock()
	dialer := net.Dialer{Timeout: dialWithin, Control: giveUpSilence}
	conn, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return false, fmt.Errorf("connect to Graphite at %s: %w", s.address, err)
	}
	defer conn.Close() //nolint:errcheck // what was written is kept
	s.mu.Lock()
	s.seen.Connected, s.seen.Error = true, ""
	s.mu.Unlock()
	s.log.Info("connected to Graphite", "address", s.address)
	ended := make(chan error, 1)
	go func() { ended <- listen(conn) }()
	buffer, points := make([]byte, 0, 128*chunk), make([]sample.Point, 0, chunk)
	tick := time.NewTicker(hold / 10)
	defer tick.Stop()
	for {
		if sent, err = s.drain(conn, &buffer, points, writeWithin, sent); err != nil {
			return sent, err
		}
		select {
		case <-ctx.Done():
			_, err := s.drain(conn, &buffer, points, lastWithin, sent)
			return sent, err
		case err := <-ended:
			return sent, fmt.Errorf("the connection to Graphite at %s has ended: %w", s.address, err)
		case <-s.wake:
		case now := <-tick.C:
			s.mu.Lock()
			s.ring.confirm(now, hold)
			s.mu.Unlock()
		}
	}
}

var errByServer = errors.New("by the server")

// listen waits for the end: a server says nothing.
func listen(conn net.Conn) error {
	one := make([]byte, 64)
	for {
		if _, err := conn.Read(one); err != nil {
			return errors.Join(errByServer, err)
		}
	}
}

// drain writes what waits.
func (s *Sender) drain(conn net.Conn, buffer *[]byte, points []sample.Point, within time.Duration, before bool) (sent bool, err error) {
	for sent = before; ; sent = true {
		s.mu.Lock()
		points = s.ring.take(points)
		upto := s.ring.next + int64(len(points))
		s.mu.Unlock()
		if len(points) == 0 {
			return sent, nil
		}
		*buffer = appendLines((*buffer)[:0], points)
		if err := conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
			return sent, fmt.Errorf("write to Graphite at %s: %w", s.address, err)
		}
		if _, err := conn.Write(*buffer); err != nil {
			return sent, fmt.Errorf("write to Graphite at %s: %w", s.address, err)
		}
		s.mu.Lock()
		s.ring.sent(upto, time.Now())
		s.seen.Sent += uint64(len(points))
		s.mu.Unlock()
	}
}

// appendLines writes points as `PATH VALUE SECONDS`.
func appendLines(to []byte, points []sample.Point) []byte {
	for _, p := range points {
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			continue
		}
		to = append(to, p.Path...)
		to = append(to, ' ')
		to = strconv.AppendFloat(to, p.Value, 'f', -1, 64)
		to = append(to, ' ')
		to = strconv.AppendInt(to, p.At, 10)
		to = append(to, '\n')
	}
	return to
}

// giveUpSilence ends a connection whose peer acknowledges nothing any more.
func giveUpSilence(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silentWithin/time.Millisecond))
	})
	return errors.Join(err, failed)
}
