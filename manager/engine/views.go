package engine

import (
	"net/netip"
	"time"

	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
)

// Project is a project as people see it.
type Project struct {
	Name         project.Name  `json:"name"`
	Version      uint64        `json:"version"` // grows with every change; the ETag
	Updated      time.Time     `json:"updated"`
	By           string        `json:"by,omitempty"`
	Repository   string        `json:"repository,omitempty"`
	Environments []Environment `json:"environments"`
	FileName     string        `json:"fileName"`
	File         string        `json:"file,omitempty"` // only where one project is asked for
	Changed      bool          `json:"changed"`        // after an apply: whether it was news

	// Problems: an older manager took the file, and this one does not. Nothing can be deployed of it until it is mended.
	Problems []project.Problem `json:"problems,omitempty"`
}

// Environment is one environment of a project and what it runs.
type Environment struct {
	Name        project.EnvironmentName        `json:"name"`
	Stage       string                         `json:"stage"`
	Approvals   int                            `json:"approvals"`
	FrozenUntil *time.Time                     `json:"frozenUntil,omitempty"`
	Release     release.ID                     `json:"release,omitempty"` // of the last success by the record
	Rollout     RolloutID                      `json:"rollout,omitempty"` // the one that runs now
	Scale       map[project.ServiceName]uint64 `json:"scale,omitempty"`   // counts set by hand through Rolling
	Adopted     bool                           `json:"adopted,omitempty"` // it runs something that the record knows nothing of
	Services    []Service                      `json:"services,omitempty"`
}

// Service is one service as Swarm shows it.
type Service struct {
	Name     string     `json:"name"` // short
	FullName string     `json:"fullName"`
	Image    string     `json:"image"`
	Release  release.ID `json:"release,omitempty"` // that last changed it
	Running  uint64     `json:"running"`
	Wanted   uint64     `json:"wanted"`
	Update   string     `json:"update,omitempty"` // Swarm's own word on its last update
}

// Release is a release and what became of it.
type Release struct {
	release.Release
	Reached   []project.EnvironmentName `json:"reached,omitempty"` // where it last succeeded
	Approvals []release.Approval        `json:"approvals,omitempty"`
	Discarded *release.Discard          `json:"discarded,omitempty"`
}

// Plan is what a deployment would do.
type Plan struct {
	Project     project.Name            `json:"project"`
	Environment project.EnvironmentName `json:"environment"`
	Release     release.ID              `json:"release"`
	Empty       bool                    `json:"empty"`
	Steps       []Step                  `json:"steps"`
	Blocked     []Remark                `json:"blocked,omitempty"` // while there is one, nothing may be done
	Notes       []Remark                `json:"notes,omitempty"`
	ByHand      []string                `json:"byHand,omitempty"` // objects that somebody changed; touched only when asked
	Room        []string                `json:"room,omitempty"`   // networks that have too few free addresses
	Text        string                  `json:"text"`             // all of it for a terminal
}

// Step is one write to Swarm.
type Step struct {
	Action   string   `json:"action"` // create, update, remove
	Object   string   `json:"object"` // kind and name
	Cause    string   `json:"cause"`
	Changes  []Change `json:"changes,omitempty"`
	Restarts bool     `json:"restarts,omitempty"`
	ByHand   bool     `json:"byHand,omitempty"`
	Text     string   `json:"text"`
}

// Change is one setting that differs; "" means that it is not set.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Remark is a sentence about an object.
type Remark struct {
	Object string `json:"object"`
	Text   string `json:"text"`
}

// Kind says what a rollout is for.
type Kind string

// The kinds of rollout.
const (
	KindDeploy   Kind = "deploy"
	KindRollback Kind = "rollback"
	KindScale    Kind = "scale"
)

// Rollout is bringing an environment to a release, or a service to a count.
type Rollout struct {
	ID          RolloutID               `json:"id"`
	Kind        Kind                    `json:"kind"`
	Project     project.Name            `json:"project"`
	Environment project.EnvironmentName `json:"environment"`
	Release     release.ID              `json:"release"`
	From        release.ID              `json:"from,omitempty"` // what ran before, by the record
	By          string                  `json:"by,omitempty"`
	State       release.Outcome         `json:"state"`
	Started     time.Time               `json:"started"`
	Ended       *time.Time              `json:"ended,omitempty"`
	GoingBack   bool                    `json:"goingBack,omitempty"` // it failed, and is on its way back
	Cause       string                  `json:"cause,omitempty"`     // the first thing that went wrong
	Failing     *rollout.Failing        `json:"failing,omitempty"`   // the task that shows it
	Lines       []string                `json:"lines,omitempty"`     // the last ones of that task
	Notes       []string                `json:"notes,omitempty"`     // what a person should know though it did not fail
	Plan        string                  `json:"plan,omitempty"`      // as it was when the rollout began
	Services    []Progress              `json:"services,omitempty"`
}

