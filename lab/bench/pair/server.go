package pair

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

// A request is headSize bytes that begin with what it asks for.
const (
	headSize  = 64
	bulk      = 'b' // a length of 8 bytes, and after the head as many bytes; the server's CPU time in ns is the answer
	ping      = 'p' // the head comes back
	bulkReply = 8
	bufSize   = 1 << 17
)

// serve listens in every mode, says so, and answers until the input ends.
func (j Job) serve(in io.Reader, out io.Writer) error {
	if err := pin(j.OneCPU, server); err != nil {
		return err
	}
	for _, m := range j.Modes {
		if err := namespace.Do(m.Server, func() error { return j.listen(m) }); err != nil {
			return fmt.Errorf("path %s: listen: %w", m.Name, err)
		}
	}
	if _, err := fmt.Fprintln(out, "listening"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// listen starts one mode's server, inside its namespace.
func (j Job) listen(m Mode) error {
	lc := net.ListenConfig{Control: congestion(j.Congestion)} // connections inherit it
	l, err := lc.Listen(context.Background(), "tcp4", m.Listen)
	if err != nil {
		return err
	}
	go accept(l)
	if j.Packets == 0 {
		return nil
	}
	at, err := netip.ParseAddrPort(m.Listen)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
		return err
	}
	go answerPackets(fd) //nolint:errcheck // the client says what went wrong
	return nil
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // the process ends
		}
		go func() {
			defer c.Close() //nolint:errcheck // the client says what went wrong
			_ = answer(c)
		}()
	}
}

// answer serves one connection until it ends.
func answer(c io.ReadWriter) error {
	buf := make([]byte, bufSize)
	for {
		if _, err := io.ReadFull(c, buf[:headSize]); err != nil {
			return err
		}
		reply := headSize
		if buf[0] == bulk {
			begun := processTime()
			for left := int(binary.BigEndian.Uint64(buf[1:])); left > 0; {
				n, err := c.Read(buf[:min(len(buf), left)])
				if err != nil {
					return err
				}
				left -= n
			}
			binary.BigEndian.PutUint64(buf, uint64(processTime()-begun))
			reply = bulkReply
		}
		if _, err := c.Write(buf[:reply]); err != nil {
			return err
		}
	}
}
