package rollout

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/spec"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

const deadline = 10 * time.Minute

// specAt is a service of n tasks at a release. Its updater watches 5 s and never delays, so the whole deadline is 10m5s.
func specAt(release string, n int) swarm.ServiceSpec {
	replicas := uint64(n)
	return swarm.ServiceSpec{
		Annotations:  swarm.Annotations{Name: "orders-test_web"},
		TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: release, Labels: map[string]string{contract.Release: release}}},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		UpdateConfig: &swarm.UpdateConfig{Parallelism: 1, Monitor: 5 * time.Second, Order: swarm.UpdateOrderStartFirst},
	}
}

// tasks reads "r-2 1 running/running" (release, slot, desired/state, what follows is Err), one task a line; its id is
// t and the number of the line.
func tasks(text string) []swarm.Task {
	var all []swarm.Task
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		var release, states string
		var slot int
		if _, err := fmt.Sscan(line, &release, &slot, &states); err != nil {
			panic(line)
		}
		desired, state, _ := strings.Cut(states, "/")
		t := swarm.Task{ID: fmt.Sprintf("task%d", i+1), Slot: slot, NodeID: "node1", Spec: specAt(release, 1).TaskTemplate,
			DesiredState: swarm.TaskState(desired), Status: swarm.TaskStatus{State: swarm.TaskState(state), Timestamp: start.Add(time.Duration(i) * time.Second)}}
		t.CreatedAt = start.Add(time.Second)
		for _, word := range strings.Fields(line)[3:] {
			if code, ok := strings.CutPrefix(word, "exit="); ok {
				c := &swarm.ContainerStatus{ContainerID: "c" + t.ID}
				if _, err := fmt.Sscan(code, &c.ExitCode); err != nil {
					panic(line)
				}
				t.Status.ContainerStatus = c
			} else if word == "yesterday" {
				t.CreatedAt = start.Add(-24 * time.Hour)
			} else {
				t.Status.Err = strings.TrimSpace(t.Status.Err + " " + word)
			}
		}
		all = append(all, t)
	}
	return all
}

func observe(l look) Observation {
	o := Observation{Now: start.Add(l.after), Tasks: tasks(l.tasks)}
	if l.release == "gone" {
		return o
	}
	if l.release == "" {
		l.release = "r-2"
	}
	if l.count == 0 {
		l.count = 2
	}
	o.Service = &swarm.Service{Spec: specAt(l.release, l.count)}
	o.Service.CreatedAt, o.Service.UpdatedAt = start, start
	if l.status != "" {
		o.Service.UpdateStatus = &swarm.UpdateStatus{State: l.status, StartedAt: &start, Message: l.message}
	}
	return o
}

func begin(s story) Memory {
	before := specAt("r-1", 2)
	w := Written{Spec: specAt("r-2", 2), Before: &before, Version: 7, StartedAt: start,
		Rollout: project.Rollout{Deadline: deadline, OnFailure: project.OnFailureRollback}}
	if s.created {
		w.Before = nil
	}
	if s.pause {
		w.Rollout.OnFailure = project.OnFailurePause
	}
	return Begin(w)
}

func TestEachSequenceMeansWhatItMeans(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			m := begin(s)
			for i, l := range s.looks {
				// The memory goes through its stored form each time, as over a restart of the manager.
				b, err := json.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				m = Memory{}
				if err := json.Unmarshal(b, &m); err != nil {
					t.Fatal(err)
				}
				var v Verdict
				m, v = Look(m, observe(l))
				if v.State != l.want || v.Act != l.act || !strings.Contains(v.Reason, l.reason) {
					t.Fatalf("look %d: got %s (%s), want %s (%s) with %q", i+1, v, v.Act, l.want, l.act, l.reason)
				}
			}
		})
	}
}

// TestTheMarkDecidesNotTheImage: a task is new exactly if its release label and ForceUpdate are those written.
func TestTheMarkDecidesNotTheImage(t *testing.T) {
	m := begin(story{})
	m.New.ForceUpdate = 1
	o := observe(look{after: time.Second, status: swarm.UpdateStateCompleted, tasks: twoNew})
	o.Service.Spec.TaskTemplate.ForceUpdate = 1
	if _, v := Look(m, o); v.State != Progressing || v.Others != 2 || v.Running != 0 {
		t.Errorf("tasks of another ForceUpdate: got %s, want 0 running and 2 others", v)
	}
	for i := range o.Tasks {
		o.Tasks[i].Spec.ForceUpdate = 1
		o.Tasks[i].Spec.ContainerSpec.Image = "by another name"
	}
	if _, v := Look(m, o); v.State != Succeeded {
		t.Errorf("tasks of the same mark: got %s, want success", v)
	}
}

