package node

import (
	"context"
	"errors"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// errCleared is why no call is served by a plugin that is about to be removed.
var errCleared = errors.New("the plugin is about to be removed, and has taken away what it had put on this host: start it anew, or DELETE /clear, to have it back")

// Clear takes everything off the host but what containers hold, which goes with them: Docker tells a plugin that it ends,
// but not whether another comes in its place, for which all of it must stay. From then on no call is served.
func (n *Node) Clear(ctx context.Context) error {
	_, err := do(ctx, n, func() (nothing, error) {
		if n.store == nil {
			return nothing{}, n.refused
		}
		n.refused, n.steps, n.borders = errCleared, nil, nil
		n.parts.Announcer.Announce(nil)
		problems := []error{n.parts.Fast.Set(topology.Fast{}), n.parts.Gate.Check(nil), n.parts.Gate.Set(nil), n.parts.Roads.Set(nil, true)}
		n.apart.carried = topology.Fast{}
		n.parts.Isolation.Wall.Doubt()
		problems = append(problems, n.parts.Isolation.Wall.Set(isolation.Wall{}, isolation.Wall{})) // after the ways there: until here it has judged
		if n.parts.Doors != nil {
			n.shut = false
			n.parts.Doors.Doubt()
			problems = append(problems, n.parts.Doors.Set(nil))
		}
		if n.parts.Six != nil {
			problems = append(problems, n.parts.Six.Set(topology.Six{}))
		}
		if n.parts.Fence != nil {
			problems = append(problems, n.parts.Fence.Set(nil))
		}
		return nothing{}, errors.Join(problems...)
	})
	return err
}

// Restore undoes Clear.
func (n *Node) Restore(ctx context.Context) error {
	_, err := do(ctx, n, func() (nothing, error) {
		if errors.Is(n.refused, errCleared) {
			n.refused = nil
			n.observe()
			n.reconcile()
		}
		return nothing{}, nil
	})
	return err
}
