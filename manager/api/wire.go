package api

import (
	"github.com/rolling-swarm/rolling/manager/doctor"
	"github.com/rolling-swarm/rolling/manager/engine"
)

// What the API's answers are made of, by the names that its document has for them: a client in Go decodes into these.
type (
	Project     = engine.Project
	Environment = engine.Environment
	Service     = engine.Service
	Release     = engine.Release
	Plan        = engine.Plan
	Rollout     = engine.Rollout
	Progress    = engine.Progress
	Event       = engine.Event
	Task        = engine.Task
	Node        = engine.Node
	NodeDetail  = engine.NodeDetail
	Examination = engine.Examination
	Finding     = doctor.Finding
	Reach       = doctor.Reach
	Network     = engine.Network
	Pool        = engine.Pool
	Reservation = engine.Reservation
	Lease       = engine.Address // Address is where the API is served
)
