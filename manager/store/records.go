package store

import (
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
)

// Project is one version of a project's file, with what goes with it. A project is parsed again from its bytes.
type Project struct {
	Name     project.Name      `json:"name"`
	Version  uint64            `json:"version"` // rises over all projects, so that one made anew never has an old version
	FileName string            `json:"fileName"`
	File     []byte            `json:"file"`
	Files    map[string][]byte `json:"files,omitempty"` // contents of configs and secrets: the store's file is as secret as they are
	By       string            `json:"by,omitempty"`
	At       time.Time         `json:"at"`
}

// Environment is what one environment should run, as far as it is proved, and who holds it.
type Environment struct {
	Project  project.Name                   `json:"project"`
	Name     project.EnvironmentName        `json:"name"`
	Release  release.ID                     `json:"release,omitempty"` // of the last success
	Version  uint64                         `json:"version,omitempty"` // of the project file that it was made of
	Replicas map[project.ServiceName]uint64 `json:"replicas,omitempty"`
	Rollout  RolloutID                      `json:"rollout,omitempty"` // the one that holds it; "": it is free
}

// RolloutID names a rollout: "ro" and a number that rises over all of them.
type RolloutID string

// Rollout is one attempt to bring an environment to a release, or one of its services to a count, with all that a
// manager that was restarted needs to go on.
type Rollout struct {
	ID          RolloutID                      `json:"id"`
	Kind        string                         `json:"kind"`
	Project     project.Name                   `json:"project"`
	Environment project.EnvironmentName        `json:"environment"`
	Release     release.ID                     `json:"release"`
	From        release.ID                     `json:"from,omitempty"`
	Version     uint64                         `json:"version"`            // of the project file
	Replicas    map[project.ServiceName]uint64 `json:"replicas,omitempty"` // the counts that hold in it
	Only        string                         `json:"only,omitempty"`     // full name of the one service that it may touch
	Overwrite   bool                           `json:"overwrite,omitempty"`
	By          string                         `json:"by,omitempty"`
	Plan        string                         `json:"plan"`  // as it was at the start, for people
	Event       uint64                         `json:"event"` // the first one that tells of it

	State    release.Outcome  `json:"state"`
	Started  time.Time        `json:"started"`
	Ended    time.Time        `json:"ended,omitzero"`
	Cancel   string           `json:"cancel,omitempty"` // who asked to stop it
	Back     bool             `json:"back,omitempty"`   // it failed, and is on its way back
	BackAs   release.Outcome  `json:"backAs,omitempty"` // how it ends when it is back
	Cause    string           `json:"cause,omitempty"`
	Failing  *rollout.Failing `json:"failing,omitempty"`
	Lines    []string         `json:"lines,omitempty"`
	Notes    []string         `json:"notes,omitempty"`
	Services []Service        `json:"services,omitempty"` // in the order in which they were touched
	Objects  []string         `json:"objects,omitempty"`  // what else was written
}

// Service is one service that a rollout has touched.
type Service struct {
	Name   string             `json:"name"` // full name
	ID     string             `json:"id,omitempty"`
	Before *swarm.ServiceSpec `json:"before,omitempty"` // what ran before, networks by name; nil: it is new
	Memory rollout.Memory     `json:"memory"`
	// Written: Swarm has taken the spec. Before that it may have or not: a crash lies between.
	Written bool          `json:"written,omitempty"`
	State   rollout.State `json:"state"`
	Reason  string        `json:"reason,omitempty"`
	Running int           `json:"running"`
	Wanted  int           `json:"wanted"`
	Others  int           `json:"others"`
}

// Event is something that happened and that somebody may be waiting for.
type Event struct {
	Seq         uint64                  `json:"seq"`
	At          time.Time               `json:"at"`
	Type        string                  `json:"type"`
	Project     project.Name            `json:"project,omitempty"`
	Environment project.EnvironmentName `json:"environment,omitempty"`
	Release     release.ID              `json:"release,omitempty"`
	Rollout     RolloutID               `json:"rollout,omitempty"`
	State       release.Outcome         `json:"state,omitempty"`
	Service     *Service                `json:"service,omitempty"` // without memory
	Text        string                  `json:"text"`
}

// Entry is one line of the audit. It is added and never changed.
type Entry struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	Action string    `json:"action"`
	Object string    `json:"object"`
	Text   string    `json:"text,omitempty"`
}
