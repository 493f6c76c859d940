// Package docker is a node's engine as far as the health of containers goes: which endpoints belong to healthy ones, and
// when that may have changed. It knows Docker's API; what health is good for it does not know.
package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

const answerWithin = 5 * time.Second

// Engine is the engine of this node.
type Engine struct{ api *client.Client }

// New makes an Engine of its address, such as unix:///var/run/docker.sock. It does not connect.
func New(host string) (*Engine, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	return &Engine{api}, nil
}

// Close ends idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Healthy are those of the endpoints whose containers run, and are healthy or have no health check.
func (e *Engine) Healthy(ctx context.Context, endpoints []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := e.api.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the containers: %w", err)
	}
	var all []string
	for _, c := range got.Items {
		found := of(c, endpoints)
		if len(found) == 0 {
			continue
		}
		well, err := e.well(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		if well {
			all = append(all, found...)
		}
	}
	return all, nil
}

func of(c container.Summary, endpoints []string) []string {
	var found []string
	if c.NetworkSettings == nil {
		return nil
	}
	for _, n := range c.NetworkSettings.Networks {
		if n != nil && slices.Contains(endpoints, n.EndpointID) {
			found = append(found, n.EndpointID)
		}
	}
	return found
}

func (e *Engine) well(ctx context.Context, id string) (bool, error) {
	got, err := e.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	switch {
	case errdefs.IsNotFound(err):
		return false, nil // it has ended since
	case err != nil:
		return false, fmt.Errorf("look at container %.12s: %w", id, err)
	case got.Container.State == nil || !got.Container.State.Running:
		return false, nil
	}
	h := got.Container.State.Health
	return h == nil || h.Status == container.NoHealthcheck || h.Status == container.Healthy, nil
}

// Changes follows the engine's word on starts and on health.
func (e *Engine) Changes(ctx context.Context, tell func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	filters := make(client.Filters).Add("type", string(events.ContainerEventType)).Add("event", string(events.ActionStart), string(events.ActionHealthStatus))
	stream := e.api.Events(ctx, client.EventsListOptions{Filters: filters})
	for {
		select {
		case <-stream.Messages:
			tell()
		case err := <-stream.Err:
			if err == nil {
				err = errors.New("it has ended")
			}
			return fmt.Errorf("follow the engine's events: %w", err)
		}
	}
}
