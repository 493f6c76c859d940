package line

import (
	"context"
	"net/url"
	"strconv"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Network is how the network of a node stands, by its agent.
func (s *Switchboard) Network(ctx context.Context, node string) (wire.Network, error) {
	var got wire.Network
	err := s.ask(ctx, node, wire.PathNetwork, nil, &got)
	return got, err
}

// RoutesOf are the routes that a node has.
func (s *Switchboard) RoutesOf(ctx context.Context, node string) (wire.Routes, error) {
	var got wire.Routes
	err := s.ask(ctx, node, wire.PathRoutes, nil, &got)
	return got, err
}

// Reach is whether a node lets one address connect to another.
func (s *Switchboard) Reach(ctx context.Context, node, from, to string) (wire.Reach, error) {
	var got wire.Reach
	err := s.ask(ctx, node, wire.PathReach, url.Values{"from": {from}, "to": {to}}, &got)
	return got, err
}

// Drain has a node mark all that it announces for a shutdown, or no longer.
func (s *Switchboard) Drain(ctx context.Context, node string, on bool) error {
	return s.tell(ctx, node, wire.PathDrain, url.Values{"on": {strconv.FormatBool(on)}})
}
