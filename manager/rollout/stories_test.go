package rollout

import (
	"time"

	"github.com/moby/moby/api/types/swarm"
)

// look is one step of a case: what Swarm shows so long after the write, and what must be said.
type look struct {
	after   time.Duration
	release string // of the service's spec; "" is r-2, "gone" is no service
	status  swarm.UpdateState
	message string
	tasks   string
	count   int // of the service's spec; 0 is 2
	want    State
	act     Act
	reason  string // part of it
}

type story struct {
	name    string
	created bool // the service is new
	pause   bool // the project wants a person to decide
	looks   []look
}

const (
	twoNew = "r-2 1 running/running\nr-2 2 running/running\n"
	twoOld = "r-1 1 running/running\nr-1 2 running/running\n"

	failedTask = "r-2 1 shutdown/failed exit=3 task: non-zero exit (3)\n"

	updating      = swarm.UpdateStateUpdating
	completed     = swarm.UpdateStateCompleted
	paused        = swarm.UpdateStatePaused
	backStarted   = swarm.UpdateStateRollbackStarted
	backCompleted = swarm.UpdateStateRollbackCompleted
	backPaused    = swarm.UpdateStateRollbackPaused
)

var stories = []story{
	// The table of what was seen, row by row.
	{name: "no status at all after an update of labels or the count is success once all run and were watched", looks: []look{
		{after: 0, tasks: twoNew, want: Progressing, act: Wait, reason: "watching"},
		{after: 4 * time.Second, tasks: twoNew, want: Progressing, act: Wait},
		{after: 5 * time.Second, tasks: twoNew, want: Succeeded, act: Done}}},
	{name: "completed with all new tasks running is success", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/starting\n", want: Progressing, act: Wait},
		{after: 9 * time.Second, status: completed, tasks: twoNew + "r-1 1 shutdown/running\nr-1 2 shutdown/shutdown\n", want: Succeeded, act: Done}}},
	{name: "completed alone is none: an old task is still meant to run", looks: []look{
		{after: time.Second, status: completed, tasks: twoNew + "r-1 1 running/running\n", want: Progressing, act: Wait}}},
	{name: "completed alone is none: a new task has died since", looks: []look{
		{after: time.Second, status: completed, tasks: "r-2 1 running/running\n" + "r-2 2 shutdown/failed exit=1 task: non-zero exit (1)\n", want: Progressing, act: Wait, reason: "non-zero exit (1)"}}},
	{name: "Swarm's own rollback is told by the spec, and its cause is kept from the message that goes", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/starting\n", want: Progressing, act: Wait},
		{after: 2 * time.Second, release: "r-1", status: backStarted, message: "update rolled back due to failure or early termination of task task3", tasks: twoOld + "r-2 1 shutdown/shutdown exit=3\n", want: Progressing, act: Wait, reason: "exit code 3"},
		{after: 9 * time.Second, release: "r-1", status: backCompleted, message: "rollback completed", tasks: twoOld, want: RolledBack, act: Done, reason: "exit code 3"}}},
	{name: "a rollback that began before anyone saw an update is told too", looks: []look{
		{after: time.Second, release: "r-1", status: backStarted, message: "task task3", tasks: twoOld + "r-2 1 shutdown/rejected No such image: nosuch:1\n", want: Progressing, act: Wait, reason: "No such image"},
		{after: 2 * time.Second, release: "r-1", status: backCompleted, tasks: twoOld, want: RolledBack, act: Done, reason: "No such image"}}},
	{name: "a completed rollback is no end until the old tasks run", looks: []look{
		{after: time.Second, release: "r-1", status: backCompleted, tasks: "r-1 1 running/running\nr-1 2 running/starting\n" + failedTask, want: Progressing, act: Wait},
		{after: 5 * time.Second, release: "r-1", status: backCompleted, tasks: twoOld, want: RolledBack, act: Done}}},
	{name: "Swarm's own rollback that stops needs a person", looks: []look{
		{after: time.Second, release: "r-1", status: backPaused, message: "update paused due to failure or early termination of task task1", tasks: failedTask, want: Failed, act: Done, reason: "a person must look"}}},
	{name: "paused by a failure goes back by writing the old spec, and ends when the old runs", looks: []look{
		{after: time.Second, status: paused, message: "update paused due to failure or early termination of task task3", tasks: twoOld + failedTask, want: Progressing, act: WriteOld, reason: "non-zero exit (3)"},
		{after: 2 * time.Second, status: paused, tasks: twoOld, want: Progressing, act: WriteOld, reason: "non-zero exit (3)"},
		{after: 3 * time.Second, release: "r-1", status: updating, tasks: "r-1 1 running/running\nr-1 2 running/starting\nr-2 2 running/running\n", want: Progressing, act: Wait},
		{after: 9 * time.Second, release: "r-1", status: completed, tasks: twoOld, want: RolledBack, act: Done, reason: "non-zero exit (3)"}}},
	{name: "stuck without an error from Swarm's side goes back after the deadline, though running equals desired all the while", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/pending no suitable node (scheduling constraints not satisfied on 3 nodes)\n", want: Progressing, act: Wait},
		{after: deadline, status: updating, tasks: twoOld + "r-2 1 running/pending no suitable node (scheduling constraints not satisfied on 3 nodes)\n", want: Progressing, act: Wait},
		{after: deadline + 6*time.Second, status: updating, tasks: twoOld + "r-2 1 running/pending no suitable node (scheduling constraints not satisfied on 3 nodes)\n", want: Progressing, act: WriteOld, reason: "no suitable node"},
		{after: deadline + 8*time.Second, release: "r-1", status: "", tasks: twoOld, want: RolledBack, act: Done, reason: "no progress for 10m5s: task 1 (task3) on node node1 is pending: no suitable node"}}},
	{name: "a task that never gets healthy and ends with 0 is a failure without an error text", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/starting\n", want: Progressing, act: Wait},
		{after: 5 * time.Second, status: paused, message: "update paused due to failure or early termination of task task3", tasks: twoOld + "r-2 1 shutdown/complete exit=0\n", want: Progressing, act: WriteOld, reason: "health check failed"}}},
	{name: "a new task that fails is named while Swarm still thinks", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + failedTask, want: Progressing, act: Wait, reason: "task 1 (task3) on node node1 is failed: task: non-zero exit (3)"}}},

	// What the table does not hold.
	{name: "the first cause stays the first", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + failedTask, want: Progressing, act: Wait, reason: "exit (3)"},
		{after: 2 * time.Second, status: paused, message: "of task task4", tasks: twoOld + failedTask + "r-2 2 shutdown/failed exit=9 other\n", want: Progressing, act: WriteOld, reason: "exit (3)"}}},
	{name: "an exit code of -1 is none", looks: []look{
		{after: time.Second, status: paused, message: "of task task3", tasks: twoOld + "r-2 1 shutdown/running exit=-1\n", want: Progressing, act: WriteOld, reason: "task 1 (task3) on node node1 is running"}}},
	{name: "a failure when this release ran before is not this rollout's", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 shutdown/failed yesterday old news\n", want: Progressing, act: Wait}}},
	{name: "the deadline counts from the last progress", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/starting\n", want: Progressing, act: Wait},
		{after: 9 * time.Minute, status: updating, tasks: "r-2 1 running/running\nr-1 2 running/running\nr-2 2 running/preparing\n", want: Progressing, act: Wait},
		{after: 18 * time.Minute, status: updating, tasks: "r-2 1 running/running\nr-1 2 running/running\nr-2 2 running/preparing\n", want: Progressing, act: Wait},
		{after: 20 * time.Minute, status: updating, tasks: "r-2 1 running/running\nr-1 2 running/running\nr-2 2 running/preparing\n", want: Progressing, act: WriteOld, reason: "is preparing"}}},
	{name: "a task that starts over and over makes no progress", looks: []look{
		{after: time.Second, status: completed, tasks: "r-2 1 running/running\nr-2 2 running/running\nr-1 2 running/running\n", want: Progressing, act: Wait},
		{after: 4 * time.Minute, status: completed, tasks: "r-2 1 running/running\nr-2 2 running/starting\n", want: Progressing, act: Wait},
		{after: 15 * time.Minute, status: completed, tasks: "r-2 1 running/running\nr-2 2 running/starting\n", want: Progressing, act: WriteOld, reason: "health check has not passed"}}},
	{name: "somebody's other spec ends it", looks: []look{
		{after: time.Second, release: "r-9", status: updating, tasks: twoOld, want: Failed, act: Done, reason: `somebody wrote over it: the service is at release "r-9" now`}}},
	{name: "the old spec without a rollback of Swarm's is somebody's too", looks: []look{
		{after: time.Second, release: "r-1", status: updating, tasks: twoOld, want: Failed, act: Done, reason: "somebody wrote over it"}}},
	{name: "somebody's other spec on the way back ends it", looks: []look{
		{after: time.Second, status: paused, message: "of task task3", tasks: twoOld + failedTask, want: Progressing, act: WriteOld},
		{after: 2 * time.Second, release: "r-9", tasks: twoOld, want: Failed, act: Done, reason: "first cause: task 1"}}},
	{name: "a service that is gone ends it", looks: []look{
		{after: time.Second, release: "gone", want: Failed, act: Done, reason: "is gone"}}},
	{name: "an old release that does not come up either is said so", looks: []look{
		{after: time.Second, status: paused, message: "of task task3", tasks: twoOld + failedTask, want: Progressing, act: WriteOld},
		{after: 2 * time.Second, release: "r-1", status: paused, message: "again", tasks: twoOld, want: Failed, act: Done, reason: "the old release does not come up either (again)"}}},
	{name: "an old release that hangs is given up after the deadline", looks: []look{
		{after: time.Second, status: paused, message: "of task task3", tasks: twoOld + failedTask, want: Progressing, act: WriteOld},
		{after: 2 * time.Second, release: "r-1", status: updating, tasks: "r-1 1 running/running\nr-1 2 running/new\n", want: Progressing, act: Wait},
		{after: 12 * time.Minute, release: "r-1", status: updating, tasks: "r-1 1 running/running\nr-1 2 running/new\n", want: Failed, act: Done, reason: "waits for an address"}}},
	{name: "an old spec that cannot be written is given up after the deadline", looks: []look{
		{after: time.Second, status: paused, message: "of task task3", tasks: twoOld + failedTask, want: Progressing, act: WriteOld},
		{after: 12 * time.Minute, status: paused, tasks: twoOld, want: Failed, act: Done, reason: "could not be written back"}}},
	{name: "where a person shall decide, a failure pauses", pause: true, looks: []look{
		{after: time.Second, status: paused, message: "of task task3", tasks: twoOld + failedTask, want: Paused, act: Done, reason: "exit (3)"}}},
	{name: "where a person shall decide, the deadline ends it", pause: true, looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/new\n", want: Progressing, act: Wait},
		{after: 11 * time.Minute, status: updating, tasks: twoOld + "r-2 1 running/new\n", want: TimedOut, act: Done, reason: "waits for an address"}}},
	{name: "a count changed by hand in the middle is the count", looks: []look{
		{after: time.Second, status: updating, tasks: twoOld + "r-2 1 running/starting\n", want: Progressing, act: Wait},
		{after: 9 * time.Second, status: completed, count: 1, tasks: "r-2 1 running/running\n", want: Succeeded, act: Done}}},
	{name: "fewer tasks are success only when the surplus is gone", looks: []look{
		{after: time.Second, count: 1, tasks: twoNew, want: Progressing, act: Wait},
		{after: 2 * time.Second, count: 1, tasks: "r-2 1 running/running\nr-2 2 remove/running\n", want: Progressing, act: Wait, reason: "watching"},
		{after: 7 * time.Second, count: 1, tasks: "r-2 1 running/running\nr-2 2 remove/running\n", want: Succeeded, act: Done}}},
	{name: "a new service is watched before it is called a success", created: true, looks: []look{
		{after: time.Second, tasks: "r-2 1 running/running\nr-2 2 running/starting\n", want: Progressing, act: Wait},
		{after: 3 * time.Second, tasks: twoNew, want: Progressing, act: Wait},
		{after: 6 * time.Second, tasks: "r-2 1 running/running\nr-2 2 shutdown/failed exit=1 x\nr-2 2 running/starting\n", want: Progressing, act: Wait},
		{after: 9 * time.Second, tasks: twoNew, want: Progressing, act: Wait},
		{after: 14 * time.Second, tasks: twoNew, want: Succeeded, act: Done}}},
	{name: "a new service of which a slot fails three times has failed, with the first cause", created: true, looks: []look{
		{after: time.Second, tasks: "r-2 1 running/running\nr-2 2 shutdown/failed first\nr-2 2 shutdown/failed second\nr-2 2 ready/ready\n", want: Progressing, act: Wait, reason: "first"},
		{after: 9 * time.Second, tasks: "r-2 1 running/running\nr-2 2 shutdown/failed first\nr-2 2 shutdown/failed second\nr-2 2 shutdown/failed third\nr-2 2 ready/ready\n", want: Failed, act: Done, reason: "first"}}},
	{name: "a new service that hangs times out: there is nothing to go back to", created: true, looks: []look{
		{after: time.Second, tasks: "r-2 1 running/pending no suitable node\nr-2 2 running/pending no suitable node\n", want: Progressing, act: Wait},
		{after: 11 * time.Minute, tasks: "r-2 1 running/pending no suitable node\nr-2 2 running/pending no suitable node\n", want: TimedOut, act: Done, reason: "no suitable node"}}},
	{name: "Swarm that makes no tasks at all times out", created: true, looks: []look{
		{after: time.Second, want: Progressing, act: Wait},
		{after: 11 * time.Minute, want: TimedOut, act: Done, reason: "Swarm has made 0 of 2 tasks"}}},
}
