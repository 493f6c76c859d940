package bgp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestAllIsSentAgainFiveSecondsAfterABurstOfJoins(t *testing.T) {
	begun := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name       string
		restarting bool
		joins      []float64 // seconds after the start
		want       []float64
	}{
		{"nobody joins: every ten minutes", false, nil, []float64{600, 1200}},
		{"one joins", false, []float64{2}, []float64{7, 607, 1207}},
		{"a burst is one", false, []float64{2, 3, 6}, []float64{11, 611, 1211}},
		{"a session that comes and goes cannot put it off for ever", false, []float64{2, 6, 10, 14, 18, 22, 26}, []float64{22, 31, 631}},
		{"a restarted reflector does not say End-of-RIB before it has heard the others", true, []float64{1, 2}, []float64{15, 615, 1215}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDeadlines(begun, c.restarting)
			joins := c.joins
			var got []float64
			for s := 0.0; s <= 1300 && len(got) < len(c.want); s += 0.5 {
				now := begun.Add(time.Duration(s * float64(time.Second)))
				for len(joins) > 0 && joins[0] <= s {
					d.joined(now)
					joins = joins[1:]
				}
				if d.repairs(now, 0) {
					got = append(got, s)
				}
			}
			for i := range c.want {
				if i >= len(got) || got[i] != c.want[i] {
					t.Fatalf("sent again at %v, want %v", got, c.want)
				}
			}
		})
	}
}

func TestNothingIsSentAgainWhileAllIsStillBeingSent(t *testing.T) {
	begun := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		until float64 // seconds in which something is sent in each half
		want  float64
	}{
		{"silent before it is due", 4, 7.5},
		{"some seconds of updates", 9, 9.5},
		{"one who never falls silent is not waited for", 1000, 12},
	} {
		d := newDeadlines(begun, false)
		d.joined(begun.Add(2 * time.Second))
		sent, got := uint64(0), 0.0
		for s := 0.0; s < 100 && got == 0; s += 0.5 {
			if s <= c.until {
				sent += 3
			}
			if now := begun.Add(time.Duration(s * float64(time.Second))); d.due(now) && d.repairs(now, sent) {
				got = s
			}
		}
		if got != c.want {
			t.Errorf("%s: sent again at %v, want %v", c.name, got, c.want)
		}
	}
}

func TestALargeSwarmIsMendedByAndBy(t *testing.T) {
	for routes, want := range map[int]int{0: mendAtOnce, 500: 40, 10000: 2, 50000: 1} {
		if got := atOnce(routes); got != want {
			t.Errorf("%d routes: to %d neighbours a beat, want %d", routes, got, want)
		}
	}
}

func TestWhatIsStale(t *testing.T) {
	type at struct {
		second            float64
		neighbours, heard int
	}
	begun := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		seen []at
		want float64 // when it settles; 0: never
	}{
		{"all heard: after a moment for the last updates", []at{{1, 3, 1}, {2, 3, 3}, {3, 3, 3}, {4, 3, 3}, {5, 3, 3}}, 4},
		{"one silent: when its restart time is over", []at{{2, 3, 2}, {29, 3, 2}, {30, 3, 2}, {32, 3, 2}, {33, 3, 2}}, 32},
		{"all silent: nothing is stale, what runs keeps being forwarded", []at{{2, 3, 0}, {30, 3, 0}, {300, 3, 0}, {3000, 3, 0}}, 0},
		{"a Swarm of one", []at{{2, 0, 0}, {29, 0, 0}, {30, 0, 0}, {32, 0, 0}}, 32},
		{"one that goes again in that moment", []at{{2, 2, 2}, {3, 2, 1}, {5, 2, 2}, {6, 2, 2}, {7, 2, 2}}, 7},
		{"only once", []at{{2, 1, 1}, {4, 1, 1}, {6, 1, 1}, {60, 1, 1}}, 4},
	} {
		d := newDeadlines(begun, true)
		got := 0.0
		for _, s := range c.seen {
			if d.settles(begun.Add(time.Duration(s.second*float64(time.Second))), s.neighbours, s.heard) {
				if got != 0 {
					t.Errorf("%s: twice", c.name)
				}
				got = s.second
			}
		}
		if got != c.want {
			t.Errorf("%s: settled at %v, want %v", c.name, got, c.want)
		}
	}
}