func TestAGlobalServiceIsDoneWhenEveryNodesTaskRuns(t *testing.T) {
	global := func(release string) swarm.ServiceSpec {
		s := specAt(release, 1)
		s.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}}
		return s
	}
	before := global("r-1")
	m := Begin(Written{Spec: global("r-2"), Before: &before, StartedAt: start, Rollout: project.Rollout{Deadline: deadline, OnFailure: project.OnFailureRollback}})
	o := observe(look{after: time.Second, status: swarm.UpdateStateCompleted, tasks: "r-2 0 running/running\nr-2 0 running/starting\n"})
	o.Service.Spec = global("r-2")
	o.Tasks[1].NodeID = "node2"
	if _, v := Look(m, o); v.State != Progressing || v.Wanted != -1 {
		t.Errorf("one of two nodes: got %s, want progressing", v)
	}
	o.Tasks[1].Status.State = swarm.TaskStateRunning
	if _, v := Look(m, o); v.State != Succeeded {
		t.Errorf("both nodes: got %s, want success", v)
	}
	o.Tasks = nil
	if _, v := Look(m, o); v.State != Progressing {
		t.Errorf("no tasks yet: got %s, want progressing", v)
	}
}

func TestGoingBackKeepsTheCountOfNow(t *testing.T) {
	back := Back(specAt("r-1", 2), specAt("r-2", 5))
	if got := *back.Mode.Replicated.Replicas; got != 5 || spec.MarkOf(back.TaskTemplate).Release != "r-1" {
		t.Errorf("got %d tasks at %s, want 5 at r-1", got, spec.MarkOf(back.TaskTemplate).Release)
	}
}

func TestTheUpdatersOwnRestIsNoLackOfProgress(t *testing.T) {
	slow := specAt("r-2", 2)
	slow.UpdateConfig.Delay = time.Hour
	if got := Begin(Written{Spec: slow, Rollout: project.Rollout{Deadline: deadline}}).Deadline; got != time.Hour+deadline {
		t.Errorf("deadline %s, want delay and deadline", got)
	}
}

// TestNoLookLies: whatever Swarm shows, an end is true of what was shown, and the old spec is written only when there is one.
func TestNoLookLies(t *testing.T) {
	states := []string{"new", "pending", "preparing", "starting", "running", "complete", "shutdown", "failed", "rejected"}
	statuses := []swarm.UpdateState{"", swarm.UpdateStateUpdating, swarm.UpdateStatePaused, swarm.UpdateStateCompleted,
		swarm.UpdateStateRollbackStarted, swarm.UpdateStateRollbackPaused, swarm.UpdateStateRollbackCompleted}
	rapid.Check(t, func(t *rapid.T) {
		s := story{created: rapid.Bool().Draw(t, "created"), pause: rapid.Bool().Draw(t, "pause")}
		m, now := begin(s), time.Duration(0)
		for range 30 {
			now += time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second
			l := look{after: now, release: rapid.SampledFrom([]string{"r-2", "r-2", "r-2", "r-1", "r-9"}).Draw(t, "release"),
				status: rapid.SampledFrom(statuses).Draw(t, "status"), count: rapid.IntRange(1, 3).Draw(t, "count"), message: "of task task1"}
			for range rapid.IntRange(0, 6).Draw(t, "tasks") {
				l.tasks += fmt.Sprintf("%s %d %s/%s\n", rapid.SampledFrom([]string{"r-1", "r-2"}).Draw(t, "task"), rapid.IntRange(1, 3).Draw(t, "slot"),
					rapid.SampledFrom([]string{"running", "shutdown", "remove"}).Draw(t, "desired"), rapid.SampledFrom(states).Draw(t, "state"))
			}
			o := observe(l)
			var v Verdict
			m, v = Look(m, o)
			good := map[string]int{}
			for _, task := range o.Tasks {
				if task.DesiredState == "running" {
					good[spec.MarkOf(task.Spec).Release+"/"+fmt.Sprint(task.Status.State == "running")]++
				}
			}
			only := func(release, other string) bool {
				return good[release+"/true"] == l.count && good[release+"/false"] == 0 && good[other+"/true"]+good[other+"/false"] == 0
			}
			switch {
			case v.State == Succeeded && (l.release != "r-2" || !only("r-2", "r-1")):
				t.Fatalf("success is a lie: %s after %+v", v, l)
			case v.State == RolledBack && l.release == "r-1" && !only("r-1", "r-2"):
				t.Fatalf("rolled back is a lie: %s after %+v", v, l)
			case v.State == RolledBack && l.release == "r-2":
				t.Fatalf("rolled back at the new spec: %+v", l)
			case v.Act == WriteOld && (s.created || s.pause):
				t.Fatalf("a spec is written that there is not, or that nobody wants: %s", v)
			case v.State.Ended() != (v.Act == Done):
				t.Fatalf("an end without done, or the other way round: %s %s", v, v.Act)
			case v.State.Ended() && v.State != Succeeded && v.Reason == "":
				t.Fatalf("%s without a reason", v.State)
			case v.State.Ended():
				return
			}
		}
	})
}

