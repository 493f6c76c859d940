// Package liveness decides whether a neighbour's node is there. It knows questions that a kernel answers and how many of
// them may stay unanswered, and the sessions of BFD (RFC 5880) that routers want. It knows no socket, no BGP and no
// clock: answers and the time come in, verdicts and packets go out.
package liveness

import (
	"net/netip"
	"slices"
	"time"
)

// Settings are how often a kernel is asked, and how many answers in a row must be missing before its node is silent.
type Settings struct {
	Every  time.Duration
	Misses int
}

const (
	// mistake: no machine that lost its power answers again so soon. One that does was only cut off for a moment, and
	// is given more patience from then on.
	mistake = 5 * time.Second
	// most patience, in multiples of the settings'.
	mostPatience = 8
	// calm: after so long without a silence the patience halves.
	calm = 10 * time.Minute
)

// Verdict is a change of mind about a neighbour.
type Verdict struct {
	Address netip.Addr
	Alive   bool
	Misses  int // answers that were missing, for a silent one
}

// Seen is how it stands with a neighbour, for people.
type Seen struct {
	Address  netip.Addr `json:"address"`
	State    string     `json:"state"` // unanswered: never heard, so nothing is concluded; alive; silent
	Silences int        `json:"silences"`
	Patience int        `json:"patience"` // misses in a row that make it silent
}

type watched struct {
	state    state
	answered bool // since the last question
	missed   int
	patience int // in multiples of the settings'
	silences int
	since    time.Time // of the last silence, or of the last change of patience
}

type state int

const (
	unanswered state = iota
	alive
	silent
)

func (s state) String() string { return [...]string{"unanswered", "alive", "silent"}[s] }

// Watch holds the neighbours that are asked.
type Watch struct {
	settings Settings
	last     time.Time
	all      map[netip.Addr]*watched
}

// NewWatch watches nobody yet.
func NewWatch(s Settings) *Watch { return &Watch{settings: s, all: map[netip.Addr]*watched{}} }

// Follow says who is watched from now on. What is known of those who stay is kept.
func (w *Watch) Follow(all []netip.Addr) {
	for a := range w.all {
		if !slices.Contains(all, a) {
			delete(w.all, a)
		}
	}
	for _, a := range all {
		if w.all[a] == nil {
			w.all[a] = &watched{patience: 1}
		}
	}
}

// Heard takes an answer.
func (w *Watch) Heard(a netip.Addr) {
	if n := w.all[a]; n != nil {
		n.answered = true
	}
}

// Tick counts the answers to the questions of the last one, all of which have been given to Heard; new questions are to
// be sent after it. A tick that comes late counts nothing as missing: this process, or the whole machine, stood still,
// and so may have what would have brought the answers.
func (w *Watch) Tick(now time.Time) []Verdict {
	late := w.last.IsZero() || now.Sub(w.last) > 2*w.settings.Every
	w.last = now
	var verdicts []Verdict
	for a, n := range w.all {
		switch {
		case n.answered:
			if n.state != alive {
				if n.state == silent {
					n.learn(now)
				}
				n.state = alive
				verdicts = append(verdicts, Verdict{Address: a, Alive: true})
			}
			n.missed = 0
			n.relax(now)
		case n.state != alive || late:
		default:
			if n.missed++; n.missed >= n.patience*w.settings.Misses {
				n.state, n.since = silent, now
				n.silences++
				verdicts = append(verdicts, Verdict{Address: a, Misses: n.missed})
			}
		}
		n.answered = false
	}
	slices.SortFunc(verdicts, func(a, b Verdict) int { return a.Address.Compare(b.Address) })
	return verdicts
}

// learn gives a neighbour that was judged too early more patience.
func (n *watched) learn(now time.Time) {
	if now.Sub(n.since) < mistake {
		n.patience = min(2*n.patience, mostPatience)
	}
	n.since = now
}

func (n *watched) relax(now time.Time) {
	if n.patience > 1 && now.Sub(n.since) >= calm {
		n.patience /= 2
		n.since = now
	}
}

// Seen tells of all, sorted by address.
func (w *Watch) Seen() []Seen {
	var all []Seen
	for a, n := range w.all {
		all = append(all, Seen{Address: a, State: n.state.String(), Silences: n.silences, Patience: n.patience * w.settings.Misses})
	}
	slices.SortFunc(all, func(a, b Seen) int { return a.Address.Compare(b.Address) })
	return all
}
