package graphite

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

func points(from, n int) []sample.Point {
	all := make([]sample.Point, n)
	for i := range all {
		all[i] = sample.Point{Path: "p", At: int64(from + i)}
	}
	return all
}

// TestTheRingAgainstAPlainList compares with a model that keeps everything and counts.
func TestTheRingAgainstAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 50).Draw(t, "most")
		r := newRing(most)
		var kept []int64 // sent and kept, then waiting
		sent, dropped, next, now := 0, 0, 0, 0
		var marks [][2]int // when, how many of kept
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				n := rapid.IntRange(0, 30).Draw(t, "n")
				r.push(points(next, n))
				for range n {
					kept = append(kept, int64(next))
					next++
					if len(kept) > most {
						if sent == 0 {
							dropped++
						} else {
							sent--
						}
						kept = kept[1:]
						for i := range marks {
							marks[i][1]--
						}
					}
				}
			},
			"send": func(t *rapid.T) {
				got := r.take(make([]sample.Point, 0, rapid.IntRange(1, 20).Draw(t, "chunk")))
				for i, p := range got {
					if p.At != kept[sent+i] {
						t.Fatalf("takes %d, want %d", p.At, kept[sent+i])
					}
				}
				if len(got) > 0 {
					r.sent(r.next+int64(len(got)), time.Unix(int64(now), 0))
					sent += len(got)
					marks = append(marks, [2]int{now, sent})
				}
			},
			"wait": func(t *rapid.T) {
				now += rapid.IntRange(0, 40).Draw(t, "seconds")
				r.confirm(time.Unix(int64(now), 0), 30*time.Second)
				gone := 0
				for len(marks) > 0 && now-marks[0][0] > 30 {
					gone = max(gone, marks[0][1])
					marks = marks[1:]
				}
				kept, sent = kept[gone:], sent-gone
				for i := range marks {
					marks[i][1] -= gone
				}
			},
			"break": func(t *rapid.T) {
				if n := r.rewind(); n != int64(sent) {
					t.Fatalf("%d wait again, want %d", n, sent)
				}
				sent, marks = 0, nil
			},
			"": func(t *rapid.T) {
				if got, want := fmt.Sprint(r.waiting(), r.end-r.first, r.dropped), fmt.Sprint(len(kept)-sent, len(kept), dropped); got != want {
					t.Fatalf("waiting, kept, dropped: %s, want %s", got, want)
				}
			},
		})
	})
}
