// Package prober asks an address every millisecond whether it is there, while something happens to the way, and tells the
// longest time in which what was sent was lost. It knows ICMP echo and a network namespace. It refuses to take what came late
// for lost: on a machine with other work both prober and answer wait for a processor, and neither is a black hole.
package prober

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

const (
	// answerWithin bounds the wait for the first answer, and for one at the end.
	answerWithin = 5 * time.Second
	// lateWithin is how long an answer may be under way on a busy machine.
	lateWithin = 500 * time.Millisecond
)

// A Silence is what a watch has seen.
type Silence struct {
	Longest time.Duration // from the first request that was lost to the next that was not
	Sent    int
	Lost    int
}

// Watch probes an address from inside a network namespace, from before f begins until an answer came to a request that was
// sent after f had ended.
func Watch(ctx context.Context, space string, to netip.Addr, every time.Duration, f func() error) (Silence, error) {
	w := &watch{to: &net.IPAddr{IP: to.AsSlice()}, mark: rand.IntN(1 << 16)}
	err := namespace.Do(space, func() (err error) {
		w.conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		return Silence{}, fmt.Errorf("probe %s: %w", to, err)
	}
	ctx, stop := context.WithCancel(ctx)
	var both sync.WaitGroup
	both.Go(func() { w.send(ctx, every) })
	both.Go(w.receive)
	err = w.answers(ctx, 0, answerWithin)
	if err == nil {
		err = f()
		err = errors.Join(err, w.answers(ctx, w.count(), answerWithin))
	}
	stop()
	time.Sleep(lateWithin)
	_ = w.conn.Close()
	both.Wait()
	return w.silence(), err
}

type watch struct {
	conn *icmp.PacketConn
	to   net.Addr
	mark int

	mu       sync.Mutex // guards the rest; an index is one request
	sent     []time.Time
	answered []bool
}

func (w *watch) send(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.mu.Lock()
			i := len(w.sent)
			w.sent, w.answered = append(w.sent, now), append(w.answered, false)
			w.mu.Unlock()
			body := &icmp.Echo{ID: w.mark, Seq: i & 0xffff, Data: binary.BigEndian.AppendUint64(nil, uint64(i))}
			text, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: body}).Marshal(nil)
			if err == nil {
				_, err = w.conn.WriteTo(text, w.to)
			}
			_ = err // what could not be sent was not answered either
		}
	}
}

func (w *watch) receive() {
	buf := make([]byte, 1500)
	for {
		n, _, err := w.conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		m, err := icmp.ParseMessage(1, buf[:n]) // 1: ICMP of IPv4
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		e, ok := m.Body.(*icmp.Echo)
		if !ok || e.ID != w.mark || len(e.Data) < 8 {
			continue
		}
		i := binary.BigEndian.Uint64(e.Data)
		w.mu.Lock()
		if i < uint64(len(w.answered)) {
			w.answered[i] = true
		}
		w.mu.Unlock()
	}
}

func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}

// answers waits for an answer to a request from the given one on.
func (w *watch) answers(ctx context.Context, from int, within time.Duration) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		w.mu.Lock()
		for _, a := range w.answered[from:] {
			if a {
				w.mu.Unlock()
				return nil
			}
		}
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("probe %s: no answer within %v", w.to, within)
		case <-tick.C:
		}
	}
}

func (w *watch) silence() Silence {
	w.mu.Lock()
	defer w.mu.Unlock()
	return longest(w.sent, w.answered)
}

// longest takes a last run of lost requests as ending with the last of them.
func longest(sent []time.Time, answered []bool) Silence {
	s := Silence{Sent: len(sent)}
	var first time.Time
	for i, ok := range answered {
		if !ok {
			s.Lost++
			if first.IsZero() {
				first = sent[i]
			}
		}
		if !first.IsZero() {
			s.Longest = max(s.Longest, sent[i].Sub(first))
		}
		if ok {
			first = time.Time{}
		}
	}
	return s
}
