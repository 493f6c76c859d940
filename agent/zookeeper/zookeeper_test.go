package zookeeper

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

// switchboard connects to a fake tree unless it is off.
type switchboard struct {
	mu    sync.Mutex
	off   bool // guarded by mu
	calls int  // guarded by mu: connections made
	on    *fakeTree
}

func (s *switchboard) connect(context.Context) (session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return nil, errors.New("connection refused")
	}
	s.calls++
	return s.on, nil
}

func (s *switchboard) turn(off bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = off
}

func TestRegisterWritesWhenZooKeeperComes(t *testing.T) {
	board := &switchboard{off: true, on: newFake()}
	r, err := New([]string{"zk1", "zk2:2182"}, "", quietLog())
	if err != nil {
		t.Fatal(err)
	}
	r.connect = board.connect
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	d := wanted("10.0.0.1")
	d.At = time.Now()
	d.Changed = d.At.Add(-time.Second)
	r.Set(d)
	eventually(t, "the failure is shown", func() bool { return strings.Contains(r.Standing()[0].Error, "refused") })
	board.turn(false)
	eventually(t, "in step", func() bool { return r.Standing()[0].InStep })
	if s := r.Standing()[0]; s.Target != "zookeeper zk1:2181,zk2:2182" || s.Error != "" || s.Writes != 1 || s.Lag < time.Second || s.Failures == 0 {
		t.Errorf("standing %+v", s)
	}
	if got := hosts(board.on.members(ordersPath)); got != "10.0.0.1" {
		t.Errorf("got %q", got)
	}
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
	if r.wanted != nil {
		t.Error("the decision outlived the term")
	}
}

// A name may have come to mean another server, and the client looks it up once a connection.
func TestABrokenConnectionIsMadeAnew(t *testing.T) {
	board := &switchboard{on: newFake()}
	board.on.failAt = 3
	r, err := New([]string{"zk1"}, "", quietLog())
	if err != nil {
		t.Fatal(err)
	}
	r.connect = board.connect
	done := make(chan struct{})
	go func() { defer close(done); _ = r.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	d := wanted("10.0.0.1")
	d.At = time.Now()
	r.Set(d)
	eventually(t, "in step", func() bool { return r.Standing()[0].InStep })
	board.mu.Lock()
	defer board.mu.Unlock()
	if board.calls != 2 {
		t.Errorf("%d connections, want the one that broke and another", board.calls)
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		servers []string
		auth    string
		want    string
	}{
		{[]string{"zk1", "10.0.0.1:2181", "[::1]:2181"}, "", ""},
		{[]string{"zk1"}, "rolling:secret", ""},
		{nil, "", "there is no server"},
		{[]string{"zk1:port"}, "", "want HOST or HOST:PORT"},
		{[]string{""}, "", "want HOST or HOST:PORT"},
		{[]string{"zk1:2181/chroot"}, "", "want HOST or HOST:PORT"},
		{[]string{"zk1"}, "secret", "want USER:PASSWORD"},
	} {
		err := Check(c.servers, c.auth)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q %q: got %v, want %q", c.servers, c.auth, err, c.want)
		}
	}
}
