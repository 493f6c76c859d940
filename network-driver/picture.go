package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/rolling-swarm/rolling/network-driver/bgp"
	"github.com/rolling-swarm/rolling/network-driver/driver"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// deferred stands in for the speaker until the kernel has said whether this is a restart.
type deferred struct {
	settings bgp.Settings
	log      *slog.Logger

	mu      sync.Mutex // guards speaker and own
	speaker *bgp.Speaker
	own     []netip.Addr
}

// Announce passes on, or keeps for later.
func (d *deferred) Announce(own []netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.speaker != nil {
		d.speaker.Announce(own)
	}
	d.own = slices.Clone(own)
}

// begin makes the speaker, with what there is to announce.
func (d *deferred) begin(restarting bool) *bgp.Speaker {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings.Restarting = restarting
	d.speaker = bgp.New(d.settings, d.log)
	d.speaker.Announce(d.own)
	return d.speaker
}

func (d *deferred) sessions(ctx context.Context) ([]bgp.Session, error) {
	d.mu.Lock()
	speaker := d.speaker
	d.mu.Unlock()
	if speaker == nil {
		return nil, nil
	}
	return speaker.Sessions(ctx)
}

// page is /debug/state.
type page struct {
	node.Report
	Links      []string      `json:"links"`
	Neighbours []bgp.Session `json:"neighbours"`
}

func picture(ctx context.Context, n *node.Node, speaker *deferred) (driver.Picture, error) {
	r, err := n.Report(ctx)
	if err != nil {
		return driver.Picture{}, err
	}
	sessions, err := speaker.sessions(ctx)
	if err != nil {
		return driver.Picture{}, err
	}
	p := page{Report: r, Neighbours: sessions, Links: []string{}}
	joined := 0
	for _, e := range r.Endpoints {
		if e.Phase == topology.Joined {
			joined++
			p.Links = append(p.Links, topology.HostEnd(e.ID))
		}
	}
	return driver.Picture{Ready: r.Ready, Refused: r.Refused, Problems: r.Problems, State: p, Figures: figures(r, sessions, joined)}, nil
}

func figures(r node.Report, sessions []bgp.Session, joined int) []driver.Figure {
	up := 0
	var all []driver.Figure
	for _, s := range sessions {
		established := 0.0
		if s.State == bgp.Established {
			up++
			established = 1
		}
		a := s.Address.String()
		all = append(all,
			driver.Figure{Name: "rolling_net_neighbour_up", Help: "1 while the BGP session with the neighbour is established.", Value: established, Label: "neighbour", Of: a},
			driver.Figure{Name: "rolling_net_neighbour_flaps_total", Help: "How often the session with the neighbour ended.", Counter: true, Value: float64(s.Flaps), Label: "neighbour", Of: a})
	}
	ready := 0.0
	if r.Ready {
		ready = 1
	}
	return append(all,
		driver.Figure{Name: "rolling_net_ready", Help: "1 while the plugin serves the engine's calls.", Value: ready},
		driver.Figure{Name: "rolling_net_networks", Help: "Networks that this node knows.", Value: float64(len(r.Networks))},
		driver.Figure{Name: "rolling_net_endpoints", Help: "Endpoints that this node knows.", Value: float64(len(r.Endpoints))},
		driver.Figure{Name: "rolling_net_endpoints_joined", Help: "Endpoints with a link, whose addresses are announced.", Value: float64(joined)},
		driver.Figure{Name: "rolling_net_routes_learnt", Help: "Routes to other nodes' containers.", Value: float64(len(r.Routes))},
		driver.Figure{Name: "rolling_net_neighbours", Help: "BGP neighbours that this node should have.", Value: float64(len(sessions))},
		driver.Figure{Name: "rolling_net_neighbours_up", Help: "BGP neighbours with an established session.", Value: float64(up)},
		driver.Figure{Name: "rolling_net_problems", Help: "Steps of keeping the host right that fail at present.", Value: float64(len(r.Problems))},
		driver.Figure{Name: "rolling_net_joins_total", Help: "Containers joined since the plugin's start.", Counter: true, Value: float64(r.Counts.Joins)},
		driver.Figure{Name: "rolling_net_orphans_total", Help: "Endpoints forgotten since their link had gone without a Leave.", Counter: true, Value: float64(r.Counts.Orphans)},
		driver.Figure{Name: "rolling_net_route_changes_total", Help: "Changes of routes taken from the fabric.", Counter: true, Value: float64(r.Counts.Learnt)},
	)
}
