// Package project reads a project file: a Compose file with one extra key, x-rolling. It knows Compose's keys, which of
// them Swarm honours, stages, freeze windows and how an environment's services are merged over the project's.
// It knows no Swarm object, no file system, no environment variable and no clock: bytes come in, a Project or all the
// problems at once go out. It is parsed again from its bytes rather than stored in parts.
package project

import (
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// The names that a project file gives. A ServiceName is the short one; Swarm's is Namespace + "_" + ServiceName.
type (
	Name            string
	EnvironmentName string
	ServiceName     string
)

// Stage is how far an environment is from users.
type Stage int

// The stages in the order in which a release goes through them.
const (
	Isolated Stage = iota
	Test
	PreRelease
	Grey
	Production
)

func stageNames() []string {
	return []string{"isolated", "test", "pre-release", "grey", "production"}
}

func (s Stage) String() string {
	if names := stageNames(); s >= 0 && int(s) < len(names) {
		return names[s]
	}
	return "unknown"
}

// Project is one project file, checked.
type Project struct {
	Name         Name
	Source       Source
	Environments []Environment // by stage, then by name
}

// Source says where the project's code is, for the builder.
type Source struct {
	Repository string
	Dockerfile string
}

// Environment is one place where the project runs.
type Environment struct {
	Name      EnvironmentName
	Stage     Stage
	Approvals int // people other than the author who must agree before a release comes here
	Freezes   []Freeze
	Rollout   Rollout

	// Model is Compose's view of the project with this environment's services merged in: only keys that Swarm honours,
	// every reference declared, contents of configs and secrets filled in. It is shared: nobody may change it.
	Model *types.Project

	// Networks holds the rolling.* settings of networks.X.x-rolling by the network's name in the file, full keys.
	Networks map[string]map[string]string
}

// Environment gives the environment of that name.
func (p *Project) Environment(name EnvironmentName) (Environment, bool) {
	for _, e := range p.Environments {
		if e.Name == name {
			return e, true
		}
	}
	return Environment{}, false
}

// EnvironmentNames are the names of all environments, by stage.
func (p *Project) EnvironmentNames() []string {
	var names []string
	for _, e := range p.Environments {
		names = append(names, string(e.Name))
	}
	return names
}

// Namespace is the stack name of an environment; every name in Swarm begins with it.
func Namespace(p Name, e EnvironmentName) string { return string(p) + "-" + string(e) }

// FullName is the name in Swarm of one of the file's services, networks or volumes.
func FullName(p Name, e EnvironmentName, short string) string { return Namespace(p, e) + "_" + short }

// MaxName is Swarm's limit on the name of a service or network.
const MaxName = 63

// Pause says where a rollout waits for a person.
type Pause string

// The pauses that a project file may ask for.
const (
	PauseNever      Pause = "never"
	PauseAfterFirst Pause = "after-first"
	PauseAfterEach  Pause = "after-each"
)

// OnFailure says what happens when a rollout fails.
type OnFailure string

// The two answers to a failure: back to the release before, or stop and leave it to a person.
const (
	OnFailureRollback OnFailure = "rollback"
	OnFailurePause    OnFailure = "pause"
)

// Rollout says how an environment is brought to another release.
type Rollout struct {
	Batches   []Batch // growing, the last is everything
	Pause     Pause
	Deadline  time.Duration // without progress for this long, the rollout has failed
	OnFailure OnFailure
}

// Batch is how many tasks shall run the new release once the batch is done: a count, or a share in percent.
type Batch struct {
	Count   int
	Percent int // used when Count is 0
}

// Sizes are the batches of a service with so many replicas, as rising totals that end at replicas. A share is rounded
// up, so that a batch is never empty.
func (r Rollout) Sizes(replicas int) []int {
	var sizes []int
	last := 0
	for _, b := range r.Batches {
		n := b.Count
		if n == 0 {
			n = (replicas*b.Percent + 99) / 100
		}
		if n = min(n, replicas); n > last {
			sizes, last = append(sizes, n), n
		}
	}
	if last < replicas {
		sizes = append(sizes, replicas)
	}
	return sizes
}

// defaultDeadline is Nomad's, and longer than any sane image pull.
const defaultDeadline = 10 * time.Minute

// Freeze is a time in which nothing is deployed to an environment.
type Freeze struct {
	Days     [7]bool       // by time.Weekday: the days on which the window opens
	From, To time.Duration // since midnight; To at or before From means the next day
	Zone     *time.Location
	Except   []Date // days on which it does not open
}

// Date is a day of the calendar, in whatever zone it is asked about.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}
