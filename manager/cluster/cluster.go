// Package cluster is the only room that talks to Docker. It takes a snapshot of what a Swarm holds, carries out one step of
// a plan, and looks at one service. It knows the engine's API, ids, and what an answer of the engine means.
// It decides nothing: what should run, in which order, and whether an update went well is not known here. An answer is
// whole or an error.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moby/moby/client"
)

// ErrConflict is the failure of a write over a version that is no longer the newest: observe, and decide again.
var ErrConflict = errors.New("somebody else wrote meanwhile")

// ErrGone is the failure of a write to what is not there any more.
var ErrGone = errors.New("it is not there any more")

// ErrRefused is the failure of a write that Swarm will not take however often it is asked.
var ErrRefused = errors.New("Swarm refuses it")

// ErrAway is the failure to get an answer: the engine is away, or the Swarm has no leader. Whether a write was taken,
// nobody knows.
var ErrAway = errors.New("Swarm does not answer")

// Applied is what a step left in the Swarm.
type Applied struct {
	ID       string
	Version  uint64   // of a service, as the write left it
	Warnings []string // of the engine, for a person
}

// Place is where a container is, or was.
type Place struct {
	Node, Task, Container string // ids
}

// answerWithin bounds one question to the engine, which may be busy or have no leader.
const answerWithin = 15 * time.Second

// Swarm is a Swarm by way of one of its managers' engines.
type Swarm struct {
	api *client.Client
	// every is how often a thing that is on its way out is looked at again.
	every time.Duration
}

// New makes a Swarm of an engine's address, such as unix:///var/run/docker.sock. It does not connect.
func New(host string) (*Swarm, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	return Of(api), nil
}

// Of makes a Swarm of a client that the caller has made.
func Of(api *client.Client) *Swarm { return &Swarm{api: api, every: 300 * time.Millisecond} }

// Close ends idle connections.
func (s *Swarm) Close() error { return s.api.Close() }

// Ready says whether the engine answers and is a manager that knows a leader.
func (s *Swarm) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if _, err := s.api.SwarmInspect(ctx, client.SwarmInspectOptions{}); err != nil {
		return fmt.Errorf("ask the engine for its Swarm: %w", err)
	}
	return nil
}