func TestARoutersOptionsAreSet(t *testing.T) {
	routers, err := fabric.ParseRouters("10.0.0.1+password=tor+gtsm=2+hold=3s+restart=off 10.0.0.2@65001+hops=3 10.0.0.3@65001", 64512)
	if err != nil {
		t.Fatal(err)
	}
	s := Settings{ASN: 64512, Hold: 9 * time.Second, Routers: routers, Key: "inside", Keys: map[string]string{"tor": "s3cret"}, Security: 1}
	of := func(r fabric.Router) *api.Peer {
		return peer(s, netip.MustParseAddr("10.98.0.21"), topology.Neighbour{Address: r.Address, ASN: r.ASN, Router: true}, false)
	}
	if p := of(routers[0]); p.Conf.AuthPassword != "s3cret" || p.TtlSecurity.GetTtlMin() != 254 || p.EbgpMultihop != nil || p.Timers.Config.HoldTime != 3 || p.GracefulRestart != nil || p.AfiSafis[0].MpGracefulRestart != nil {
		t.Errorf("the first: %+v", p)
	}
	if p := of(routers[1]); p.Conf.AuthPassword != "" || p.TtlSecurity != nil || p.EbgpMultihop.GetMultihopTtl() != 3 || p.Timers.Config.HoldTime != 9 || p.GracefulRestart == nil {
		t.Errorf("the second: %+v", p)
	}
	if p := of(routers[2]); p.EbgpMultihop.GetMultihopTtl() != routerHops {
		t.Errorf("the third: %+v", p)
	}
	if p := peer(s, netip.MustParseAddr("10.98.0.21"), topology.Neighbour{Address: loop(1), ASN: 64512}, false); p.Conf.AuthPassword != "inside" || p.TtlSecurity.GetTtlMin() != 255 {
		t.Errorf("a node: %+v", p)
	}
}

func TestASessionIsSetAsMeasured(t *testing.T) {
	self := netip.MustParseAddr("10.98.0.21")
	s := Settings{ASN: 64512, Port: 1790, Hold: 9 * time.Second, MaxPrefixes: 100}
	n := topology.Neighbour{Address: netip.MustParseAddr("10.98.0.24"), ASN: 64512, Port: 1790, Passive: true, Client: true}
	p := peer(s, self, n, true)
	if g := p.GracefulRestart; !g.Enabled || g.RestartTime != 20 || g.DeferralTime != 10 || !g.LocalRestarting || g.NotificationEnabled {
		t.Errorf("graceful restart %+v", g)
	}
	if c := p.Timers.Config; c.HoldTime != 9 || c.KeepaliveInterval != 3 || c.ConnectRetry != 1 || c.IdleHoldTimeAfterReset != 1 {
		t.Errorf("timers %+v", c)
	}
	if !p.Transport.PassiveMode || p.Transport.RemotePort != 1790 || !p.RouteReflector.RouteReflectorClient || p.Bfd != nil || p.EbgpMultihop != nil {
		t.Errorf("peer %+v", p)
	}
	if l := p.AfiSafis[0].PrefixLimits; l.MaxPrefixes != 100 {
		t.Errorf("limit %+v", l)
	}
	n.ASN, n.Client = 65001, false
	if p := peer(s, self, n, false); p.EbgpMultihop == nil || p.RouteReflector != nil || p.GracefulRestart.LocalRestarting {
		t.Errorf("a router of another AS: %+v", p)
	}
}
