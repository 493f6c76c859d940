package cluster

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

// Self is the id of the node whose engine this is.
func (s *Swarm) Self(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	got, err := s.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the engine which node this is: %w: %w", ErrAway, err)
	}
	return got.Info.Swarm.NodeID, nil
}

// SetAvailability says whether a node is to have tasks: active, pause or drain. What it is already is not written again.
func (s *Swarm) SetAvailability(ctx context.Context, nodeID, to string) error {
	_, err := s.within(ctx, func(ctx context.Context) (Applied, error) {
		got, err := s.api.NodeInspect(ctx, nodeID, client.NodeInspectOptions{})
		switch {
		case errdefs.IsNotFound(err):
			return Applied{}, fmt.Errorf("%w: %w", ErrGone, err)
		case err != nil:
			return Applied{}, fmt.Errorf("look at it: %w", err)
		case string(got.Node.Spec.Availability) == to:
			return Applied{}, nil
		}
		spec := got.Node.Spec
		spec.Availability = swarm.NodeAvailability(to)
		_, err = s.api.NodeUpdate(ctx, nodeID, client.NodeUpdateOptions{Version: got.Node.Version, Spec: spec})
		return Applied{}, written(err)
	})
	if err != nil {
		return fmt.Errorf("node %s: %w", nodeID, sorted(err))
	}
	return nil
}
