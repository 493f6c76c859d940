package clustertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/api/types/swarm"
)

// update is Swarm's updater at work on one service.
type update struct {
	waiting []string // slots that are still to be done
	moving  []*move
	watched []watched
	resume  time.Time // no further slot before
	parallel
}

// parallel is what the updater was told.
type parallel struct {
	at      int
	delay   time.Duration
	monitor time.Duration
	first   swarm.UpdateOrder
}

// move is one slot on its way.
type move struct {
	slot  string
	fresh *task // nil: the old one has to end first
	old   []*task
}

// watched is a new task whose end within the monitor time is a failure of the update.
type watched struct {
	task  *task
	until time.Time
}

// holds says that the updater will make the slot's next task itself.
func (u *update) holds(slot string) bool {
	return u != nil && slices.ContainsFunc(u.moving, func(m *move) bool { return m.slot == slot && m.fresh == nil })
}

// begin starts an update if a task is not of the template any more. Without one UpdateStatus stays empty.
func (t *Toy) begin(s *service) {
	s.update, s.UpdateStatus = nil, nil
	var waiting []string
	for _, slot := range t.slots(s) {
		all := t.meant(s, slot)
		if len(all) > 0 {
			delete(s.retries, slot) // the task that would be made is of the spec before
		}
		if len(all) > 1 || len(all) == 1 && dirty(s, all[0]) {
			waiting = append(waiting, slot)
		}
	}
	if len(waiting) == 0 {
		return
	}
	c := s.Spec.UpdateConfig
	u := &update{waiting: waiting, parallel: parallel{at: int(c.Parallelism), delay: c.Delay, monitor: c.Monitor, first: c.Order}}
	if u.at == 0 {
		u.at = len(waiting)
	}
	s.update = u
	at := t.at
	s.UpdateStatus = &swarm.UpdateStatus{State: swarm.UpdateStateUpdating, StartedAt: &at, Message: "update in progress"}
}

func (t *Toy) runUpdate(s *service) {
	u := s.update
	if u == nil {
		return
	}
	if k := u.failed(t.at); k != nil {
		s.update = nil
		s.UpdateStatus = &swarm.UpdateStatus{State: swarm.UpdateStatePaused, StartedAt: s.UpdateStatus.StartedAt,
			Message: fmt.Sprintf("update paused due to failure or early termination of task %s", k.ID)}
		t.touch(s)
		return
	}
	u.moving = slices.DeleteFunc(u.moving, func(m *move) bool { return t.move(s, u, m) })
	for len(u.moving) < u.at && len(u.waiting) > 0 && !t.at.Before(u.resume) {
		t.start(s, u, u.waiting[0])
		u.waiting = u.waiting[1:]
	}
	if len(u.waiting)+len(u.moving) > 0 {
		return
	}
	for _, w := range u.watched {
		if t.at.Before(w.until) {
			return
		}
	}
	s.update = nil
	at := t.at
	s.UpdateStatus = &swarm.UpdateStatus{State: swarm.UpdateStateCompleted, StartedAt: s.UpdateStatus.StartedAt, CompletedAt: &at, Message: "update completed"}
	t.touch(s)
}

// failed gives a new task that has ended by itself while it is on its way or watched.
func (u *update) failed(at time.Time) *task {
	ended := func(k *task) bool {
		return slices.Contains([]swarm.TaskState{swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateComplete}, k.Status.State)
	}
	for _, m := range u.moving {
		if m.fresh != nil && ended(m.fresh) {
			return m.fresh
		}
	}
	for _, w := range u.watched {
		if at.Before(w.until) && ended(w.task) {
			return w.task
		}
	}
	return nil
}

// start does what Swarm does with a slot: a good task that is there is kept, and the others end; else a new one is made.
func (t *Toy) start(s *service, u *update, slot string) {
	m := &move{slot: slot}
	for _, k := range t.meant(s, slot) {
		if !dirty(s, k) && (m.fresh == nil || m.fresh.Status.State != swarm.TaskStateRunning) {
			if m.fresh != nil {
				m.old = append(m.old, m.fresh)
			}
			m.fresh = k
			continue
		}
		m.old = append(m.old, k)
	}
	switch {
	case m.fresh != nil:
	case u.first == swarm.UpdateOrderStartFirst:
		m.fresh = t.make(s, slot)
	default:
		for _, k := range m.old {
			t.stop(k, swarm.TaskStateShutdown)
		}
	}
	u.moving = append(u.moving, m)
}

// move says whether a slot is done.
func (t *Toy) move(s *service, u *update, m *move) bool {
	if m.fresh == nil {
		for _, k := range m.old {
			if !k.stopped {
				return false
			}
		}
		m.fresh = t.make(s, m.slot)
		return false
	}
	if m.fresh.Status.State != swarm.TaskStateRunning {
		return false
	}
	for _, k := range m.old {
		if k.DesiredState == swarm.TaskStateRunning {
			t.stop(k, swarm.TaskStateShutdown)
		}
	}
	u.watched = append(u.watched, watched{m.fresh, t.at.Add(u.monitor)})
	u.resume = t.at.Add(u.delay)
	return true
}
