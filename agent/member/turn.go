package member

import "time"

const (
	// freshFor is how long a decision may raise its version above one that it finds: longer than a push takes, shorter
	// than a second leader can be at work unnoticed.
	freshFor = 2 * time.Second

	// patience is how long an overtaken agent waits before it insists: a Swarm leader that lost its majority steps down
	// within 10 s, so whoever is still the leader by then is the only one.
	patience = 15 * time.Second
)

// A Stamp says which decision a registry holds, and whose it is.
type Stamp struct {
	Version int64  `json:"version"` // microseconds since 1970, raised where a clock lags behind
	By      string `json:"by"`
}

// A Decision is a set to be registered, made by one agent at one moment.
type Decision struct {
	Set
	Swarm   string    // marks what is ours where several Swarms share a registry
	By      string    // the node whose agent decided
	At      time.Time // when
	Changed time.Time // when Swarm recorded the change behind it; zero if it is no task's
}

// A Turn decides, for one registry, whether an agent may write. Two agents can believe that they lead for some seconds,
// but the view of the one that was deposed stands still: it has no new decision, so it yields to a newer one.
type Turn struct {
	mine      Stamp
	decided   time.Time
	overtaken time.Time
	seen      int64
}

// Decide starts the turn of a new decision.
func (t *Turn) Decide(by string, at time.Time) {
	t.mine = Stamp{Version: max(at.UnixMicro(), t.seen+1), By: by}
	t.decided, t.overtaken = at, time.Time{}
}

// Mine is the stamp to write with.
func (t *Turn) Mine() Stamp { return t.mine }

// A Verdict is what a Turn says of a registry's stamp.
type Verdict int

const (
	InStep    Verdict = iota // the registry holds our decision
	Write                    // write ours, with Mine
	Overtaken                // another agent decided later: leave it
)

// Judge compares the stamp that a registry holds with our decision; if the verdict is Write, Mine is above current.
func (t *Turn) Judge(current Stamp, now time.Time) Verdict {
	t.seen = max(t.seen, current.Version)
	switch {
	case current == t.mine:
		t.overtaken = time.Time{}
		return InStep
	case current.Version < t.mine.Version:
		t.overtaken = time.Time{}
		return Write
	case now.Sub(t.decided) < freshFor, !t.overtaken.IsZero() && now.Sub(t.overtaken) >= patience:
		t.mine.Version, t.overtaken = current.Version+1, time.Time{}
		return Write
	}
	if t.overtaken.IsZero() {
		t.overtaken = now
	}
	return Overtaken
}

// A Standing is how far one registry is behind what was decided.
type Standing struct {
	Target   string        `json:"target"`
	InStep   bool          `json:"inStep"`
	Version  int64         `json:"version"`
	Since    time.Time     `json:"since"` // of InStep, or of its opposite
	Error    string        `json:"error,omitempty"`
	Lag      time.Duration `json:"lagNanoseconds"` // from the change in Swarm to the registry, at the last decision that had one
	Writes   uint64        `json:"writes"`
	Failures uint64        `json:"failures"`
}