// TestEveryRolloutEnds: if Swarm shows the same for ever, an end comes within three deadlines, whoever obeys the acts.
func TestEveryRolloutEnds(t *testing.T) {
	statuses := []swarm.UpdateState{"", swarm.UpdateStateUpdating, swarm.UpdateStatePaused, swarm.UpdateStateCompleted,
		swarm.UpdateStateRollbackStarted, swarm.UpdateStateRollbackCompleted}
	rapid.Check(t, func(t *rapid.T) {
		s := story{created: rapid.Bool().Draw(t, "created"), pause: rapid.Bool().Draw(t, "pause")}
		obeys := rapid.Bool().Draw(t, "obeys")
		l := look{status: rapid.SampledFrom(statuses).Draw(t, "status"), release: rapid.SampledFrom([]string{"r-1", "r-2"}).Draw(t, "release"),
			tasks: rapid.SampledFrom([]string{twoOld, twoNew, "", twoOld + "r-2 1 running/pending\n", "r-2 1 running/new\n"}).Draw(t, "tasks"), message: "m"}
		m := begin(s)
		for ; l.after < 3*(deadline+10*time.Second); l.after += time.Minute {
			var v Verdict
			if m, v = Look(m, observe(l)); v.State.Ended() {
				return
			}
			if v.Act == WriteOld && obeys {
				l.release, l.status = "r-1", ""
			}
		}
		t.Fatalf("no end after %s: %+v", l.after, l)
	})
}

func TestRoomIsAskedForBeforeTheStart(t *testing.T) {
	with := func(n int, order swarm.UpdateOrder, parallelism uint64) swarm.ServiceSpec {
		s := specAt("r-2", n)
		s.UpdateConfig.Order, s.UpdateConfig.Parallelism = order, parallelism
		return s
	}
	const startFirst, stopFirst = swarm.UpdateOrderStartFirst, swarm.UpdateOrderStopFirst
	global := specAt("r-2", 1)
	global.Mode = swarm.ServiceMode{Global: &swarm.GlobalService{}}
	for _, c := range []struct {
		name     string
		spec     swarm.ServiceSpec
		now      int
		restarts bool
		free     int
		needed   int
		short    string // part of it; "": enough
		note     bool
	}{
		{"a new service needs one a task", with(3, startFirst, 1), 0, true, 3, 3, "", false},
		{"and says so when they are not there", with(3, startFirst, 1), 0, true, 2, 3, "needs 3 free addresses on network app (3 for more tasks), and 2 are free", false},
		{"start-first needs as many more as it replaces at once", with(5, startFirst, 2), 5, true, 5, 2, "", false},
		{"with just enough it may wait for draining tasks", with(5, startFirst, 2), 5, true, 2, 2, "", true},
		{"with too few it says which parallelism would do", with(5, startFirst, 2), 5, true, 1, 2, "set update_config.parallelism to 1", false},
		{"with none it says that stop-first would do", with(5, startFirst, 1), 5, true, 0, 1, "set update_config.order to stop-first", false},
		{"parallelism 0 is all at once", with(4, startFirst, 0), 4, true, 3, 4, "needs 4 free", false},
		{"no more are replaced than there are", with(2, startFirst, 9), 2, true, 2, 2, "", false},
		{"stop-first needs none", with(5, stopFirst, 2), 5, true, 0, 0, "", false},
		{"growing needs the difference", with(5, startFirst, 1), 3, false, 2, 2, "", false},
		{"growing and replacing need both", with(5, startFirst, 1), 3, true, 2, 3, "2 for more tasks, 1 for new tasks beside old ones", false},
		{"shrinking needs none", with(2, startFirst, 1), 5, false, 0, 0, "", false},
		{"a global service replaces one by one", global, 7, true, 1, 1, "", true},
	} {
		r := CheckRoom(c.spec, c.now, c.restarts, []Free{{"roomy", 1000}, {"app", c.free}})
		if r.Needed != c.needed || r.Enough() != (c.short == "") || !strings.Contains(r.String(), c.short) || (r.Note != "") != c.note {
			t.Errorf("%s: got needed %d, %q, note %q; want %d, %q, a note: %t", c.name, r.Needed, r, r.Note, c.needed, c.short, c.note)
		}
	}
}