// Progress is how one service stands in a rollout.
type Progress struct {
	Service string        `json:"service"` // full name
	State   rollout.State `json:"state"`
	Running int           `json:"running"` // tasks of the version that is being written
	Wanted  int           `json:"wanted"`  // -1: one a node
	Others  int           `json:"others"`  // tasks of another version that are still meant to run
	Reason  string        `json:"reason,omitempty"`
}

// Event is something that happened. Seq rises through restarts; whoever missed some asks again from the last it saw.
type Event struct {
	Seq         uint64                  `json:"seq"`
	At          time.Time               `json:"at"`
	Type        string                  `json:"type"` // rollout.started, rollout.step, rollout.progress, rollout.back, rollout.ended, project.applied, project.deleted, release.created, release.discarded, release.approved, release.rejected, environment.changed
	Project     project.Name            `json:"project,omitempty"`
	Environment project.EnvironmentName `json:"environment,omitempty"`
	Release     release.ID              `json:"release,omitempty"`
	Rollout     RolloutID               `json:"rollout,omitempty"`
	State       release.Outcome         `json:"state,omitempty"` // of the rollout
	Service     *Progress               `json:"service,omitempty"`
	Text        string                  `json:"text"`
}

// Node is a node of the Swarm.
type Node struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Role         string `json:"role"`
	Leader       bool   `json:"leader"`
	State        string `json:"state"`        // ready, down, …
	Availability string `json:"availability"` // active, pause, drain
	Address      string `json:"address"`
	Engine       string `json:"engine"`
	Tasks        int    `json:"tasks"` // that run there
}

// Address is who has an address on one of Rolling's networks.
type Address struct {
	Address     netip.Addr `json:"address"`
	Network     string     `json:"network"`
	Project     string     `json:"project"`
	Environment string     `json:"environment"`
	Service     string     `json:"service"` // short; "" for a container outside Swarm's services
	Slot        string     `json:"slot,omitempty"`
	Node        string     `json:"node,omitempty"`
	Task        string     `json:"task,omitempty"`
	State       string     `json:"state,omitempty"`
	Since       time.Time  `json:"since"`

	full      string // Swarm's name of the service
	container string // its container's id
}

// AuditEntry is one thing that somebody did or tried.
type AuditEntry struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	Action string    `json:"action"`
	Object string    `json:"object"`
	Text   string    `json:"text,omitempty"`
}

// Task is one task of an environment as people see it: who runs in a slot, where, and since when it is as it is.
type Task struct {
	ID      string     `json:"id"`
	Service string     `json:"service"` // short
	Slot    string     `json:"slot"`    // "3"; of a global service the node's name, dots as _
	Node    string     `json:"node,omitempty"`
	Address string     `json:"address,omitempty"` // on the environment's network; "": none yet, or none of Rolling's
	State   string     `json:"state"`             // Swarm's word: running, starting, failed, …
	Health  string     `json:"health,omitempty"`  // healthy, unhealthy, starting; "": nobody asks it
	Release release.ID `json:"release,omitempty"` // that last changed it
	Since   time.Time  `json:"since"`             // of the state
	Message string     `json:"message,omitempty"` // Swarm's or the engine's own words, its error first
}

// Samples are the recent measurements of one task, oldest first and a fixed interval apart; the last one is of End.
// A nil value was not measured. An empty list means that the node's exporter knows nothing of the task yet.
type Samples struct {
	IntervalSeconds int        `json:"intervalSeconds"`
	End             time.Time  `json:"end"`
	CPUCores        []*float64 `json:"cpuCores"`    // 1 is one processor kept busy
	MemoryBytes     []*float64 `json:"memoryBytes"` // the working set
}

// Checks are what the health check of a task's container has said last, oldest first.
type Checks struct {
	Failed    int     // in a row, the last one included; 0: it passed, has just begun, or there is none
	Unhealthy bool    // so many that the task is ended for it
	Checks    []Check // the engine keeps few
}

// Check is one run of a health check.
type Check struct {
	Ended    time.Time
	ExitCode int // 0: it passed; -1: it did not end in time, or could not be run
	Output   string
}
