package engine

import (
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// RolloutID names a rollout.
type RolloutID = store.RolloutID

// Apply asks to keep a project file.
type Apply struct {
	FileName  string            // for error texts; "" is rolling.yml
	File      []byte            // the project file
	Files     map[string][]byte // what it names, by the path as written: see project.FilesNamed
	By        string
	IfVersion *uint64 // the version that it replaces; 0: it must be new; nil: whatever there is
	DryRun    bool    // only say what is wrong
}

// Delete asks to forget a project, or to empty one of its environments.
type Delete struct {
	Project     project.Name
	Environment project.EnvironmentName // "": the project and all that is kept of it; else only what this one runs is removed
	By          string
	IfVersion   *uint64
	Services    bool // remove what runs first; else nothing is deleted that runs something
}

// NewRelease asks for a release.
type NewRelease struct {
	Project project.Name
	ID      release.ID // "": the next number, as r-N
	Commit  string
	Images  map[project.ServiceName]string // by tag or digest; the key "" stands for every service that is not named
	By      string
}

// Discard asks to take a release out of use.
type Discard struct {
	Project project.Name
	Release release.ID
	By      string
	Reason  string
}

// Word is one person's yes or no to one release for one environment.
type Word struct {
	Project     project.Name
	Release     release.ID
	Environment project.EnvironmentName
	By          string
	Agrees      bool
	Reason      string
}

// PlanOf asks what a deployment would do.
type PlanOf struct {
	Project     project.Name
	Environment project.EnvironmentName
	Release     release.ID // "": the one that runs there
}

// Deploy asks to bring an environment to a release.
type Deploy struct {
	Project     project.Name
	Environment project.EnvironmentName // Promote: "" is the next stage that the release has not reached
	Release     release.ID
	By          string
	Overwrite   bool // also what was changed by hand
}

// Rollback asks to bring an environment back to its last good release.
type Rollback struct {
	Project     project.Name
	Environment project.EnvironmentName
	By          string
	Overwrite   bool
}

// Scale asks for another count of one service.
type Scale struct {
	Project     project.Name
	Environment project.EnvironmentName
	Service     project.ServiceName
	Replicas    *uint64 // nil: the project file's own again
	By          string
	Overwrite   bool
}

// Cancel asks to stop a rollout and go back.
type Cancel struct {
	Rollout RolloutID
	By      string
}

// RolloutsOf asks for rollouts, newest first.
type RolloutsOf struct {
	Project     project.Name            // "": of all
	Environment project.EnvironmentName // "": of all; else Project must be said
	Limit       int                     // 0: 50
	Before      RolloutID               // only older ones than this; "": from the newest
}

// AddressesOf asks who has which address. An empty field means all.
type AddressesOf struct {
	Project     project.Name
	Environment project.EnvironmentName
}
