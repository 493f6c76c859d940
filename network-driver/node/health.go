package node

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// silentFor: a node's agent asks every few seconds whose health is awaited. After this long without a word, nobody will
// tell: what is joined is announced as it would be without the wish, since an address that nobody knows serves nobody.
const silentFor = time.Minute

// unwell says that an endpoint's address is announced only once its container is healthy, and nobody has said so yet.
func (n *Node) unwell(e topology.Endpoint) bool {
	return e.Phase == topology.Joined && n.state.Networks[e.Network].Options.WhenHealthy && e.HealthyAt.IsZero() && !e.JoinedAt.IsZero()
}

func (n *Node) awaited() []topology.EndpointID {
	all := []topology.EndpointID{}
	for _, id := range slices.Sorted(maps.Keys(n.state.Endpoints)) {
		if n.unwell(n.state.Endpoints[id]) {
			all = append(all, id)
		}
	}
	return all
}

// Awaited are the endpoints whose health is awaited. Who asks will tell.
func (n *Node) Awaited(ctx context.Context) ([]topology.EndpointID, error) {
	return serve(ctx, n, func() ([]topology.EndpointID, error) {
		n.heard = n.parts.Now()
		return n.awaited(), nil
	})
}

// Healthy says that the containers of these endpoints are. Nobody can take it back: an address has one holder, and without
// it there would be none; whoever ends an unhealthy container ends its route with it.
func (n *Node) Healthy(ctx context.Context, ids []topology.EndpointID) error {
	return n.perform(ctx, func() error {
		n.heard = n.parts.Now()
		return n.recover(ids)
	})
}

func (n *Node) recover(ids []topology.EndpointID) error {
	var c topology.Change
	for _, id := range ids {
		if e, known := n.state.Endpoints[id]; known && n.unwell(e) {
			e.HealthyAt = n.parts.Now().UTC()
			c.PutEndpoints = append(c.PutEndpoints, e)
		}
	}
	if c.Empty() {
		return nil
	}
	if err := n.commit(c); err != nil {
		return err
	}
	n.announce()
	return nil
}

// despair announces those of whose health nobody tells.
func (n *Node) despair() {
	now := n.parts.Now()
	var late []topology.EndpointID
	for _, id := range n.awaited() {
		since := n.state.Endpoints[id].JoinedAt
		for _, t := range []time.Time{n.heard, n.begun} {
			if t.After(since) {
				since = t
			}
		}
		if now.Sub(since) > silentFor {
			late = append(late, id)
		}
	}
	if len(late) > 0 {
		n.parts.Log.Warn("no agent tells which containers are healthy; they are announced as they are", "endpoints", len(late), "silence", silentFor)
		n.note("health", n.recover(late))
	}
}
