package wire_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// cable forwards to a manager until it is cut or held.
type cable struct {
	net.Listener
	mu    sync.Mutex
	held  bool
	conns []net.Conn
}

func newCable(t *testing.T, to string) *cable {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cable{Listener: listener}
	t.Cleanup(func() { _ = listener.Close(); c.hold(false); c.cut() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, near, far)
			c.mu.Unlock()
			go c.carry(near, far)
			go c.carry(far, near)
		}
	}()
	return c
}

// carry swallows what comes while the cable is held, an end too, as a lost peer would.
func (c *cable) carry(from, to net.Conn) {
	piece := make([]byte, 4096)
	for {
		n, err := from.Read(piece)
		if err == nil && !c.isHeld() {
			_, err = to.Write(piece[:n])
		}
		if err != nil {
			for c.isHeld() {
				time.Sleep(10 * time.Millisecond)
			}
			_, _ = from.Close(), to.Close()
			return
		}
	}
}

func (c *cable) isHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

func (c *cable) hold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = on
}

// cut resets every connection.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	c.conns = nil
}

func TestABrokenConnectionIsNoticedAndMadeAgain(t *testing.T) {
	t.Parallel()
	g := generation(t, time.Now())
	t.Run("after a reset, while a question is under way", func(t *testing.T) {
		t.Parallel()
		s, address := board(t, g.Manager)
		c := newCable(t, address)
		open := make(chan struct{})
		defer close(open)
		dial(t, g.Agent, host{id: "n", block: open}, c.Addr().String())
		eventually(t, "a line", func() bool { return ids(s) == "n" })
		first := s.Nodes()[0].Address
		asked := make(chan error, 1)
		go func() { _, err := s.Lines(t.Context(), "n", "", "abcdefabcdef", 1); asked <- err }()
		time.Sleep(50 * time.Millisecond) // under way or not, it has to end
		c.cut()
		select {
		case err := <-asked:
			if err == nil {
				t.Error("a question was answered by nobody")
			}
		case <-time.After(within):
			t.Error("a question outlives its line")
		}
		eventually(t, "another line", func() bool { return ids(s) == "n" && s.Nodes()[0].Address != first })
	})
	t.Run("after a silence, at both ends", func(t *testing.T) {
		t.Parallel()
		s, address := board(t, g.Manager)
		c := newCable(t, address)
		l, _ := dial(t, g.Agent, host{id: "n"}, c.Addr().String())
		eventually(t, "a line", func() bool { return ids(s) == "n" && l.State().Connected })
		c.hold(true)
		eventually(t, "both to notice", func() bool { return ids(s) == "" && !l.State().Connected })
		c.hold(false)
		eventually(t, "another line", func() bool { return ids(s) == "n" && l.State().Connected })
	})
}
