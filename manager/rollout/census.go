package rollout

import (
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/spec"
)

// census counts the tasks of a service by one mark: those that have it are new, all others are not.
type census struct {
	wanted  int // -1: one a node
	running int // new, meant to run, and do
	meant   int // new, and meant to run
	others  int // not new, and meant to run

	slots   map[string]*slot
	failed  *swarm.Task // the new task that failed first
	waiting *swarm.Task // a new one that has not come to run
}

// slot is what the new tasks of one slot (or of one node) have come to.
type slot struct {
	best     int // rank of the furthest live one
	failures int
	last     *swarm.Task
}

func take(o Observation, mark spec.Mark, isNew bool) census {
	c := census{wanted: wanted(o.Service.Spec), slots: map[string]*slot{}}
	since := began(o.Service, isNew)
	for i := range o.Tasks {
		t := &o.Tasks[i]
		meant := t.DesiredState == swarm.TaskStateRunning
		if spec.MarkOf(t.Spec) != mark {
			if meant {
				c.others++
			}
			continue
		}
		s := c.slots[slotOf(t)]
		if s == nil {
			s = &slot{}
			c.slots[slotOf(t)] = s
		}
		switch {
		case broke(t) && !t.CreatedAt.Before(since): // earlier ones are of another time when this release ran
			s.failures++
			s.last = t
			if c.failed == nil || t.Status.Timestamp.Before(c.failed.Status.Timestamp) {
				c.failed = t
			}
		case rank(t.Status.State) > 0 && rank(t.DesiredState) > 0:
			s.best = max(s.best, rank(t.Status.State))
			if t.Status.State != swarm.TaskStateRunning && (c.waiting == nil || rank(t.Status.State) < rank(c.waiting.Status.State)) {
				c.waiting = t
			}
		}
		if meant {
			c.meant++
			if t.Status.State == swarm.TaskStateRunning {
				c.running++
			}
		}
	}
	return c
}

// began is when the update began by the leader's own clock, which also stamps tasks: the manager's may differ. Without an
// UpdateStatus nothing has touched the service since the write.
func began(s *swarm.Service, isNew bool) time.Time {
	switch {
	case s.UpdateStatus != nil && s.UpdateStatus.StartedAt != nil:
		return *s.UpdateStatus.StartedAt
	case isNew:
		return s.CreatedAt
	}
	return s.UpdatedAt
}

func slotOf(t *swarm.Task) string {
	if t.Slot != 0 {
		return fmt.Sprint(t.Slot)
	}
	return t.NodeID
}

// broke says that a task ended though it was meant to run. A task whose program ends with 0 is complete, which for a
// service is a failure too: so ends a task that never gets healthy and honours SIGTERM.
func broke(t *swarm.Task) bool {
	switch t.Status.State {
	case swarm.TaskStateFailed, swarm.TaskStateRejected:
		return true
	case swarm.TaskStateComplete:
		return t.DesiredState != swarm.TaskStateRemove
	}
	return false
}

// rank orders the states on the way to running; it is 0 for all that lie behind it.
func rank(s swarm.TaskState) int {
	for i, state := range []swarm.TaskState{
		swarm.TaskStateNew, swarm.TaskStateAllocated, swarm.TaskStatePending, swarm.TaskStateAssigned, swarm.TaskStateAccepted,
		swarm.TaskStatePreparing, swarm.TaskStateReady, swarm.TaskStateStarting, swarm.TaskStateRunning,
	} {
		if s == state {
			return i + 1
		}
	}
	return 0
}

// stands says that exactly what is wanted runs and nothing else is meant to.
func (c census) stands() bool {
	if c.others > 0 || c.running != c.meant {
		return false
	}
	if c.wanted < 0 {
		return c.running > 0 // how many nodes there are, only Swarm knows: each that fits has a task by now
	}
	return c.running == c.wanted
}

// score grows as tasks come nearer to running and old or surplus ones go. It has a ceiling, so a rollout that only ever
// restarts the same failing task stops making progress.
func (c census) score() int {
	const each = 10 // more than any rank: one old task gone is worth a whole new one
	score := -each * c.others
	if c.wanted >= 0 {
		score -= each * max(0, c.meant-c.wanted)
	}
	for _, s := range c.slots {
		score += s.best
	}
	return score
}

// hopeless gives the last failure of a slot that has failed too often without ever standing.
func (c census) hopeless() *swarm.Task {
	var last *swarm.Task
	for _, s := range c.slots {
		if s.failures >= creationTries && s.best < rank(swarm.TaskStateRunning) &&
			(last == nil || s.last.Status.Timestamp.Before(last.Status.Timestamp)) {
			last = s.last
		}
	}
	if last == nil {
		return nil
	}
	return c.failed // the first failure tells more than the third
}

// stuck says what the update waits for.
func (c census) stuck() (string, *Failing) {
	switch t := c.waiting; {
	case t == nil && c.others > 0:
		return fmt.Sprintf("%d old tasks are still meant to run", c.others), nil
	case t == nil && c.running < c.wanted:
		return fmt.Sprintf("Swarm has made %d of %d tasks", c.meant, c.wanted), nil
	case t == nil:
		return "tasks come and go", nil
	default:
		f := failing(t)
		return f.String(), f
	}
}

func failing(t *swarm.Task) *Failing {
	f := &Failing{TaskID: t.ID, Slot: t.Slot, NodeID: t.NodeID, State: t.Status.State, Err: t.Status.Err}
	if c := t.Status.ContainerStatus; c != nil {
		f.ContainerID = c.ContainerID
		// While a task is being stopped Swarm shows -1, which is no exit code.
		if rank(t.Status.State) == 0 && c.ExitCode >= 0 {
			code := c.ExitCode
			f.ExitCode = &code
		}
	}
	return f
}

// String says in a line what is wrong with a task.
func (f *Failing) String() string {
	where := "task " + f.TaskID
	if f.Slot != 0 {
		where = fmt.Sprintf("task %d (%s)", f.Slot, f.TaskID)
	}
	if f.NodeID != "" {
		where += " on node " + f.NodeID
	}
	switch {
	case f.Check != "" && f.State == swarm.TaskStateStarting:
		return where + " is starting, and not healthy: " + f.Check
	case f.Check != "" && f.ExitCode != nil:
		return fmt.Sprintf("%s was stopped as unhealthy (exit code %d): %s", where, *f.ExitCode, f.Check)
	case f.Check != "":
		return where + " was stopped as unhealthy: " + f.Check
	case f.Err != "":
		return fmt.Sprintf("%s is %s: %s", where, f.State, strings.TrimSpace(f.Err))
	case f.ExitCode != nil && *f.ExitCode == 0:
		return where + " ended with exit code 0: the program finished, or its health check failed and it was stopped"
	case f.ExitCode != nil:
		return fmt.Sprintf("%s ended with exit code %d", where, *f.ExitCode)
	case f.State == swarm.TaskStateNew:
		return where + " is new: it waits for an address, and only the leader's log says why it gets none"
	case f.State == swarm.TaskStateStarting:
		return where + " is starting: its health check has not passed yet"
	}
	return fmt.Sprintf("%s is %s", where, f.State)
}
