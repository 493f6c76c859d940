package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is a node: whom its plugin awaits, and who is healthy.
type world struct {
	mu      sync.Mutex // guards the rest
	awaited []string
	healthy []string
	told    []string
	asked   int
	deaf    error
	ring    chan struct{}
}

func (w *world) Awaited(context.Context) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.awaited, w.deaf
}

func (w *world) Healthy(_ context.Context, ids []string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !slices.Contains(w.healthy, id) }), nil
}

func (w *world) Changes(ctx context.Context, tell func()) error {
	for {
		select {
		case <-w.ring:
			tell()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *world) do(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *world) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.told, " ")
}

// plugin is the other end: its Healthy takes what the engine's gives.
type plugin struct{ *world }

func (p plugin) Healthy(_ context.Context, ids []string) error {
	p.do(func() {
		p.told = append(p.told, ids...)
		p.awaited = slices.DeleteFunc(p.awaited, func(id string) bool { return slices.Contains(ids, id) })
	})
	return nil
}

func TestThePluginHearsOfHealthAtOnceAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{ring: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- New(w, plugin{w}, slog.New(slog.DiscardHandler)).Run(ctx) }()
		time.Sleep(time.Minute)
		if w.asked != 0 {
			t.Errorf("the engine was asked %d times while nobody was awaited", w.asked)
		}
		w.do(func() { w.awaited, w.healthy = []string{"a", "b"}, []string{"b", "c"} })
		time.Sleep(lookEvery)
		synctest.Wait() // the look falls on the same moment
		if got := fmt.Sprint(w); got != "b" {
			t.Errorf("told %q, want b: a is awaited and ill, c is well and nobody asked", got)
		}
		w.do(func() { w.healthy = []string{"a"} })
		w.ring <- struct{}{}
		synctest.Wait()
		if got := fmt.Sprint(w); got != "b a" {
			t.Errorf("told %q after the engine's word, want b a without a wait", got)
		}
		w.do(func() { w.deaf = errors.New("no plugin") })
		time.Sleep(time.Minute)
		w.do(func() { w.deaf, w.awaited, w.healthy = nil, []string{"d"}, []string{"d"} })
		time.Sleep(lookEvery)
		synctest.Wait() // the look falls on the same moment
		if got := fmt.Sprint(w); got != "b a d" {
			t.Errorf("told %q, want b a d: a plugin that was away is told as soon as it is back", got)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
