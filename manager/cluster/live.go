package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

// Living lists the tasks of services that are meant to run, or to be ready to. Swarm keeps up to five ended ones for each of
// them, which this question leaves with the engine.
func (s *Swarm) Living(ctx context.Context) ([]swarm.Task, error) {
	return s.list(ctx, make(client.Filters).Add("desired-state", string(swarm.TaskStateRunning), string(swarm.TaskStateReady)))
}

// TasksOf lists all tasks that Swarm still knows of the services with these labels.
func (s *Swarm) TasksOf(ctx context.Context, labels map[string]string) ([]swarm.Task, error) {
	filters := make(client.Filters)
	for name, value := range labels {
		filters.Add("label", name+"="+value)
	}
	return s.list(ctx, filters)
}

func (s *Swarm) list(ctx context.Context, filters client.Filters) ([]swarm.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := s.api.TaskList(ctx, client.TaskListOptions{Filters: filters})
	return got.Items, asked(err, "tasks")
}

// Task gives one task, by its whole id. It fails with ErrGone when Swarm knows it no more.
func (s *Swarm) Task(ctx context.Context, id string) (swarm.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := s.api.TaskInspect(ctx, id, client.TaskInspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		return swarm.Task{}, fmt.Errorf("task %s: %w", id, ErrGone)
	case err != nil:
		return swarm.Task{}, fmt.Errorf("look at task %s: %w: %w", id, ErrAway, err)
	}
	return got.Task, nil
}

// Changes tells of every service that is made, changed or removed, by whomever, until ctx ends or the engine breaks off. Of
// tasks Swarm tells nothing: whoever wants to know of them asks.
func (s *Swarm) Changes(ctx context.Context, tell func(serviceID string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream := s.api.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("scope", "swarm").Add("type", string(events.ServiceEventType))})
	for {
		select {
		case m := <-stream.Messages:
			tell(m.Actor.ID)
		case err := <-stream.Err:
			if err == nil {
				err = errors.New("it has ended")
			}
			return fmt.Errorf("follow the Swarm's events: %w", err)
		}
	}
}
