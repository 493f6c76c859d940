// Package stops decides which container gets its SIGTERM when. A container whose stop signal is SIGURG is asked to end by a
// signal that it does not notice; it goes on for the time of its label rolling.drain, and then the real signal is due.
// It knows an engine's events and the time, both given to it. It knows no engine, no file and no clock.
//
// Reading events twice changes nothing, as long as they come in the engine's order, and nothing is forgotten while they are
// read again: so a restarted agent reads the last hour instead of keeping count of what it has seen.
package stops

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Happening is what an event says of a container.
type Happening string

// The happenings that matter here.
const (
	Asked      Happening = "asked"      // it was sent SIGURG: a stop begins
	Terminated Happening = "terminated" // it was sent SIGTERM, by us or by anybody
	Killed     Happening = "killed"     // it was sent SIGKILL
	Began      Happening = "began"      // it started
	Ended      Happening = "ended"      // its process is gone
)

// An Event is one line of an engine's events.
type Event struct {
	Container string
	What      Happening
	At        time.Time
	Drain     string // the label rolling.drain, "" if it has none
	Name      string // for a person
}

// A Stop is a container that was asked to end and has not ended yet.
type Stop struct {
	Container string        `json:"container"`
	Name      string        `json:"name,omitempty"`
	Asked     time.Time     `json:"asked"`
	Drain     time.Duration `json:"drain"`
	Sent      bool          `json:"sent,omitempty"` // SIGTERM was
}

// Due is when the SIGTERM is.
func (s Stop) Due() time.Time { return s.Asked.Add(s.Drain) }

// Stops are all of a node, by the container's id. Its methods leave it as it is and return what comes next.
type Stops struct {
	by map[string]Stop
}

// Of makes Stops of what was recorded.
func Of(recorded []Stop) Stops {
	s := Stops{by: map[string]Stop{}}
	for _, one := range recorded {
		if one.Container != "" {
			s.by[one.Container] = one
		}
	}
	return s
}

// List is the record of it, in a fixed order.
func (s Stops) List() []Stop {
	return slices.SortedFunc(maps.Values(s.by), func(a, b Stop) int {
		if c := a.Asked.Compare(b.Asked); c != 0 {
			return c
		}
		return strings.Compare(a.Container, b.Container)
	})
}

// MaxDrain is the longest that is waited. A task's stop ends within 55 s; a container started by hand may take longer.
const MaxDrain = time.Hour

// Drain reads the label. Without one, or with one that is no time, nothing is waited: a container must never lose its
// SIGTERM to a spelling mistake. The second is whether the label is to be complained of.
func Drain(label string) (time.Duration, bool) {
	if label == "" {
		return 0, false
	}
	d, err := time.ParseDuration(label)
	if err != nil || d < 0 || d > MaxDrain {
		return 0, true
	}
	return d, false
}

// Next takes an event in.
func (s Stops) Next(e Event) Stops {
	known, is := s.by[e.Container]
	is = is && !e.At.Before(known.Asked) // older news is of a former life of the container, read once more
	switch {
	case e.What == Asked && known.Container == "":
		drain, _ := Drain(e.Drain)
		return s.with(Stop{Container: e.Container, Name: e.Name, Asked: e.At, Drain: drain})
	case e.What == Terminated && is:
		return s.Sent(e.Container)
	case (e.What == Began || e.What == Ended) && is:
		return s.Without(e.Container)
	}
	// A second SIGURG is the same stop; a SIGKILL is followed by the end.
	return s
}

// Cut says whether the event is the SIGKILL of a container that has not had its SIGTERM: its grace period is not longer
// than its drain.
func (s Stops) Cut(e Event) bool {
	known, is := s.by[e.Container]
	return is && e.What == Killed && !known.Sent
}

// Sent notes that the container got its SIGTERM.
func (s Stops) Sent(container string) Stops {
	known, is := s.by[container]
	if !is {
		return s
	}
	known.Sent = true
	return s.with(known)
}

// Has says whether the stop is still the one that is known of its container.
func (s Stops) Has(one Stop) bool {
	known, is := s.by[one.Container]
	return is && known.Asked.Equal(one.Asked)
}

// Without forgets a container.
func (s Stops) Without(container string) Stops {
	next := Stops{by: maps.Clone(s.by)}
	delete(next.by, container)
	return next
}

func (s Stops) with(one Stop) Stops {
	next := Stops{by: maps.Clone(s.by)}
	if next.by == nil {
		next.by = map[string]Stop{}
	}
	next.by[one.Container] = one
	return next
}

// setBack is how far the clock may seem to have run backwards before a drain is no longer waited for: events bear the same
// clock's time, so more than this means that it was set, and waiting on could outlast the grace period.
const setBack = 2 * time.Second

// Due are the stops whose SIGTERM is to be sent now, the longest overdue first.
func (s Stops) Due(now time.Time) []Stop {
	var due []Stop
	for _, one := range s.List() {
		if !one.Sent && (!now.Before(one.Due()) || one.Asked.Sub(now) > setBack) {
			due = append(due, one)
		}
	}
	slices.SortStableFunc(due, func(a, b Stop) int { return a.Due().Compare(b.Due()) })
	return due
}

// Wake is when Due may say more than now; false if nothing is waited for.
func (s Stops) Wake() (time.Time, bool) {
	var first time.Time
	for _, one := range s.by {
		if !one.Sent && (first.IsZero() || one.Due().Before(first)) {
			first = one.Due()
		}
	}
	return first, !first.IsZero()
}

// Pending are the stops that wait for their SIGTERM.
func (s Stops) Pending() []Stop {
	return slices.DeleteFunc(s.List(), func(one Stop) bool { return one.Sent })
}

// Equal says whether two hold the same.
func (s Stops) Equal(o Stops) bool {
	return maps.EqualFunc(s.by, o.by, func(a, b Stop) bool {
		return a.Asked.Equal(b.Asked) && a.Drain == b.Drain && a.Sent == b.Sent && a.Name == b.Name
	})
}
