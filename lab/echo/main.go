// Command echo is what tests put into containers to learn whom a call reaches: on port 80 it answers each line over TCP,
// and each datagram over UDP, by its host's name and the client's address. When it is told to stop, it takes no new
// connection, ends when those that stand have ended, or after ten seconds, and so loses no request.
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

// drainFor is as long as Swarm waits by default.
const drainFor = 10 * time.Second

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
	tcp, err := net.Listen("tcp4", ":80")
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
	for {
		c, err := tcp.Accept()
		if err != nil { // it was closed: what is open is still served
			time.AfterFunc(drainFor, func() { os.Exit(0) })
			open.Wait()
			return nil //nolint:nilerr // asked for by the signal
		}
		open.Go(func() { lines(c, name) })
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
