package drain

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

// TestEachDrainedContainerGetsExactlyOneSIGTERM: whatever effect an agent is killed at, and however often, each container
// that runs on gets one SIGTERM, not before its drain is over, and not long after it if an agent lives then.
func TestEachDrainedContainerGetsExactlyOneSIGTERM(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		type container struct{ asked, drain int }
		containers := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) container {
			return container{rapid.IntRange(0, 20).Draw(r, "asked"), rapid.IntRange(0, 15).Draw(r, "drain")}
		}), 1, 5).Draw(r, "containers")
		type life struct {
			steps, gap int
			after      bool
		}
		lives := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) life {
			return life{rapid.IntRange(0, 40).Draw(r, "steps"), rapid.IntRange(0, 4).Draw(r, "gap"), rapid.Bool().Draw(r, "after")}
		}), 0, 6).Draw(r, "lives")

		var problems []string
		synctest.Test(t, func(*testing.T) {
			n := newNode()
			start := time.Now().Add(time.Second)
			for i, c := range containers {
				id := fmt.Sprint("c", i)
				n.happen(id, stops.Began, "")
				go func() {
					time.Sleep(time.Until(start) + time.Duration(c.asked)*time.Second)
					n.happen(id, stops.Asked, (time.Duration(c.drain) * time.Second).String())
				}()
			}
			for _, l := range lives {
				a, _ := n.live(context.Background(), l.steps, l.after)
				for range 10 { // one that does not die of its steps is killed after 10 s
					time.Sleep(time.Second)
					a.mu.Lock()
					dead := a.dead
					a.mu.Unlock()
					if dead {
						break
					}
				}
				a.mu.Lock()
				a.dead = true
				a.mu.Unlock()
				a.end()
				time.Sleep(time.Duration(l.gap) * time.Second)
			}
			last := time.Now()
			a, over := n.live(context.Background(), -1, false)
			time.Sleep(40 * time.Second)
			a.end()
			<-over
			for i, c := range containers {
				due := start.Add(time.Duration(c.asked+c.drain) * time.Second)
				got := n.termsOf(fmt.Sprint("c", i))
				switch {
				case len(got) != 1:
					problems = append(problems, fmt.Sprintf("c%d (asked %d, drain %d): %d SIGTERMs", i, c.asked, c.drain, len(got)))
				case got[0].Before(due):
					problems = append(problems, fmt.Sprintf("c%d: SIGTERM %s too early", i, due.Sub(got[0])))
				case got[0].After(due.Add(time.Second)) && got[0].After(last.Add(time.Second)):
					problems = append(problems, fmt.Sprintf("c%d: SIGTERM %s late", i, got[0].Sub(due)))
				}
			}
			time.Sleep(2 * endWithin) // the dead agents' loops end
		})
		if len(problems) > 0 {
			r.Fatalf("%q", problems)
		}
	})
}
