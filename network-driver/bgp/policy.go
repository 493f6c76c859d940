package bgp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/api"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
)

const (
	hostSet   = "hosts"
	poolSet   = "pools"
	wholeSet  = "whole"
	routerSet = "routers"
	// shortestPool: nobody's pool is wider than a /8.
	shortestPool = 8
)

// protect lets in only single addresses (inside the pools, where pools are set) and nothing at all from routers. It
// sends every route out with the node as its next hop, also to a router of another AS; routers get single addresses and
// whole pools, nodes only single addresses, and reflectors only those that are here.
func (r *run) protect(ctx context.Context) error {
	request := &api.SetPoliciesRequest{
		DefinedSets: []*api.DefinedSet{
			{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: hostSet, Prefixes: prefixes(r.settings.Pools, 32, 32)},
			{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: poolSet, Prefixes: prefixes(r.settings.Pools, shortestPool, 31)},
			neighbours(reflectorSet, r.reflectors),
			{DefinedType: api.DefinedType_DEFINED_TYPE_LARGE_COMMUNITY, Name: wholeSet, List: []string{fmt.Sprintf("^%d:%d:[0-9]+$", r.settings.ASN, fabric.Aggregated(0, 0).B)}},
		},
	}
	in := []*api.Statement{statement("own", &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, api.RouteAction_ROUTE_ACTION_ACCEPT)}
	var out []*api.Statement
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
	in = append(in, statement("host-in", &api.Conditions{PrefixSet: among(hostSet)}, api.RouteAction_ROUTE_ACTION_ACCEPT))
	out = append(out, toReflectors()...)
	out = append(out, statement("host-out", &api.Conditions{PrefixSet: among(hostSet)}, api.RouteAction_ROUTE_ACTION_ACCEPT))
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

// toRouter are the steps by which a route goes to one router: no address whose pool stands for it, single addresses, and
// the pools that this node itself stands for.
func toRouter(o fabric.Router) []*api.Statement {
	name := o.Address.String()
	whole := statement(name+" whole", &api.Conditions{NeighborSet: among(name), LargeCommunitySet: among(wholeSet)}, api.RouteAction_ROUTE_ACTION_REJECT)
	hosts := statement(name+" hosts", &api.Conditions{NeighborSet: among(name), PrefixSet: among(hostSet)}, api.RouteAction_ROUTE_ACTION_ACCEPT)
	if o.Own {
		hosts.Conditions.RouteType = api.Conditions_ROUTE_TYPE_LOCAL
	}
	pools := statement(name+" pools", &api.Conditions{NeighborSet: among(name), PrefixSet: among(poolSet), RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, api.RouteAction_ROUTE_ACTION_ACCEPT)
	for _, s := range []*api.Statement{hosts, pools} {
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
	return []*api.Statement{whole, hosts, pools, rest}
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

func prefixes(pools []netip.Prefix, shortest, longest int) []*api.Prefix {
	if len(pools) == 0 {
		pools = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	}
	var all []*api.Prefix
	for _, p := range pools {
		all = append(all, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: uint32(max(shortest, min(p.Bits(), longest))), MaskLengthMax: uint32(longest)})
	}
	return all
}
