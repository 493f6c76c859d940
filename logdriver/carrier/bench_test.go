package carrier

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
)

// logLines are lines as programs write them: words and numbers, that compress to less than half.
func logLines(size int) [][]byte {
	random := rand.New(rand.NewPCG(1, 1))
	words := []string{"GET", "POST", "/api/v1/users", "/healthz", "INFO", "WARN", "upstream", "request", "completed", "latency", "status=200", "cache=miss", "trace_id"}
	lines := make([][]byte, 1024)
	for i := range lines {
		var b strings.Builder
		fmt.Fprintf(&b, "2026-11-23T12:%02d:%02d.%06dZ ", random.IntN(60), random.IntN(60), random.IntN(1e6))
		for b.Len() < size {
			b.WriteString(words[random.IntN(len(words))])
			if random.IntN(3) == 0 {
				fmt.Fprintf(&b, "=%08x", random.Uint32())
			}
			b.WriteByte(' ')
		}
		lines[i] = []byte(b.String()[:size])
	}
	return lines
}

// pipeful is what one read of a pipe of 64 KiB gives.
func pipeful(lines [][]byte) (frames []byte, n int) {
	for len(frames) < 64<<10 {
		frames = entry.Append(frames, entry.Entry{Nanos: 1_700_000_000_000_000_000 + int64(n), Line: lines[n%len(lines)]})
		n++
	}
	return frames, n
}

func processor(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecodeAndSpool is the way from a read of the pipe to write(2).
func BenchmarkDecodeAndSpool(b *testing.B) {
	for name, size := range map[string]int{"200B": 200, "1kB": 1000} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b).start()
			s := r.pipe("a")
			r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"spool-max": "1g"})
			r.Stop(s.path)
			frames, n := pipeful(logLines(size))
			l := r.lanes["aaaaaaaaaaaaaaaa"]
			rd := &reader{carrier: r.Carrier, lane: l, cutter: batch.Cutter{Longest: 512 << 10}, endings: make(chan struct{})}
			before, lines := processor(b), 0
			b.SetBytes(int64(n * size))
			for b.Loop() {
				rd.consume(append(make([]byte, 0, readBytes), frames...))
				lines += n
				if lines%(n*256) == 0 { // what Kafka has makes room
					if err := l.log.Acknowledge(batch.Cursor{Pos: l.log.End()}, 0); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric((processor(b)-before)/float64(lines), "cpu-ns/line")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkCarry is the whole way: pipe, spool, and a broker in this process that throws everything away. The
// processor's time holds the writer of the pipe and that broker too.
func BenchmarkCarry(b *testing.B) {
	for name, size := range map[string]int{"200B": 200, "1kB": 1000} {
		b.Run(name, func(b *testing.B) {
			c := fake(b, kfake.BlackholeProduce(), kfake.SeedTopics(1, "orders.test.web"))
			r := newRig(b, c.ListenAddrs()...).start()
			s := r.pipe("a")
			r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"spool-max": "900m", "on-full": "block"})
			frames, n := pipeful(logLines(size))
			before, lines := processor(b), 0
			b.SetBytes(int64(n * size))
			for b.Loop() {
				if _, err := s.file.Write(frames); err != nil {
					b.Fatal(err)
				}
				lines += n
			}
			eventually(b, "all acknowledged", func() bool { return r.Picture().Sent == uint64(lines) })
			b.ReportMetric((processor(b)-before)/float64(lines), "cpu-ns/line")
			b.ReportMetric(0, "ns/op")
		})
	}
}
