package bgp

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
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
	router, key := s.router(n)
	hold := uint64(cmp.Or(router.Hold, s.Hold) / time.Second)
	p := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: n.Address.String(), PeerAsn: n.ASN, AuthPassword: key},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: hold, KeepaliveInterval: max(hold/3, 1), ConnectRetry: connectRetry, IdleHoldTimeAfterReset: idleAfter,
		}},
		Transport: &api.Transport{LocalAddress: self.String(), RemotePort: uint32(n.Port), PassiveMode: n.Passive},
	}
	// IPv6 routes go over the same sessions, whose ends have IPv4 addresses (RFC 4760).
	for _, family := range []*api.Family{ipv4(), ipv6()} {
		p.AfiSafis = append(p.AfiSafis, &api.AfiSafi{
			Config:       &api.AfiSafiConfig{Family: family, Enabled: true},
			PrefixLimits: &api.PrefixLimit{Family: family, MaxPrefixes: s.MaxPrefixes, ShutdownThresholdPct: warnAt},
		})
	}
	if !router.Forgetful {
		p.GracefulRestart = &api.GracefulRestart{
			Enabled: true, RestartTime: uint32(restartTime / time.Second), DeferralTime: uint32(deferral / time.Second), LocalRestarting: restarting,
		}
		p.GracefulRestart.LonglivedEnabled = router.Keep > 0
		for _, a := range p.AfiSafis {
			if router.Keep > 0 {
				a.LongLivedGracefulRestart = &api.LongLivedGracefulRestart{Config: &api.LongLivedGracefulRestartConfig{Enabled: true, RestartTime: uint32(router.Keep / time.Second)}}
			}
			a.MpGracefulRestart = &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}}
		}
	}
	if n.Client {
		p.RouteReflector = &api.RouteReflector{RouteReflectorClient: true, RouteReflectorClusterId: self.String()}
	}
	s.distance(p, n, router)
	return p
}

// router are a router's own settings, and the key of TCP MD5 that holds for a neighbour.
func (s Settings) router(n topology.Neighbour) (fabric.Router, string) {
	if !n.Router {
		return fabric.Router{}, s.Key
	}
	for _, r := range s.Routers {
		if r.Address == n.Address {
			return r, s.Keys[r.Password]
		}
	}
	return fabric.Router{}, ""
}

// distance says how far away the neighbour may be.
func (s Settings) distance(p *api.Peer, n topology.Neighbour, router fabric.Router) {
	security := router.Security
	if !n.Router {
		security = s.Security
	}
	switch {
	case security > 0:
		// RFC 5082: both ends send with 255, and each hop takes one.
		p.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 256 - uint32(security)}
	case n.ASN != s.ASN:
		p.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(cmp.Or(router.Hops, routerHops))}
	}
}

func ipv4() *api.Family { return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST} }

func ipv6() *api.Family { return &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST} }

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
