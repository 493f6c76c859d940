package rollout

import (
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/spec"
)

// creationTries is how often a slot of a new service may fail: nobody else counts there, Swarm's updater being at work on
// updates only. Swarm keeps five ended tasks a slot, so three can be seen.
const creationTries = 3

// Look judges one look at Swarm. The order matters: what the spec says goes before what UpdateStatus says, and that
// before the tasks; running = wanted alone proves nothing, as old tasks may be the ones that run.
func Look(m Memory, o Observation) (Memory, Verdict) {
	if o.Service == nil {
		return end(m, Verdict{State: Failed, Reason: because("service "+m.Service+" is gone: somebody removed it", m.Cause)})
	}
	if m.Back {
		return lookBack(m, o)
	}
	return lookForward(m, o)
}

func lookForward(m Memory, o Observation) (Memory, Verdict) {
	found := spec.MarkOf(o.Service.Spec.TaskTemplate)
	status, message := updateState(o.Service)
	if found != m.New {
		return notMine(m, o, found, status, message)
	}
	c := take(o, m.New, m.Old == nil)
	v := Verdict{State: Progressing, Act: Wait, Running: c.running, Wanted: c.wanted, Others: c.others}
	m = remember(m, o, c)
	switch {
	case status == swarm.UpdateStatePaused:
		return fail(blame(m, o, message), o, v, false)
	case (status == "" || status == swarm.UpdateStateCompleted) && c.stands():
		if m.Standing.IsZero() {
			m.Standing = o.Now
		}
		if status == swarm.UpdateStateCompleted || !o.Now.Before(m.Standing.Add(m.Hold)) {
			v.State = Succeeded
			return end(m, v)
		}
		v.Reason = "all tasks run; watching them"
		return m, v
	}
	m.Standing = time.Time{}
	if m.Old == nil && status == "" {
		if f := c.hopeless(); f != nil {
			return fail(blamed(m, f), o, v, false)
		}
	}
	if o.Now.Sub(m.Progressed) >= m.Deadline {
		if m.Cause == "" {
			m.Cause, m.Failing = c.stuck()
		}
		m.Cause = fmt.Sprintf("no progress for %s: %s", m.Deadline, m.Cause)
		return fail(m, o, v, true)
	}
	v.Reason, v.Failing = m.Cause, m.Failing
	return m, v
}

// notMine: the spec is not the one that was written. UpdateStatus says whether Swarm went back by itself or somebody
// wrote over it.
func notMine(m Memory, o Observation, found spec.Mark, status swarm.UpdateState, message string) (Memory, Verdict) {
	switch status {
	case swarm.UpdateStateRollbackStarted, swarm.UpdateStateRollbackCompleted:
		if status == swarm.UpdateStateRollbackCompleted {
			message = "" // it names no task any more
		}
		m = turn(blame(m, o, message), o)
		m.Old, m.BySwarm = &found, true
		return lookBack(m, o)
	case swarm.UpdateStateRollbackPaused:
		m = blame(m, o, message)
		return end(m, Verdict{State: Failed, Failing: m.Failing, Reason: because("Swarm's own rollback stopped half-way: a person must look", m.Cause)})
	}
	return end(m, Verdict{State: Failed, Failing: m.Failing, Reason: because(overwritten(found), m.Cause)})
}

func overwritten(found spec.Mark) string {
	return fmt.Sprintf("somebody wrote over it: the service is at release %q now", found.Release)
}

