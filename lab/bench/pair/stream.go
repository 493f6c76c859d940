package pair

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// bulkPiece sends one chunk: Gbit/s, and the CPU seconds that a Gbit took at both ends and in the kernel's threads.
func bulkPiece(c net.Conn, buf []byte, chunk int, threads softirqs) (gbit, cpu float64, err error) {
	if err := c.SetDeadline(time.Now().Add(stallWithin)); err != nil {
		return 0, 0, err
	}
	kernel, err := threads.used()
	if err != nil {
		return 0, 0, err
	}
	own, begun := processTime(), time.Now()
	theirs, err := push(c, buf, chunk)
	if err != nil {
		return 0, 0, err
	}
	took, own := time.Since(begun), processTime()-own
	after, err := threads.used()
	if err != nil {
		return 0, 0, err
	}
	size := float64(chunk) * 8 / 1e9
	return size / took.Seconds(), (own + theirs + after - kernel).Seconds() / size, nil
}

// push sends a chunk and waits for the answer: the time that the server's process used for it.
func push(c net.Conn, buf []byte, chunk int) (theirs time.Duration, err error) {
	var head [headSize]byte
	head[0] = bulk
	binary.BigEndian.PutUint64(head[1:], uint64(chunk))
	if _, err := c.Write(head[:]); err != nil {
		return 0, err
	}
	for left := chunk; left > 0; {
		n, err := c.Write(buf[:min(left, len(buf))])
		if err != nil {
			return 0, err
		}
		left -= n
	}
	if _, err := io.ReadFull(c, head[:bulkReply]); err != nil {
		return 0, err
	}
	return time.Duration(binary.BigEndian.Uint64(head[:])), nil
}

// manyPiece shares a chunk among connections that send at once, all from one buffer: Gbit/s of all together.
func manyPiece(all []net.Conn, buf []byte, chunk int) (float64, error) {
	errs := make(chan error, len(all))
	share := max(chunk/len(all), 1)
	begun := time.Now()
	for _, c := range all {
		go func() {
			err := c.SetDeadline(begun.Add(stallWithin))
			if err == nil {
				_, err = push(c, buf, share)
			}
			errs <- err
		}()
	}
	var err error
	for range all {
		err = errors.Join(err, <-errs)
	}
	return float64(share*len(all)) * 8 / 1e9 / time.Since(begun).Seconds(), err
}

// pingPiece gives each round trip in µs.
func pingPiece(c net.Conn, buf []byte, pings int) ([]float64, error) {
	if err := c.SetDeadline(time.Now().Add(stallWithin)); err != nil {
		return nil, err
	}
	var head [headSize]byte
	head[0] = ping
	trips := make([]float64, pings)
	for i := range trips {
		begun := time.Now()
		_, werr := c.Write(head[:])
		_, rerr := io.ReadFull(c, buf[:headSize])
		if err := errors.Join(werr, rerr); err != nil {
			return nil, err
		}
		trips[i] = float64(time.Since(begun).Nanoseconds()) / 1e3
	}
	return trips, nil
}
