package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"
)

// reflectorSet are the neighbours that hear every node themselves, and so are told nothing but what is here. If
// reflectors told each other of their clients, gobgp would never take it back when the client is gone: its filterpath
// (v4.8.0) withdraws nothing where the best path turns from a client's to that of an inner neighbour, and two reflectors
// then keep a dead node's routes alive for each other.
const reflectorSet = "reflectors"

// reflects settles who is told what. A neighbour that was promoted while its session was up is still reflected to,
// until it has met all nodes itself and a new session begins; one that was demoted is reflected to from now on.
func (r *run) reflects(ctx context.Context, want wish) error {
	set := []string{host(r.self)}
	var turned []netip.Addr
	for _, n := range want.neighbours {
		have, known := r.neighbours[n.Address]
		switch {
		case n.Router:
		case !n.Client && (!known || !have.Client || have.Router):
			set = append(set, host(n.Address))
		case known && slices.Contains(r.reflectors, host(n.Address)):
			turned = append(turned, n.Address)
		}
	}
	// The set is added to and taken from: a replaced one is a new one, which the steps do not look at (gobgp v4.8.0).
	if more := without(set, r.reflectors); len(more) > 0 {
		if err := r.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: neighbours(reflectorSet, more)}); err != nil {
			return fmt.Errorf("add neighbours that are told only this node's routes: %w", err)
		}
	}
	if fewer := without(r.reflectors, set); len(fewer) > 0 {
		if err := r.server.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: neighbours(reflectorSet, fewer)}); err != nil {
			return fmt.Errorf("take out neighbours that are told all routes: %w", err)
		}
	}
	r.reflectors = set
	for _, a := range turned {
		err := r.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: a.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
		if err != nil {
			return fmt.Errorf("neighbour %s, no longer a manager: tell it all routes: %w", a, err)
		}
	}
	return nil
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

func host(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }

func neighbours(name string, list []string) *api.DefinedSet {
	return &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: name, List: list}
}

// toReflectors are the steps by which routes go to those who hear every node themselves.
func toReflectors() []*api.Statement {
	var all []*api.Statement
	for _, set := range []string{hostSet, hostSet6} {
		all = append(all, statement("reflectors "+set, &api.Conditions{NeighborSet: among(reflectorSet), PrefixSet: among(set), RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, api.RouteAction_ROUTE_ACTION_ACCEPT))
	}
	return append(all, statement("reflectors rest", &api.Conditions{NeighborSet: among(reflectorSet)}, api.RouteAction_ROUTE_ACTION_REJECT))
}
