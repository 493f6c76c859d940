package graphite

import (
	"time"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

// A ring holds points in the order in which they came: those that were sent and may have to be sent again, then those that
// wait. It grows up to its bound and then drops the oldest.
type ring struct {
	points []sample.Point
	most   int
	// first is the oldest kept, next the first that waits, end is behind the last; all count from the beginning of time.
	first, next, end int64
	dropped          uint64
	marks            []mark
}

// A mark says up to where points had been sent at a time.
type mark struct {
	at   time.Time
	upto int64
}

const smallest = 1024

func newRing(most int) *ring {
	return &ring{points: make([]sample.Point, min(smallest, most)), most: most}
}

func (r *ring) place(i int64) *sample.Point { return &r.points[i%int64(len(r.points))] }

// push takes points; dropped counts those that waited and wait no more.
func (r *ring) push(points []sample.Point) {
	for _, p := range points {
		if int(r.end-r.first) == len(r.points) && !r.grow() {
			if r.next == r.first {
				r.next++
				r.dropped++
			}
			r.first++
		}
		*r.place(r.end) = p
		r.end++
	}
}

// grow doubles the ring within its bound.
func (r *ring) grow() bool {
	if len(r.points) >= r.most {
		return false
	}
	wider := make([]sample.Point, min(2*len(r.points), r.most))
	for i := r.first; i < r.end; i++ {
		wider[i%int64(len(wider))] = *r.place(i)
	}
	r.points = wider
	return true
}

// take copies the next ones that wait.
func (r *ring) take(into []sample.Point) []sample.Point {
	into = into[:0]
	for i := r.next; i < r.end && len(into) < cap(into); i++ {
		into = append(into, *r.place(i))
	}
	return into
}

// sent says that everything before upto has been written. A ring that was full in the meantime is further on already.
func (r *ring) sent(upto int64, now time.Time) {
	if upto > r.next {
		r.next = upto
		r.marks = append(r.marks, mark{now, upto})
	}
}

// confirm lets go of what was sent longer ago than hold.
func (r *ring) confirm(now time.Time, hold time.Duration) {
	n := 0
	for n < len(r.marks) && now.Sub(r.marks[n].at) > hold {
		for r.first < r.marks[n].upto {
			*r.place(r.first) = sample.Point{} // its path may be nobody's any more
			r.first++
		}
		n++
	}
	r.marks = append(r.marks[:0], r.marks[n:]...)
}

// rewind makes all that is not confirmed wait again, and says how many.
func (r *ring) rewind() int64 {
	n := r.next - r.first
	r.next, r.marks = r.first, r.marks[:0]
	return n
}

func (r *ring) waiting() int64 { return r.end - r.next }
