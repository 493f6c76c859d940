package bgp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/api"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	hostSet   = "hosts"
	poolSet   = "pools"
	hostSet6  = "hosts6"
	poolSet6  = "pools6"
	wholeSet  = "whole"
	routerSet = "routers"
	// shortestPool: nobody's pool is wider than a /8.
	shortestPool = 8
	// shortestPool6 is derived from such a pool.
	shortestPool6 = 96 + shortestPool
)

// protect lets in only single addresses (inside the pools, where pools are set) and nothing at all from routers. It
// sends every route out with the node as its next hop, also to a router of another AS; routers get single addresses and
// whole pools, nodes only single addresses, and reflectors only those that are here.
func (r *run) protect(ctx context.Context) error {
	request := &api.SetPoliciesRequest{
		DefinedSets: []*api.DefinedSet{
			{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: hostSet, Prefixes: prefixes(r.settings.Pools, false, 32, 32)},
			{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: poolSet, Prefixes: prefixes(r.settings.Pools, false, shortestPool, 31)},
			{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: hostSet6, Prefixes: prefixes(r.settings.Pools, true, 128, 128)},
			{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: poolSet6, Prefixes: prefixes(r.settings.Pools, true, shortestPool6, 127)},
			neighbours(reflectorSet, r.reflectors), shadows(),
			{DefinedType: api.DefinedType_DEFINED_TYPE_LARGE_COMMUNITY, Name: wholeSet, List: []string{
				fmt.Sprintf("^%d:%d:[0-9]+$", r.settings.ASN, fabric.Aggregated(0, 0).B), fmt.Sprintf("^%d:%d:[0-9]+$", r.settings.ASN, fabric.Near(0).B)}},
		},
	}
	in := []*api.Statement{statement("own", &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, api.RouteAction_ROUTE_ACTION_ACCEPT)}
	out := []*api.Statement{noShadows()}
	if len(r.settings.Routers) > 0 {
		var all []string
		for _, o := range r.settings.Routers {
			all = append(all, host(o.Address))
			request.DefinedSets = append(request.DefinedSets, neighbours(o.Address.String(), []string{host(o.Address)}))
			out = append(out, toRouter(o)...)
		}
		request.DefinedSets = append(request.DefinedSets, neighbours(routerSet, all))
		in = append(in, statement("router-in", &api.Conditions{NeighborSet: among(routerSet)}, api.RouteAction_ROUTE_ACTION_REJECT))
	}
	out = append(out, toReflectors()...)
	for _, set := range []string{hostSet, hostSet6} {
		in = append(in, statement(set+"-in", &api.Conditions{PrefixSet: among(set)}, api.RouteAction_ROUTE_ACTION_ACCEPT))
		out = append(out, statement(set+"-out", &api.Conditions{PrefixSet: among(set)}, api.RouteAction_ROUTE_ACTION_ACCEPT))
	}
	request.Policies = []*api.Policy{{Name: "in", Statements: in}, {Name: "out", Statements: out}}
	if err := r.server.SetPolicies(ctx, request); err != nil {
		return fmt.Errorf("set the filters: %w", err)
	}
	for name, direction := range map[string]api.PolicyDirection{"in": api.PolicyDirection_POLICY_DIRECTION_IMPORT, "out": api.PolicyDirection_POLICY_DIRECTION_EXPORT} {
		err := r.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name: "global", Direction: direction, Policies: []*api.Policy{{Name: name}}, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
		}})
		if err != nil {
			return fmt.Errorf("set the filter %s: %w", name, err)
		}
	}
	return nil
}

// toRouter are the steps by which a route goes to one router: no address whose pool stands for it or that lies on a physical
// network, single addresses, and the pools that this node itself stands for.
func toRouter(o fabric.Router) []*api.Statement {
	name := o.Address.String()
	whole := statement(name+" whole", &api.Conditions{NeighborSet: among(name), LargeCommunitySet: among(wholeSet)}, api.RouteAction_ROUTE_ACTION_REJECT)
	// A router cannot use a link-local next hop of a third party (RFC 2545).
	near := statement(name+" near", &api.Conditions{NeighborSet: among(name), NextHopInList: []string{"fe80::/10"}}, api.RouteAction_ROUTE_ACTION_REJECT)
	var told []*api.Statement
	for _, set := range []string{hostSet, hostSet6} {
		s := statement(name+" "+set, &api.Conditions{NeighborSet: among(name), PrefixSet: among(set)}, api.RouteAction_ROUTE_ACTION_ACCEPT)
		if o.Own {
			s.Conditions.RouteType = api.Conditions_ROUTE_TYPE_LOCAL
		}
		told = append(told, s)
	}
	for _, set := range []string{poolSet, poolSet6} {
		told = append(told, statement(name+" "+set, &api.Conditions{NeighborSet: among(name), PrefixSet: among(set), RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, api.RouteAction_ROUTE_ACTION_ACCEPT))
	}
	for _, s := range told {
		s.Actions.Nexthop = &api.NexthopAction{Unchanged: true}
		for _, c := range o.Communities {
			if c.Large {
				s.Actions.LargeCommunity = mark(s.Actions.LargeCommunity, c)
			} else {
				s.Actions.Community = mark(s.Actions.Community, c)
			}
		}
	}
	rest := statement(name+" rest", &api.Conditions{NeighborSet: among(name)}, api.RouteAction_ROUTE_ACTION_REJECT)
	return append([]*api.Statement{whole, near}, append(told, rest)...)
}

func mark(action *api.CommunityAction, c fabric.Community) *api.CommunityAction {
	if action == nil {
		action = &api.CommunityAction{Type: api.CommunityAction_TYPE_ADD}
	}
	action.Communities = append(action.Communities, c.String())
	return action
}

func among(name string) *api.MatchSet { return &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: name} }

func statement(name string, when *api.Conditions, action api.RouteAction) *api.Statement {
	return &api.Statement{Name: name, Conditions: when, Actions: &api.Actions{RouteAction: action}}
}

// prefixes are those of one family. Where pools are set and none is of the family, nothing is let through: the set has a
// prefix that no container can have, since an empty one would match all.
func prefixes(pools []netip.Prefix, six bool, shortest, longest int) []*api.Prefix {
	whole, nobody := netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv4Unspecified(), 32)
	if six {
		whole, nobody = netip.PrefixFrom(netip.IPv6Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 128)
	}
	of := topology.OfOneFamily(pools, six)
	switch {
	case len(pools) == 0:
		of = []netip.Prefix{whole}
	case len(of) == 0:
		of, shortest, longest = []netip.Prefix{nobody}, nobody.Bits(), nobody.Bits()
	}
	var all []*api.Prefix
	for _, p := range of {
		all = append(all, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: uint32(max(shortest, min(p.Bits(), longest))), MaskLengthMax: uint32(longest)})
	}
	return all
}
