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

// silence pings an address from the router every 10 ms while f runs, and returns the longest time without an answer
// and the number of answers. The measure ends with the last answer at least half a second after f.
func (w *World) silence(ctx context.Context, to netip.Addr, f func() error) (longest time.Duration, answers int, err error) {
	if err := w.Lab.Need(ctx, "iputils-ping"); err != nil {
		return 0, 0, err
	}
	pinging, stop := context.WithCancel(ctx)
	defer stop()
	cmd := w.Lab.Command(pinging, "router", "ping", "-n", "-D", "-i", "0.01", to.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", to, err)
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, fmt.Errorf("ping %s: %w", to, err)
	}
	moments := make(chan float64, 1<<16)
	go func() {
		defer close(moments)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := answered.FindStringSubmatch(s.Text()); m != nil {
				if at, err := strconv.ParseFloat(m[1], 64); err == nil {
					moments <- at
				}
			}
		}
	}()
	first, open := <-moments
	if !open {
		return 0, 0, fmt.Errorf("ping %s: no answer at all", to)
	}
	done := make(chan error, 1)
	go func() {
		err := f()
		time.Sleep(500 * time.Millisecond)
		done <- err
	}()
	last, answers := first, 1
	note := func(at float64) {
		longest = max(longest, time.Duration((at-last)*float64(time.Second)))
		last, answers = at, answers+1
	}
	ferr := error(nil)
	for running := true; running; {
		select {
		case at := <-moments:
			note(at)
		case ferr = <-done:
			running = false
		}
	}
	// one more answer closes a gap that may still be open
	select {
	case at, open := <-moments:
		if open {
			note(at)
		}
	case <-time.After(5 * time.Second):
		longest = max(longest, 5*time.Second)
	}
	stop()
	for range moments {
	}
	_ = cmd.Wait() // ended by stop: its exit code says only that
	return longest, answers, ferr
}
