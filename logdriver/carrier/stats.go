package carrier

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/route"
	"github.com/rolling-swarm/rolling/logdriver/spool"
)

// Stats count since the process began.
type Stats struct {
	Lines, Bytes    atomic.Uint64 // read from pipes
	Found           atomic.Uint64 // lines that an earlier process left unsent
	Sent, SentBytes atomic.Uint64 // acknowledged by Kafka
	Strayed         atomic.Uint64 // times that rubbish came through a pipe
	DiskTrouble     atomic.Uint64
	Latency         prometheus.Histogram // from the spool to Kafka's acknowledgement, of each request's lines

	mu   sync.Mutex
	said map[string]time.Time // guarded by mu
}

func newStats() Stats {
	return Stats{
		Latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rolling_log_ack_seconds", Help: "Time from the spool to Kafka's acknowledgement.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 11)}),
		said:    map[string]time.Time{},
	}
}

// quiet says whether something about this was said within the period, and notes it.
func (s *Stats) quiet(about string, period time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.said[about]) < period {
		return true
	}
	if len(s.said) > 1000 {
		clear(s.said)
	}
	s.said[about] = time.Now()
	return false
}

// A Picture is how the carrier stands.
type Picture struct {
	Read       uint64             `json:"readLines"`  // since the start
	Found      uint64             `json:"foundLines"` // unsent ones, of an earlier process
	ReadBytes  uint64             `json:"readBytes"`
	Sent       uint64             `json:"sentLines"`
	Unsent     uint64             `json:"unsentLines"` // in the spool now
	Dropped    map[string]uint64  `json:"droppedLines"`
	DropBytes  map[string]uint64  `json:"droppedBytes"`
	Disk       int64              `json:"diskBytes"`
	Whole      int64              `json:"diskBound"`
	Pipes      int                `json:"openPipes"`
	Resting    int                `json:"resting"` // ended containers whose lines are kept
	Containers []ContainerPicture `json:"containers"`
}

// A ContainerPicture is one container in it.
type ContainerPicture struct {
	route.Lane
	spool.Size
	Live bool `json:"live"`
}

// Picture looks.
func (c *Carrier) Picture() Picture {
	p := Picture{
		Read: c.Stats.Lines.Load(), Found: c.Stats.Found.Load(), ReadBytes: c.Stats.Bytes.Load(), Sent: c.Stats.Sent.Load(), Disk: c.store.Total(), Whole: c.set.Limits.Whole,
		Dropped: map[string]uint64{}, DropBytes: map[string]uint64{}, Containers: []ContainerPicture{},
	}
	for r := batch.Full; r < batch.Reasons; r++ {
		p.Dropped[r.String()], p.DropBytes[r.String()] = c.store.Dropped.Of(r)
	}
	c.mu.Lock()
	p.Pipes, p.Resting = len(c.readers), len(c.resting)
	for _, r := range c.resting {
		p.Unsent += r.unsent
	}
	c.mu.Unlock()
	for _, l := range c.opened() {
		live, _ := l.live()
		size := l.log.Size()
		p.Unsent += size.Unsent
		p.Containers = append(p.Containers, ContainerPicture{Lane: l.route, Size: size, Live: live})
	}
	slices.SortFunc(p.Containers, func(a, b ContainerPicture) int { return cmp.Compare(a.Container, b.Container) })
	return p
}
