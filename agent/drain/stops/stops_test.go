package stops

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(seconds float64) time.Time {
	return time.Unix(1_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

// say writes events as text, such as "1 a asked 20s": seconds, container, what, and the label.
func say(t *testing.T, text string) Stops {
	t.Helper()
	s := Of(nil)
	for line := range strings.SplitSeq(text, ",") {
		var seconds float64
		var e Event
		n, _ := fmt.Sscan(line, &seconds, &e.Container, &e.What, &e.Drain)
		if n < 3 {
			t.Fatalf("%q is no event", line)
		}
		e.At = at(seconds)
		s = s.Next(e)
	}
	return s
}

func names(all []Stop) string {
	var ids []string
	for _, one := range all {
		ids = append(ids, one.Container)
	}
	return strings.Join(ids, " ")
}

func TestSIGTERMIsDueWhenTheDrainIsOver(t *testing.T) {
	for _, c := range []struct {
		name, events string
		now          float64
		due, pending string
	}{
		{"a container is let alone during its drain", "1 a asked 20s", 20.9, "", "a"},
		{"it is due when the drain is over", "1 a asked 20s", 21, "a", "a"},
		{"it stays due", "1 a asked 20s", 500, "a", "a"},
		{"without a label it is due at once", "1 a asked", 1, "a", "a"},
		{"a label that is no time is due at once", "1 a asked soon", 1, "a", "a"},
		{"a negative drain is due at once", "1 a asked -5s", 1, "a", "a"},
		{"a drain of days is due at once", "1 a asked 48h", 1, "a", "a"},
		{"a second SIGURG does not begin again", "1 a asked 20s,15 a asked 20s", 21, "a", "a"},
		{"one that got its SIGTERM is done", "1 a asked 20s,21 a terminated", 30, "", ""},
		{"a SIGTERM by hand counts", "1 a asked 20s,5 a terminated", 21, "", ""},
		{"and a further SIGURG asks for none", "1 a asked 1s,2 a terminated,3 a asked 1s", 9, "", ""},
		{"a SIGTERM before the stop counts for nothing", "1 a terminated,2 a asked 1s", 9, "a", "a"},
		{"one that ended is forgotten", "1 a asked 20s,2 a ended", 30, "", ""},
		{"one that was started again may be stopped again", "1 a asked 1s,2 a terminated,3 a ended,4 a began,5 a asked 1s", 6, "a", "a"},
		{"a start alone begins a new life", "1 a asked 1s,2 a terminated,4 a began,5 a asked 1s", 6, "a", "a"},
		{"SIGKILL alone changes nothing, the end follows", "1 a asked 1s,2 a killed", 2, "a", "a"},
		{"each has its own drain", "1 a asked 20s,2 b asked 5s,3 c asked", 7, "c b", "a b c"},
		{"a clock that was set back stretches no drain", "100 a asked 20s", 50, "a", "a"},
		{"a clock that is a little behind does not cut one short", "100 a asked 20s", 99, "", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := say(t, c.events)
			if got := names(s.Due(at(c.now))); got != c.due {
				t.Errorf("due: %q, want %q", got, c.due)
			}
			if got := names(s.Pending()); got != c.pending {
				t.Errorf("pending: %q, want %q", got, c.pending)
			}
			if again := Of(s.List()); !again.Equal(s) {
				t.Errorf("the record %v does not bring back %v", again.List(), s.List())
			}
		})
	}
}

func TestTheNextWakeIsTheFirstDrainsEnd(t *testing.T) {
	if when, waits := say(t, "1 a asked 20s,2 b asked 5s").Wake(); !waits || !when.Equal(at(7)) {
		t.Errorf("got %v, %t", when, waits)
	}
	if _, waits := say(t, "1 a asked 1s,2 a terminated").Wake(); waits {
		t.Error("it waits for a container that has had its SIGTERM")
	}
}

func TestAKillBeforeTheSIGTERMIsNoticed(t *testing.T) {
	kill := Event{Container: "a", What: Killed, At: at(9)}
	if !say(t, "1 a asked 20s").Cut(kill) {
		t.Error("a kill in the drain was not noticed")
	}
	if say(t, "1 a asked 1s,2 a terminated").Cut(kill) {
		t.Error("a kill after the SIGTERM was taken for one before")
	}
	if Of(nil).Cut(kill) {
		t.Error("a kill of a container that is not stopped was noticed")
	}
}

func events(t *rapid.T) []Event {
	what := rapid.SampledFrom([]Happening{Asked, Terminated, Killed, Began, Ended})
	n := rapid.IntRange(0, 30).Draw(t, "events")
	var all []Event
	for i := range n {
		all = append(all, Event{
			Container: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "container"), What: what.Draw(t, "what"),
			At: at(float64(i)), Drain: rapid.SampledFrom([]string{"", "1s", "20s", "x"}).Draw(t, "drain"),
		})
	}
	return all
}

func TestReadingEventsAgainChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := events(t)
		s := Of(nil)
		for _, e := range all {
			s = s.Next(e)
		}
		from := rapid.IntRange(0, len(all)).Draw(t, "from")
		again := Of(s.List())
		for _, e := range all[from:] {
			again = again.Next(e)
		}
		// When a drain begins is what the first of several SIGURGs says; a replay that misses the first must not move it.
		if !again.Equal(s) {
			t.Fatalf("%v\nread from %d on again: %v\nwant %v", all, from, again.List(), s.List())
		}
	})
}

func TestNothingIsDueBeforeItsDrainAndEverythingAfter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Of(nil)
		for _, e := range events(t) {
			s = s.Next(e)
		}
		now := at(rapid.Float64Range(30, 60).Draw(t, "now"))
		due := s.Due(now)
		for _, one := range s.Pending() {
			if over := !now.Before(one.Due()); over != slices.ContainsFunc(due, func(d Stop) bool { return d.Container == one.Container }) {
				t.Fatalf("at %v %v is over: %t, due are %v", now, one, over, due)
			}
		}
		if slices.ContainsFunc(due, func(d Stop) bool { return d.Sent }) {
			t.Fatalf("%v are due though they had their SIGTERM", due)
		}
	})
}
