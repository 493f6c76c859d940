package drain

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/agent/drain/stops"
)

// inBubble runs the story with a clock that stands still while anything happens.
func inBubble(t *testing.T, story func(t *testing.T, n *node, live func() (kill func(), end func()))) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		live := func() (func(), func()) {
			a, over := n.live(context.Background(), -1, false)
			synctest.Wait()
			kill := func() {
				a.mu.Lock()
				a.dead = true
				a.mu.Unlock()
				a.end()
			}
			return kill, func() { a.end(); <-over }
		}
		story(t, n, live)
		time.Sleep(2 * endWithin) // the loops of dead agents end
	})
}

// want compares the SIGTERMs with the seconds that they are wanted at.
func want(t *testing.T, n *node, start time.Time, id string, seconds ...float64) {
	t.Helper()
	var got []float64
	for _, at := range n.termsOf(id) {
		got = append(got, at.Sub(start).Seconds())
	}
	if !slices.EqualFunc(got, seconds, func(a, b float64) bool { return a-b < 0.05 && b-a < 0.05 }) {
		t.Errorf("SIGTERM to %s after %v s, want %v", id, got, seconds)
	}
}

func TestTheSignalComesAfterTheDrain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
		n.plain["handmade"] = true
		for _, id := range []string{"web", "none", "wrong", "handmade", "short"} {
			n.happen(id, stops.Began, "")
		}
		time.Sleep(time.Second)
		_, end := live()
		start := time.Now()
		n.happen("web", stops.Asked, "6s")
		n.happen("none", stops.Asked, "")
		n.happen("wrong", stops.Asked, "six seconds")
		n.happen("handmade", stops.Asked, "6s")
		n.happen("short", stops.Asked, "6s")
		time.Sleep(2 * time.Second)
		n.happen("short", stops.Ended, "")
		time.Sleep(20 * time.Second)
		want(t, n, start, "web", 6)
		want(t, n, start, "none", 0)
		want(t, n, start, "wrong", 0)
		want(t, n, start, "handmade") // a SIGURG is no stop there
		want(t, n, start, "short")    // it has ended by itself
		end()
	})
}

func TestASuccessorCatchesUp(t *testing.T) {
	t.Run("with a drain that its predecessor knew of", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			kill, _ := live()
			start := time.Now()
			n.happen("web", stops.Asked, "6s")
			time.Sleep(2 * time.Second)
			kill()
			n.events = nil // the engine has forgotten
			time.Sleep(2 * time.Second)
			_, end := live()
			time.Sleep(10 * time.Second)
			want(t, n, start, "web", 6)
			end()
		})
	})
	t.Run("at once with one that is over", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			start := time.Now()
			n.happen("web", stops.Asked, "6s")
			time.Sleep(9 * time.Second)
			_, end := live()
			want(t, n, start, "web", 9)
			end()
		})
	})
	t.Run("and is not misled by a container that was started again while nobody looked", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			start := time.Now()
			n.kept = []stops.Stop{{Container: "web", Asked: start.Add(-time.Hour), Sent: true}}
			n.events = nil // the engine has forgotten its end and its start
			n.happen("web", stops.Asked, "6s")
			_, end := live()
			time.Sleep(10 * time.Second)
			want(t, n, start, "web", 6)
			end()
		})
	})
}

func TestAnAgentThatIsToldToEnd(t *testing.T) {
	t.Run("waits for the drains", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			_, end := live()
			start := time.Now()
			n.happen("web", stops.Asked, "20s")
			time.Sleep(time.Second)
			end()
			want(t, n, start, "web", 20)
			if stayed := time.Since(start); stayed > 21*time.Second {
				t.Errorf("it stayed for %s", stayed)
			}
		})
	})
	t.Run("sees a stop that comes after its own, as when a node is drained", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			_, end := live()
			start := time.Now()
			go func() { time.Sleep(2 * time.Second); n.happen("web", stops.Asked, "10s") }()
			end()
			want(t, n, start, "web", 12)
		})
	})
	t.Run("sends at once what would be left", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			_, end := live()
			start := time.Now()
			n.happen("web", stops.Asked, "10m")
			end()
			want(t, n, start, "web", endWithin.Seconds())
		})
	})
	t.Run("does not stay for an engine that is gone", func(t *testing.T) {
		inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
			n.happen("web", stops.Began, "")
			time.Sleep(time.Second)
			_, end := live()
			start := time.Now()
			n.happen("web", stops.Asked, "10s")
			synctest.Wait()
			n.mu.Lock()
			n.refuse = true
			n.mu.Unlock()
			end()
			if stayed := time.Since(start); stayed > endWithin+5*time.Second {
				t.Errorf("it stayed for %s", stayed)
			}
		})
	})
}

func TestAnEngineThatDoesNotAnswerIsAskedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *node, live func() (func(), func())) {
		n.happen("web", stops.Began, "")
		time.Sleep(time.Second)
		n.refuse = true
		_, end := live()
		start := time.Now()
		n.happen("web", stops.Asked, "3s")
		time.Sleep(7500 * time.Millisecond)
		n.mu.Lock()
		n.refuse = false
		n.mu.Unlock()
		time.Sleep(3 * time.Second)
		if got := n.termsOf("web"); len(got) != 1 || got[0].Sub(start) > 9*time.Second {
			t.Errorf("SIGTERM at %v", got)
		}
		end()
	})
}