// lookBack: the old spec is being written, or was, and must be seen to run.
func lookBack(m Memory, o Observation) (Memory, Verdict) {
	found := spec.MarkOf(o.Service.Spec.TaskTemplate)
	if m.Cause == "" {
		m.Cause = "Swarm went back without saying why"
	}
	c := take(o, *m.Old, false)
	v := Verdict{State: Progressing, Act: Wait, Reason: m.Cause, Failing: m.Failing, Running: c.running, Wanted: c.wanted, Others: c.others}
	late := o.Now.Sub(m.Progressed) >= m.Deadline
	switch {
	case found == m.New && *m.Old != m.New && !m.BySwarm:
		if late {
			v.State, v.Reason = Failed, because(fmt.Sprintf("the old release could not be written back for %s", m.Deadline), m.Cause)
			return end(m, v)
		}
		v.Act = WriteOld
		return m, v
	case found != *m.Old:
		v.State, v.Reason = Failed, because(overwritten(found), m.Cause)
		return end(m, v)
	}
	m = progress(m, o, c)
	status, message := updateState(o.Service)
	atRest := status == "" || status == swarm.UpdateStateCompleted || status == swarm.UpdateStateRollbackCompleted
	switch {
	case atRest && c.stands():
		v.State = RolledBack
		return end(m, v)
	case status == swarm.UpdateStatePaused || status == swarm.UpdateStateRollbackPaused:
		v.State, v.Reason = Failed, because("the old release does not come up either ("+message+"): a person must look", m.Cause)
		return end(m, v)
	case o.Now.Sub(m.Progressed) >= m.Deadline:
		why, _ := c.stuck()
		v.State, v.Reason = Failed, because(fmt.Sprintf("the old release does not come up either (no progress for %s: %s): a person must look", m.Deadline, why), m.Cause)
		return end(m, v)
	}
	return m, v
}

// fail turns back, or ends where there is nothing to go back to or a person shall decide.
func fail(m Memory, o Observation, v Verdict, timedOut bool) (Memory, Verdict) {
	v.Reason, v.Failing = m.Cause, m.Failing
	switch {
	case m.OnFailure == project.OnFailurePause && timedOut, m.Old == nil && timedOut:
		v.State = TimedOut
	case m.OnFailure == project.OnFailurePause:
		v.State = Paused
	case m.Old == nil || *m.Old == m.New: // nothing of another version is there to go back to
		v.State = Failed
		if timedOut {
			v.State = TimedOut
		}
	default:
		m = turn(m, o)
		m.TimedOut, v.Act = timedOut, WriteOld
		return m, v
	}
	return end(m, v)
}

func turn(m Memory, o Observation) Memory {
	m.Back, m.Standing, m.Score, m.Progressed = true, time.Time{}, math.MinInt, o.Now
	return m
}

func end(m Memory, v Verdict) (Memory, Verdict) {
	v.Act = Done
	return m, v
}

// because adds the first cause to what came of it.
func because(what, cause string) string {
	if cause == "" {
		return what
	}
	return what + "; first cause: " + cause
}

func updateState(s *swarm.Service) (swarm.UpdateState, string) {
	if s.UpdateStatus == nil {
		return "", ""
	}
	return s.UpdateStatus.State, s.UpdateStatus.Message
}

// remember notes progress and the first failure.
func remember(m Memory, o Observation, c census) Memory {
	m = progress(m, o, c)
	if m.Cause == "" && c.failed != nil {
		m = blamed(m, c.failed)
	}
	return m
}

// progress is a new high: a task further on than any look has seen its slot, an old one less. A task that fails and
// starts anew makes none.
func progress(m Memory, o Observation, c census) Memory {
	if score := c.score(); score > m.Score {
		m.Score, m.Progressed = score, o.Now
	}
	return m
}

var namedTask = regexp.MustCompile(`\btask ([a-z0-9]{3,})`)

// blame takes the cause from the task that Swarm names; by the time of the look a rollback may have shut it down, so its
// state says little and its exit code much.
func blame(m Memory, o Observation, message string) Memory {
	if m.Cause != "" {
		return m
	}
	if found := namedTask.FindStringSubmatch(message); found != nil {
		for i := range o.Tasks {
			if o.Tasks[i].ID == found[1] {
				return blamed(m, &o.Tasks[i])
			}
		}
	}
	if c := take(o, m.New, m.Old == nil); c.failed != nil {
		return blamed(m, c.failed)
	}
	m.Cause = message
	return m
}

func blamed(m Memory, t *swarm.Task) Memory {
	if m.Cause == "" {
		m.Failing = failing(t)
		m.Cause = m.Failing.String()
	}
	return m
}
