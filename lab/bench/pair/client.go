package pair

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/namespace"
)

// path is the client's side of one mode.
type path struct {
	Mode
	one  net.Conn
	many []net.Conn
}

// call dials every mode, measures, and writes the result.
func (j Job) call(out io.Writer) error {
	if err := pin(j.OneCPU, client); err != nil {
		return err
	}
	threads, err := softirqThreads()
	if err != nil {
		return err
	}
	paths := make([]path, len(j.Modes))
	result := Result{Series: make([]Series, len(j.Modes))}
	for i, m := range j.Modes {
		if paths[i], err = j.open(m); err != nil {
			return err
		}
		defer paths[i].close()
		if result.Congestion, err = congestionOf(paths[i].one); err != nil {
			return err
		}
		result.Series[i].Name = m.Name
	}
	buf := make([]byte, bufSize)
	for round := range j.Warmup + j.Rounds {
		for k := range paths {
			i := (k + round) % len(paths) // no mode is always the first after a pause
			s := &result.Series[i]
			if round < j.Warmup {
				s = &Series{}
			}
			if err := j.round(paths[i], buf, threads, s); err != nil {
				return fmt.Errorf("path %s: round %d: %w", j.Modes[i].Name, round+1, err)
			}
		}
	}
	return json.NewEncoder(out).Encode(result)
}

func (j Job) open(m Mode) (p path, err error) {
	p.Mode = m
	if p.one, err = j.dial(m); err != nil {
		return p, err
	}
	for range j.Streams {
		c, err := j.dial(m)
		if err != nil {
			p.close()
			return p, err
		}
		p.many = append(p.many, c)
	}
	return p, nil
}

// close ends the connections: whatever was asked was answered.
func (p path) close() {
	_ = p.one.Close() // nothing is under way any more, so nothing can be lost
	for _, c := range p.many {
		_ = c.Close() // the same
	}
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

// round takes one sample of everything on one path.
func (j Job) round(p path, buf []byte, threads softirqs, s *Series) error {
	gbit, cpu, err := bulkPiece(p.one, buf, j.Chunk, threads)
	if err != nil {
		return fmt.Errorf("a piece: %w", err)
	}
	trips, err := pingPiece(p.one, buf, j.Pings)
	if err != nil {
		return fmt.Errorf("round trips: %w", err)
	}
	s.Gbit, s.CPU = append(s.Gbit, gbit), append(s.CPU, cpu)
	s.P50, s.P99 = append(s.P50, figure.Quantile(trips, 0.5)), append(s.P99, figure.Quantile(trips, 0.99))
	for _, more := range []struct {
		what string
		want int
		into *[]float64
		take func() (float64, error)
	}{
		{"streams", j.Streams, &s.Many, func() (float64, error) { return manyPiece(p.many, buf, j.Chunk) }},
		{"connections", j.Conns, &s.Conns, func() (float64, error) { return connPiece(p.Mode, j.Conns) }},
		{"packets", j.Packets, &s.Packets, func() (float64, error) { return packetPiece(p.Mode, j.Packets) }},
	} {
		if more.want == 0 {
			continue
		}
		rate, err := more.take()
		if err != nil {
			return fmt.Errorf("%d %s: %w", more.want, more.what, err)
		}
		*more.into = append(*more.into, rate)
	}
	return nil
}
