// Package rollout says what the update of one service does and what to do next: from what was remembered when the spec
// was written and one look at Swarm comes a state, an act and, if it fails, the first cause.
// It knows no Swarm client, no clock and no goroutine: whoever watches looks again and again, keeps the memory that comes
// back, and carries out the act. Everything but the memory is read from Swarm afresh, so a manager that was restarted
// goes on where it was.
package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/spec"
)

// State is how an update stands.
type State string

// An update is progressing until it ends as one of the others.
const (
	Progressing State = "progressing"
	Succeeded   State = "succeeded"
	RolledBack  State = "rolled_back" // the old release runs again, and was seen to
	Paused      State = "paused"      // it failed, and the project wants a person to decide
	TimedOut    State = "timed_out"   // no progress, and nothing to go back to or nobody wants to
	Failed      State = "failed"
)

// Ended says that nothing more will happen by itself.
func (s State) Ended() bool { return s != Progressing }

// Act is what whoever watches has to do now.
type Act string

// The acts. WriteOld may come more than once: it is done when Swarm shows the old spec.
const (
	Wait     Act = "wait"
	WriteOld Act = "write_old" // write what Back gives
	Done     Act = "done"
)

// Memory is what must survive from one look to the next, and a restart of the manager. Begin makes it; Look gives it back
// changed. If the newest is lost and an older one is used, an update is at worst given one more deadline.
type Memory struct {
	Service   string            `json:"service"` // full name, for texts
	New       spec.Mark         `json:"new"`     // of the spec that was written
	Old       *spec.Mark        `json:"old,omitempty"`
	Wanted    int               `json:"wanted"` // tasks asked for when it was written; -1: one a node
	Version   uint64            `json:"version"`
	Hold      time.Duration     `json:"hold"`     // how long all must stand where Swarm's updater does not watch
	Deadline  time.Duration     `json:"deadline"` // without progress for so long, it has failed
	OnFailure project.OnFailure `json:"onFailure"`
	Started   time.Time         `json:"started"`

	Back       bool      `json:"back,omitempty"`     // on the way back to the old spec
	BySwarm    bool      `json:"bySwarm,omitempty"`  // Swarm went back by itself, by a setting that somebody made
	TimedOut   bool      `json:"timedOut,omitempty"` // the way back began for lack of progress
	Cause      string    `json:"cause,omitempty"`    // the first thing that went wrong
	Failing    *Failing  `json:"failing,omitempty"`
	Score      int       `json:"score"`
	Progressed time.Time `json:"progressed"`
	Standing   time.Time `json:"standing"` // since when all tasks stand; zero: they do not
}

// Failing is the task that shows what went wrong.
type Failing struct {
	TaskID      string          `json:"taskId"`
	Slot        int             `json:"slot"`
	NodeID      string          `json:"nodeId,omitempty"`
	ContainerID string          `json:"containerId,omitempty"` // for its last lines
	State       swarm.TaskState `json:"state"`
	Err         string          `json:"err,omitempty"`
	ExitCode    *int            `json:"exitCode,omitempty"`
	Check       string          `json:"check,omitempty"` // how its health check failed, where somebody has asked the node
}

// Written is what begins a rollout: one write of one service.
type Written struct {
	Spec      swarm.ServiceSpec  // as written
	Before    *swarm.ServiceSpec // what ran before; nil: the service is new
	Version   uint64             // as the write left it; UpdateStatus moves it on, so it is kept for people only
	Rollout   project.Rollout
	StartedAt time.Time
}

// Begin makes the memory of an update that has just been written.
func Begin(w Written) Memory {
	m := Memory{
		Service: w.Spec.Name, New: spec.MarkOf(w.Spec.TaskTemplate), Wanted: wanted(w.Spec), Version: w.Version,
		Hold: monitor(w.Spec), Deadline: w.Rollout.Deadline + rest(w.Spec), OnFailure: w.Rollout.OnFailure,
		Started: w.StartedAt, Score: math.MinInt, Progressed: w.StartedAt,
	}
	if w.Before != nil {
		old := spec.MarkOf(w.Before.TaskTemplate)
		m.Old = &old
	}
	return m
}

// Back is what a rollback writes: the spec before with the count of now, since a count is not part of a release. Whoever
// writes it seals it first (spec.Seal).
func Back(before, now swarm.ServiceSpec) swarm.ServiceSpec {
	back := before
	if now.Mode.Replicated != nil && before.Mode.Replicated != nil {
		back.Mode = now.Mode
	}
	return back
}

// wanted is how many tasks a spec asks for; -1: one a node.
func wanted(s swarm.ServiceSpec) int {
	switch {
	case s.Mode.Global != nil:
		return -1
	case s.Mode.Replicated != nil && s.Mode.Replicated.Replicas != nil:
		return int(*s.Mode.Replicated.Replicas)
	}
	return 1
}

func monitor(s swarm.ServiceSpec) time.Duration {
	if s.UpdateConfig == nil || s.UpdateConfig.Monitor == 0 {
		return spec.DefaultMonitor
	}
	return s.UpdateConfig.Monitor
}

// rest is how long Swarm's updater stands still by itself between two tasks: no lack of progress.
func rest(s swarm.ServiceSpec) time.Duration {
	if s.UpdateConfig == nil {
		return 0
	}
	return max(s.UpdateConfig.Delay, monitor(s))
}

// Observation is one look at Swarm.
type Observation struct {
	Now     time.Time
	Service *swarm.Service // nil: there is none of that id
	Tasks   []swarm.Task   // all of the service's, ended ones too
}

// Verdict is what one look says.
type Verdict struct {
	State   State
	Act     Act
	Reason  string   // for a person; once ended or on the way back, the first cause
	Failing *Failing // the task that shows it, if one does
	Running int      // new tasks that run; on the way back, old ones
	Wanted  int      // -1: one a node
	Others  int      // tasks of another version that are still meant to run
}

func (v Verdict) String() string {
	of := fmt.Sprint(v.Wanted)
	if v.Wanted < 0 {
		of = "every node's"
	}
	s := fmt.Sprintf("%s: %d of %s running, %d others", v.State, v.Running, of, v.Others)
	if v.Reason != "" {
		s += ": " + v.Reason
	}
	return s
}
