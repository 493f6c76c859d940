package proof

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"time"
)

// answered finds the moment (seconds since 1970) at which a reply came, in a line of ping -D.
var answered = regexp.MustCompile(`^\[(\d+\.\d+)\] \d+ bytes from`)

// A quiet is the longest time without an answer, over so many answers.
type quiet struct {
	longest time.Duration
	answers int
	last    float64
}

func (q *quiet) note(at float64) {
	if q.answers > 0 {
		q.longest = max(q.longest, time.Duration((at-q.last)*float64(time.Second)))
	}
	q.last, q.answers = at, q.answers+1
}

// silence pings an address from the router every 10 ms while f runs and half a second longer, and one answer longer than
// that, so that a gap that is still open counts.
func (w *World) silence(ctx context.Context, to netip.Addr, f func() error) (quiet, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	moments, err := w.replies(ctx, to)
	if err != nil {
		return quiet{}, err
	}
	var q quiet
	first, open := <-moments
	if !open {
		return q, fmt.Errorf("ping %s: no answer at all", to)
	}
	q.note(first)
	done := make(chan error, 1)
	go func() {
		err := f()
		time.Sleep(500 * time.Millisecond)
		done <- err
	}()
	for {
		select {
		case at := <-moments:
			q.note(at)
		case err := <-done:
			select {
			case at, open := <-moments:
				if open {
					q.note(at)
				}
			case <-time.After(5 * time.Second):
				q.longest = max(q.longest, 5*time.Second)
			}
			return q, err
		}
	}
}

// replies are the moments at which ping's answers came, until ctx ends.
func (w *World) replies(ctx context.Context, to netip.Addr) (<-chan float64, error) {
	if err := w.Lab.Need(ctx, "iputils-ping"); err != nil {
		return nil, err
	}
	cmd := w.Lab.Command(ctx, "router", "ping", "-n", "-D", "-i", "0.01", to.String())
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("ping %s: %w", to, err)
	}
	moments := make(chan float64, 1<<16) // minutes of answers: nobody need read them to the end
	go func() {
		defer close(moments)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := answered.FindStringSubmatch(s.Text()); m != nil {
				if at, err := strconv.ParseFloat(m[1], 64); err == nil {
					moments <- at
				}
			}
		}
		_ = cmd.Wait() // ended with ctx: its exit code says only that
	}()
	return moments, nil
}
