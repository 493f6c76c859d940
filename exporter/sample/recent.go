package sample

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// RecentSpan is how far back a Recent goes.
const RecentSpan = 15 * time.Minute

// Recent keeps the last minutes of each container that runs, for a glance. It is not for several goroutines at once.
type Recent struct {
	interval time.Duration
	places   int
	end      int64 // the last round, in intervals since 1970
	tracks   map[string]*track
}

// A track is a ring: the round n is at n modulo its length. A missing sample is NaN.
type track struct {
	task   string
	first  int64
	last   int64
	cores  []float64
	memory []float64
}

// NewRecent keeps one place for each interval.
func NewRecent(interval time.Duration) *Recent {
	return &Recent{interval: interval, places: max(1, int(RecentSpan/interval)), tracks: map[string]*track{}}
}

// Add keeps the samples of a round. Containers that are in none of them are forgotten, unless they are known to run.
func (r *Recent) Add(at time.Time, samples []Sample, runs func(id string) bool) {
	n := at.UnixNano() / int64(r.interval)
	if n < r.end { // the clock was set back
		clear(r.tracks)
	}
	r.end = n
	for i := range samples {
		s := &samples[i]
		t := r.tracks[s.Container.ID]
		if t == nil {
			t = &track{task: s.Container.Name.Task, first: n, last: n - 1, cores: make([]float64, r.places), memory: make([]float64, r.places)}
			r.tracks[s.Container.ID] = t
		}
		cores := math.NaN()
		if s.HasCores {
			cores = s.CPUCores
		}
		t.put(n, cores, float64(s.WorkingSet))
	}
	for id := range r.tracks {
		if !runs(id) {
			delete(r.tracks, id)
		}
	}
}

func (t *track) put(n int64, cores, memory float64) {
	places := int64(len(t.cores))
	for gap := max(t.last+1, n-places+1); gap < n; gap++ {
		t.cores[gap%places], t.memory[gap%places] = math.NaN(), math.NaN()
	}
	t.cores[n%places], t.memory[n%places] = cores, memory
	t.last = n
}

// Page is the answer to GET /recent.
func (r *Recent) Page() contract.Recent {
	p := contract.Recent{IntervalSeconds: int(r.interval / time.Second), Containers: []contract.RecentContainer{}}
	if r.end > 0 {
		p.End = time.Unix(0, r.end*int64(r.interval)).UTC()
	}
	for id, t := range r.tracks {
		c := contract.RecentContainer{Container: id, Task: t.task, CPUCores: []*float64{}, MemoryBytes: []*uint64{}}
		for n := max(t.first, r.end-int64(r.places)+1); n <= r.end; n++ {
			cores, memory := math.NaN(), math.NaN()
			if n <= t.last {
				cores, memory = t.cores[n%int64(r.places)], t.memory[n%int64(r.places)]
			}
			c.CPUCores, c.MemoryBytes = append(c.CPUCores, number(cores)), append(c.MemoryBytes, whole(memory))
		}
		p.Containers = append(p.Containers, c)
	}
	slices.SortFunc(p.Containers, func(a, b contract.RecentContainer) int { return strings.Compare(a.Container, b.Container) })
	return p
}

func number(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func whole(v float64) *uint64 {
	if math.IsNaN(v) {
		return nil
	}
	n := uint64(v)
	return &n
}
