package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/manager/plan"
)

// endWithin is how long the containers of a network that goes may take to end: 3.3 s until the stop signal, 55 s at most
// for drain and grace, and the node's own clean-up.
const endWithin = 75 * time.Second

// createNetwork waits until an older network of that name has left every node: a node that still holds the old one refuses
// tasks of the new one with "network not found".
func (s *Swarm) createNetwork(ctx context.Context, n swarm.NetworkSpec) (Applied, error) {
	held, err := s.awaitLeft(ctx, func(a swarm.NetworkAttachment) bool { return a.Network.Spec.Name == n.Name })
	if err != nil {
		return Applied{}, err
	}
	done, err := s.within(context.WithoutCancel(ctx), func(ctx context.Context) (Applied, error) { // what is half made would stay
		got, err := s.api.NetworkCreate(ctx, n.Name, creation(n))
		return Applied{ID: got.ID, Warnings: got.Warning}, created(err)
	})
	if err != nil {
		return Applied{}, err
	}
	if held != "" { // most likely its node is down
		done.Warnings = append(done.Warnings, fmt.Sprintf("task %s is still on an older network of that name after %s: its node takes no task of the new one until it ends", held, endWithin))
	}
	return done, s.awaitWhole(ctx, done.ID)
}

// awaitWhole waits until the leader has made the network: its drivers are asked after the engine's answer, and until then it
// is shown without a driver. If they refuse, it stays so for ever, and Swarm itself tells nobody; it is taken away then. A
// caller that learns of the refusal sooner ends the wait: it cancels ctx with a cause that is ErrRefused.
func (s *Swarm) awaitWhole(ctx context.Context, id string) error {
	deadline := time.NewTimer(answerWithin)
	defer deadline.Stop()
	for {
		got, err := s.api.NetworkInspect(ctx, id, client.NetworkInspectOptions{})
		switch {
		case err == nil && got.Network.Driver != "":
			return nil
		case err != nil && ctx.Err() == nil && !errdefs.IsNotFound(err):
			return fmt.Errorf("look at what was made: %w", err)
		}
		select {
		case <-ctx.Done():
			if err = context.Cause(ctx); !errors.Is(err, ErrRefused) {
				return fmt.Errorf("wait for its drivers: %w", ctx.Err())
			}
		case <-time.After(s.every / 3):
			continue
		case <-deadline.C:
			err = fmt.Errorf("%w: its drivers have not taken it within %s: the log of the leader's engine says why", ErrRefused, answerWithin)
		}
		_, err2 := s.within(context.WithoutCancel(ctx), func(ctx context.Context) (Applied, error) {
			_, err := s.api.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
			return Applied{}, removed(err)
		})
		return errors.Join(err, err2)
	}
}

// creation is a network in the words of the client.
func creation(n swarm.NetworkSpec) client.NetworkCreateOptions {
	o := client.NetworkCreateOptions{
		Scope: "swarm", Internal: n.Internal, Attachable: n.Attachable, Ingress: n.Ingress, Labels: n.Labels,
	}
	if n.IPv6Enabled {
		o.EnableIPv6 = &n.IPv6Enabled
	}
	if d := n.DriverConfiguration; d != nil {
		o.Driver, o.Options = d.Name, d.Options
	}
	if i := n.IPAMOptions; i != nil {
		o.IPAM = &network.IPAM{Driver: i.Driver.Name, Options: i.Driver.Options}
		for _, c := range i.Configs {
			o.IPAM.Config = append(o.IPAM.Config, network.IPAMConfig{Subnet: c.Subnet, IPRange: c.Range, Gateway: c.Gateway})
		}
	}
	return o
}

// removeNetwork first lets the last tasks end: when the network goes before them, Swarm never gives their addresses back.
// One that somebody holds on to is removed all the same, or refused by Swarm with its reason.
func (s *Swarm) removeNetwork(ctx context.Context, step plan.RemoveNetwork) (Applied, error) {
	if _, err := s.awaitLeft(ctx, func(a swarm.NetworkAttachment) bool { return a.Network.ID == step.ID }); err != nil {
		return Applied{}, err
	}
	return s.within(ctx, func(ctx context.Context) (Applied, error) {
		_, err := s.api.NetworkRemove(ctx, step.ID, client.NetworkRemoveOptions{})
		return Applied{ID: step.ID}, removed(err)
	})
}

// awaitLeft waits until no task that is on its way out is attached any more; held names one that outstays endWithin. Tasks
// that are meant to run are not waited for: they are no remains.
func (s *Swarm) awaitLeft(ctx context.Context, on func(swarm.NetworkAttachment) bool) (held string, err error) {
	deadline := time.NewTimer(endWithin)
	defer deadline.Stop()
	for {
		tasks, err := s.Tasks(ctx)
		if err != nil {
			return "", err
		}
		held = ""
		for _, t := range tasks {
			for _, a := range t.NetworksAttachments {
				if on(a) && ending(t) {
					held = t.ID
				}
			}
		}
		if held == "" {
			return "", nil
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for task %s to leave it: %w", held, ctx.Err())
		case <-deadline.C:
			return held, nil
		case <-time.After(s.every):
		}
	}
}

// ending: it is not meant to run, and its container is still there, as far as anybody knows.
func ending(t swarm.Task) bool {
	switch t.DesiredState {
	case swarm.TaskStateShutdown, swarm.TaskStateRemove:
	default:
		return false
	}
	switch t.Status.State {
	case swarm.TaskStateAssigned, swarm.TaskStateAccepted, swarm.TaskStatePreparing, swarm.TaskStateReady, swarm.TaskStateStarting, swarm.TaskStateRunning:
		return true
	}
	return false
}
