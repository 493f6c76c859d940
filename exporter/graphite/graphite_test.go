package graphite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

// server is a Graphite server faked at its wire. It notes whole lines.
type server struct {
	t        *testing.T
	address  string
	mu       sync.Mutex // guards what follows
	listener net.Listener
	conns    []net.Conn
	lines    map[string]int
	deaf     bool // takes connections and reads nothing
}

func serve(t *testing.T) *server {
	s := &server{t: t, lines: map[string]int{}}
	s.up("127.0.0.1:0")
	s.address = s.listener.Addr().String()
	t.Cleanup(s.down)
	return s
}

func (s *server) up(address string) {
	s.t.Helper()
	var l net.Listener
	eventually(s.t, "the port is free", func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			deaf := s.deaf
			s.mu.Unlock()
			if !deaf {
				go s.read(c)
			}
		}
	}()
}

func (s *server) read(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return // half a line is none, as with carbon
		}
		s.mu.Lock()
		s.lines[strings.TrimSpace(line)]++
		s.mu.Unlock()
	}
}

// down resets every connection, so that what lies in its buffers is lost.
func (s *server) down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.listener.Close()
	for _, c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	s.conns = nil
}

// missing gives an error while a point of 0 to n is.
func (s *server) missing(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		if s.lines[fmt.Sprintf("p 0 %d", i)] == 0 {
			return fmt.Errorf("point %d of %d is missing", i, n)
		}
	}
	return nil
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func run(t *testing.T, address string, most int) (s *Sender, stop func()) {
	t.Helper()
	s = New(address, most, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func TestLinesAreAsTheProtocolWantsThem(t *testing.T) {
	got := string(appendLines(nil, []sample.Point{
		{Path: "a.b", Value: 0.25, At: 1700000000}, {Path: "large", Value: 1 << 52, At: 1}, {Path: "no", Value: math.NaN(), At: 1}, {Path: "no", Value: math.Inf(1), At: 1}, {Path: "tiny", Value: 1e-7, At: 2}}))
	if want := "a.b 0.25 1700000000\nlarge 4503599627370496 1\ntiny 0.0000001 2\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnOutageLosesNothingThatTheRingHolds(t *testing.T) {
	server := serve(t)
	s, _ := run(t, server.address, 100_000)
	s.Push(points(0, 2500))
	eventually(t, "the first points", func() error { return server.missing(2500) })
	server.down()
	for i := range 10 {
		s.Push(points(2500+1000*i, 1000))
	}
	eventually(t, "the outage is seen", func() error {
		if d := s.State(); d.Connected || d.Error == "" {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	server.up(server.address)
	eventually(t, "all points", func() error { return server.missing(12_500) })
	if d := s.State(); d.Dropped != 0 || d.Waiting != 0 {
		t.Errorf("%+v", d)
	}
}

// TestPointsThatADyingServerTookAreSentAgain: they were written into a connection whose peer never read them.
func TestPointsThatADyingServerTookAreSentAgain(t *testing.T) {
	server := serve(t)
	server.mu.Lock()
	server.deaf = true
	server.mu.Unlock()
	s, _ := run(t, server.address, 10_000)
	s.Push(points(0, 50))
	eventually(t, "the points are written", func() error {
		if d := s.State(); d.Sent != 50 {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
	server.mu.Lock()
	server.deaf = false
	server.mu.Unlock()
	server.down()
	server.up(server.address)
	eventually(t, "the points come again", func() error { return server.missing(50) })
	if d := s.State(); d.Resent != 50 {
		t.Errorf("%+v", d)
	}
}

func TestALongOutageDropsTheOldestAndCountsThem(t *testing.T) {
	server := serve(t)
	server.down()
	s, _ := run(t, server.address, 1000)
	s.Push(points(0, 3500))
	if d := s.State(); d.Dropped != 2500 || d.Waiting != 1000 || d.Kept != 1000 {
		t.Fatalf("%+v", d)
	}
	server.up(server.address)
	eventually(t, "the youngest points", func() error {
		server.mu.Lock()
		defer server.mu.Unlock()
		if server.lines["p 0 3499"] == 0 || len(server.lines) != 1000 {
			return fmt.Errorf("%d lines", len(server.lines))
		}
		return nil
	})
}

func TestWhatWaitsIsSentBeforeTheEnd(t *testing.T) {
	server := serve(t)
	s, stop := run(t, server.address, 1000)
	eventually(t, "connected", func() error {
		if !s.State().Connected {
			return fmt.Errorf("%+v", s.State())
		}
		return nil
	})
	s.Push(points(0, 100))
	stop()
	eventually(t, "the last points", func() error { return server.missing(100) })
}

// TestAServerThatReadsNothingHoldsNobodyUp: the socket's buffers fill, the write's deadline ends the connection.
func TestAServerThatReadsNothingHoldsNobodyUp(t *testing.T) {
	server := serve(t)
	server.mu.Lock()
	server.deaf = true
	server.mu.Unlock()
	s, _ := run(t, server.address, 2_000_000)
	for i := range 1000 {
		begun := time.Now()
		s.Push(points(1000*i, 1000))
		if took := time.Since(begun); took > 5*time.Second {
			t.Fatalf("a push waits %s", took)
		}
	}
	eventually(t, "the connection is given up", func() error {
		if d := s.State(); !strings.Contains(d.Error, "timeout") && d.Dials < 2 {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})
}
