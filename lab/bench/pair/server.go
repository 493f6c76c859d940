package pair

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/rolling-swarm/rolling/lab/namespace"
)

// A request is headSize bytes that begin with what it asks for.
const (
	headSize = 64
	bulk     = 'b' // Chunk bytes follow; one byte is the answer
	ping     = 'p' // the head comes back
	bufSize  = 1 << 17
)

// serve listens in every mode, says so, and answers until the input ends.
func (j Job) serve(in io.Reader, out io.Writer) error {
	if err := pin(j.OneCPU, server); err != nil {
		return err
	}
	lc := net.ListenConfig{Control: congestion(j.Congestion)} // connections inherit it
	for _, m := range j.Modes {
		err := namespace.Do(m.Server, func() error {
			l, err := lc.Listen(context.Background(), "tcp4", m.Listen)
			if err != nil {
				return err
			}
			go j.accept(l)
			return nil
		})
		if err != nil {
			return fmt.Errorf("path %s: listen: %w", m.Name, err)
		}
	}
	if _, err := fmt.Fprintln(out, "listening"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

func (j Job) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // the process ends
		}
		go func() {
			defer c.Close() //nolint:errcheck // the client says what went wrong
			_ = j.answer(c)
		}()
	}
}

// answer serves one connection until it ends.
func (j Job) answer(c io.ReadWriter) error {
	buf := make([]byte, bufSize)
	for {
		if _, err := io.ReadFull(c, buf[:headSize]); err != nil {
			return err
		}
		reply := headSize
		if buf[0] == bulk {
			for left := j.Chunk; left > 0; {
				n, err := c.Read(buf[:min(len(buf), left)])
				if err != nil {
					return err
				}
				left -= n
			}
			reply = 1
		}
		if _, err := c.Write(buf[:reply]); err != nil {
			return err
		}
	}
}
