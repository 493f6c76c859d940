package pair

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/namespace"
)

// call dials every mode, measures, and writes the result.
func (j Job) call(out io.Writer) error {
	if err := pin(j.OneCPU, client); err != nil {
		return err
	}
	conns := make([]net.Conn, len(j.Modes))
	result := Result{Series: make([]Series, len(j.Modes))}
	for i, m := range j.Modes {
		var err error
		if conns[i], err = j.dial(m); err != nil {
			return err
		}
		defer conns[i].Close() //nolint:errcheck // everything was answered
		if result.Congestion, err = congestionOf(conns[i]); err != nil {
			return err
		}
		result.Series[i].Name = m.Name
	}
	buf := make([]byte, bufSize)
	for round := range j.Warmup + j.Rounds {
		for k := range conns {
			i := (k + round) % len(conns) // no mode is always the first after a pause
			gbit, trips, err := j.piece(conns[i], buf)
			if err != nil {
				return fmt.Errorf("path %s: round %d: %w", j.Modes[i].Name, round+1, err)
			}
			if round >= j.Warmup {
				s := &result.Series[i]
				s.Gbit = append(s.Gbit, gbit)
				s.P50 = append(s.P50, figure.Quantile(trips, 0.5))
				s.P99 = append(s.P99, figure.Quantile(trips, 0.99))
			}
		}
	}
	return json.NewEncoder(out).Encode(result)
}

func (j Job) dial(m Mode) (conn net.Conn, err error) {
	err = namespace.Do(m.Client, func() (err error) {
		d := net.Dialer{Timeout: 10 * time.Second, Control: congestion(j.Congestion)}
		conn, err = d.Dial("tcp4", m.Dial)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("path %s: dial: %w", m.Name, err)
	}
	return conn, nil
}

// piece sends one chunk, then pings: Gbit/s, and each round trip in µs.
func (j Job) piece(c net.Conn, buf []byte) (gbit float64, trips []float64, err error) {
	if err := c.SetDeadline(time.Now().Add(stallWithin)); err != nil {
		return 0, nil, err
	}
	head := [headSize]byte{bulk}
	begun := time.Now()
	if _, err := c.Write(head[:]); err != nil {
		return 0, nil, err
	}
	for left := j.Chunk; left > 0; {
		n, err := c.Write(buf[:min(left, len(buf))])
		if err != nil {
			return 0, nil, err
		}
		left -= n
	}
	if _, err := io.ReadFull(c, buf[:1]); err != nil {
		return 0, nil, err
	}
	gbit = float64(j.Chunk) * 8 / 1e9 / time.Since(begun).Seconds()
	head[0] = ping
	trips = make([]float64, j.Pings)
	for i := range trips {
		begun := time.Now()
		_, werr := c.Write(head[:])
		_, rerr := io.ReadFull(c, buf[:headSize])
		if err := errors.Join(werr, rerr); err != nil {
			return 0, nil, err
		}
		trips[i] = float64(time.Since(begun).Nanoseconds()) / 1e3
	}
	return gbit, trips, nil
}
