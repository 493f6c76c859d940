package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Figures of a session that gobgp would set to half a minute or more.
const (
	connectRetry = 1 // seconds between two attempts to dial
	idleAfter    = 1 // seconds in Idle after a reset
	warnAt       = 80
	// routerHops: a site's router of another AS may be more than one hop away.
	routerHops = 8
)

// peer is a session as gobgp wants it. gobgp's own BFD stays off: it undoes graceful restart.
func peer(s Settings, self netip.Addr, n topology.Neighbour, restarting bool) *api.Peer {
	hold := uint64(s.Hold / time.Second)
	p := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: n.Address.String(), PeerAsn: n.ASN},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: hold, KeepaliveInterval: max(hold/3, 1), ConnectRetry: connectRetry, IdleHoldTimeAfterReset: idleAfter,
		}},
		Transport: &api.Transport{LocalAddress: self.String(), RemotePort: uint32(n.Port), PassiveMode: n.Passive},
		GracefulRestart: &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(restartTime / time.Second), DeferralTime: uint32(deferral / time.Second), LocalRestarting: restarting,
		},
		AfiSafis: []*api.AfiSafi{{
			Config:            &api.AfiSafiConfig{Family: ipv4(), Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}},
			PrefixLimits:      &api.PrefixLimit{Family: ipv4(), MaxPrefixes: s.MaxPrefixes, ShutdownThresholdPct: warnAt},
		}},
	}
	if n.Client {
		p.RouteReflector = &api.RouteReflector{RouteReflectorClient: true, RouteReflectorClusterId: self.String()}
	}
	if n.ASN != s.ASN {
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: routerHops}
	}
	return p
}

func ipv4() *api.Family { return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST} }

const (
	hostSet   = "hosts"
	routerSet = "routers"
)

// protect lets in only single addresses (inside the pools, where pools are set) and nothing at all from routers, and
// sends every route out with the node as its next hop, also to a router of another AS.
func (r *run) protect(ctx context.Context) error {
	request := &api.SetPoliciesRequest{
		DefinedSets: []*api.DefinedSet{{DefinedType: api.DefinedType_DEFINED_TYPE_PREFIX, Name: hostSet, Prefixes: hostPrefixes(r.settings.Pools)}},
	}
	in, out := []*api.Statement{statement("own", &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL}, api.RouteAction_ROUTE_ACTION_ACCEPT)}, []*api.Statement(nil)
	if len(r.settings.Routers) > 0 {
		var list []string
		for _, o := range r.settings.Routers {
			list = append(list, netip.PrefixFrom(o.Address, o.Address.BitLen()).String())
		}
		request.DefinedSets = append(request.DefinedSets, &api.DefinedSet{DefinedType: api.DefinedType_DEFINED_TYPE_NEIGHBOR, Name: routerSet, List: list})
		routers := &api.Conditions{NeighborSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: routerSet}}
		in = append(in, statement("router-in", routers, api.RouteAction_ROUTE_ACTION_REJECT))
		keep := statement("router-out", routers, api.RouteAction_ROUTE_ACTION_ACCEPT)
		keep.Actions.Nexthop = &api.NexthopAction{Unchanged: true}
		out = append(out, keep)
	}
	hosts := &api.Conditions{PrefixSet: &api.MatchSet{Type: api.MatchSet_TYPE_ANY, Name: hostSet}}
	in = append(in, statement("host", hosts, api.RouteAction_ROUTE_ACTION_ACCEPT))
	request.Policies = []*api.Policy{{Name: "in", Statements: in}, {Name: "out", Statements: out}}
	if err := r.server.SetPolicies(ctx, request); err != nil {
		return fmt.Errorf("set the filters: %w", err)
	}
	for name, a := range map[string]*api.PolicyAssignment{
		"in":  {Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT},
		"out": {Direction: api.PolicyDirection_POLICY_DIRECTION_EXPORT, DefaultAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	} {
		a.Name, a.Policies = "global", []*api.Policy{{Name: name}}
		if err := r.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
			return fmt.Errorf("set the filter %s: %w", name, err)
		}
	}
	return nil
}

func statement(name string, when *api.Conditions, action api.RouteAction) *api.Statement {
	return &api.Statement{Name: name, Conditions: when, Actions: &api.Actions{RouteAction: action}}
}

func hostPrefixes(pools []netip.Prefix) []*api.Prefix {
	if len(pools) == 0 {
		pools = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	}
	var all []*api.Prefix
	for _, p := range pools {
		all = append(all, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: 32, MaskLengthMax: 32})
	}
	return all
}

// quiet keeps gobgp's chatter out of our log: its logger takes the level from the handler's options, ours has none.
type quiet struct {
	slog.Handler
	level *slog.LevelVar
}

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= q.level.Level() && q.Handler.Enabled(ctx, l)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.level}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name), q.level} }
