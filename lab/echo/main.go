// Command echo is what tests put into containers to learn whom a call reaches: on port 80 it answers each line over TCP,
// and each datagram over UDP, by its host's name and the client's address. When it is told to stop, it takes no new
// connection, and ends when those that stand have ended; after eight seconds it ends them itself, and so loses no request.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	// drainFor is shorter than the ten seconds for which Swarm waits by default.
	drainFor = 8 * time.Second
	// leaveFor is what clients get to see that a connection is over.
	leaveFor = time.Second
)

// standing are the connections that are served.
type standing struct {
	mu  sync.Mutex
	all map[*net.TCPConn]bool // guarded by mu
}

func (s *standing) set(c *net.TCPConn, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there {
		s.all[c] = true
	} else {
		delete(s.all, c)
	}
}

// end says to all that no answer comes any more. To close them would tell a client whose line was not read yet that they
// broke.
func (s *standing) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		_ = c.CloseWrite() // the client may have gone
	}
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func serve() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: 80})
	if err != nil {
		return err
	}
	udp, err := net.ListenPacket("udp4", ":80")
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go datagrams(udp, name)
	go func() {
		<-stop
		_ = tcp.Close() // Accept says so
	}()
	var open sync.WaitGroup
	conns := standing{all: map[*net.TCPConn]bool{}}
	for {
		c, err := tcp.AcceptTCP()
		if err != nil { // it was closed: what is open is still served
			time.AfterFunc(drainFor, conns.end)
			time.AfterFunc(drainFor+leaveFor, func() { os.Exit(0) })
			open.Wait()
			return nil //nolint:nilerr // asked for by the signal
		}
		conns.set(c, true)
		open.Go(func() {
			defer conns.set(c, false)
			lines(c, name)
		})
	}
}

func lines(c net.Conn, name string) {
	defer c.Close() //nolint:errcheck // the client has gone
	from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	for in := bufio.NewScanner(c); in.Scan(); {
		if _, err := fmt.Fprintf(c, "%s %s\n", name, from); err != nil {
			return
		}
	}
}

func datagrams(udp net.PacketConn, name string) {
	b := make([]byte, 1500)
	for {
		_, to, err := udp.ReadFrom(b)
		if err != nil {
			return
		}
		from, _, _ := net.SplitHostPort(to.String())
		_, _ = udp.WriteTo(fmt.Appendf(nil, "%s %s\n", name, from), to) // a datagram may be lost
	}
}
