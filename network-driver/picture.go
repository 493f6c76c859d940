package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/rolling-swarm/rolling/network-driver/balance"
	"github.com/rolling-swarm/rolling/network-driver/bgp"
	"github.com/rolling-swarm/rolling/network-driver/driver"
	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/liveness"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/probe"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// deferred stands in for the speaker until the kernel has said whether this is a restart.
type deferred struct {
	settings bgp.Settings
	log      *slog.Logger

	mu      sync.Mutex // guards the rest
	speaker *bgp.Speaker
	own     []fabric.Announcement
	drained bool
	stand   topology.Uplink
}

// Announce passes on, or keeps for later.
func (d *deferred) Announce(own []fabric.Announcement) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.speaker != nil {
		d.speaker.Announce(own)
	}
	d.own = slices.Clone(own)
}

// Stand passes on, or keeps for later.
func (d *deferred) Stand(u topology.Uplink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.speaker != nil {
		d.speaker.Stand(u)
	}
	d.stand = u
}

// begin makes the speaker, with what there is to announce.
func (d *deferred) begin(restarting bool) *bgp.Speaker {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings.Restarting = restarting
	d.speaker = bgp.New(d.settings, d.log)
	d.speaker.Stand(d.stand)
	d.speaker.Announce(d.own)
	d.speaker.Drain(d.drained)
	return d.speaker
}

// drain passes on, or keeps for later.
func (d *deferred) drain(drained bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.speaker != nil {
		d.speaker.Drain(drained)
	}
	d.drained = drained
}

func (d *deferred) standing() bgp.Standing {
	d.mu.Lock()
	speaker := d.speaker
	d.mu.Unlock()
	if speaker == nil {
		return bgp.Standing{}
	}
	return speaker.Standing()
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
	Fabric     bgp.Standing  `json:"fabric"`
	Probes     probe.Seen    `json:"probes"`
	// Virtual is how virtual addresses are served.
	Virtual balance.Report `json:"virtual"`
}

func picture(ctx context.Context, n *node.Node, speaker *deferred, prober *probe.Prober, virtual balance.Report) (driver.Picture, error) {
	r, err := n.Report(ctx)
	if err != nil {
		return driver.Picture{}, err
	}
	sessions, err := speaker.sessions(ctx)
	if err != nil {
		return driver.Picture{}, err
	}
	p := page{Report: r, Neighbours: sessions, Links: []string{}, Fabric: speaker.standing(), Probes: prober.Seen(), Virtual: virtual}
	if virtual.Problem != "" {
		r.Problems["virtual addresses"] = virtual.Problem
	}
	for name, problem := range p.Probes.Problems {
		r.Problems["probe "+name] = problem
	}
	if len(p.Fabric.MTUs) > 0 {
		r.Problems["mtu of nodes"] = fmt.Sprintf("this node's uplink has an MTU of %d, those of others: %v: give all the same, or set rolling.mtu on the networks", r.Uplink.MTU, p.Fabric.MTUs)
	}
	if p.Fabric.Outside > 0 {
		r.Problems["pools"] = fmt.Sprintf("%d addresses of containers here lie outside ROLLING_POOLS, and nobody is told of them: add their pools, IPv6 ones too", p.Fabric.Outside)
	}
	joined := 0
	for _, e := range r.Endpoints {
		if e.Phase == topology.Joined {
			joined++
			p.Links = append(p.Links, topology.HostEnd(e.ID))
		}
	}
	return driver.Picture{Ready: r.Ready, Refused: r.Refused, Problems: r.Problems, State: p, Figures: slices.Concat(figures(r, sessions, joined), fabricFigures(p.Fabric, p.Probes), virtualFigures(virtual))}, nil
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
	all = append(append(all, fastFigures(r.FastPath)...), isolationFigures(r)...)
	all = append(all, physicalFigures(r)...)
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

func isolationFigures(r node.Report) []driver.Figure {
	a, bad := r.Isolation, 0.0
	if a.Trouble != "" || r.Problems["isolation"] != "" || len(a.Clashes) > 0 {
		bad = 1
	}
	return []driver.Figure{
		{Name: "rolling_net_isolation_trouble", Help: "1 while the newest policy is not in force, the firewall cannot be laid, or two projects have one number; /debug/state says which.", Value: bad},
		{Name: "rolling_net_policy", Help: "1 for the revision of the policy in force; empty before the first.", Value: 1, Label: "revision", Of: a.Revision},
		{Name: "rolling_net_policy_permits", Help: "Permits between projects in force.", Value: float64(len(a.Permits))},
		{Name: "rolling_net_denied_packets_total", Help: "Packets between projects, or to the node's own guarded ports, that were dropped since the firewall was laid.", Counter: true, Value: float64(a.Denied)},
		{Name: "rolling_net_source_drops_total", Help: "Packets of containers with another's IPv6 address, and on a node without a fast path with another's IPv4 address or MAC, that were dropped since the check was laid.", Counter: true, Value: float64(r.Spoofed)},
		{Name: "rolling_net_connections_cut_total", Help: "Connections ended since they were not allowed any more.", Counter: true, Value: float64(a.Cut)},
		{Name: "rolling_net_addresses_unknown", Help: "Containers of other nodes of which no trusted mark says whose they are.", Value: float64(len(a.Unknown))},
	}
}

// fastShare is how much of what it saw the fast path carried since it was loaded: what came in by the ordinary way it has not
// seen. Before the first packet there is none.
func fastShare(packets map[string]uint64) (share float64, any bool) {
	fast := packets[topology.WayOut] + packets[topology.WayIn] + packets[topology.WayLocal]
	all := fast + packets[topology.WayStack]
	if all == 0 {
		return 0, false
	}
	return float64(fast) / float64(all), true
}

func physicalFigures(r node.Report) []driver.Figure {
	all := []driver.Figure{{Name: "rolling_net_published_ports", Help: "Ports of the host that lead to containers.", Value: float64(len(r.Doorways))}}
	if r.L2 != nil {
		all = append(all,
			driver.Figure{Name: "rolling_net_l2_ports", Help: "Containers on bridges of physical networks.", Value: float64(r.L2.Ports)},
			driver.Figure{Name: "rolling_net_l2_dropped_frames_total", Counter: true, Value: float64(r.L2.Dropped),
				Help: "Frames of containers with another's MAC or address, dropped since a container came or went last."},
			driver.Figure{Name: "rolling_net_l2_conflicts_total", Counter: true, Value: float64(r.L2.Taken),
				Help: "Addresses that were refused to a container, since a neighbour on the physical network answered for them."})
	}
	return all
}

func fastFigures(r topology.FastReport) []driver.Figure {
	all := []driver.Figure{
		{Name: "rolling_net_fastpath", Help: "1 for the path that was chosen at the start.", Value: 1, Label: "path", Of: r.Path},
		{Name: "rolling_net_fastpath_interfaces", Help: "Interfaces that the fast path sits on.", Value: float64(r.Devices)},
		{Name: "rolling_net_fastpath_addresses", Help: "Addresses that the fast path knows.", Value: float64(r.Entries)},
	}
	if r.Path != topology.Plain {
		idle := 0.0
		if r.Idle != "" {
			idle = 1
		}
		all = append(all, driver.Figure{Name: "rolling_net_fastpath_idle", Help: "1 while the path carries nothing; /debug/state says why.", Value: idle})
	}
	if share, any := fastShare(r.Packets); any {
		all = append(all, driver.Figure{Name: "rolling_net_fastpath_share", Help: "Packets that the fast path carried ÷ those and what containers here sent by the ordinary way, since it was loaded.", Value: share})
	}
	for path := range r.Refused {
		all = append(all, driver.Figure{Name: "rolling_net_fastpath_refused", Help: "1 for a path that was not taken; /debug/state says why.", Value: 1, Label: "path", Of: path})
	}
	for way, n := range r.Packets {
		all = append(all, driver.Figure{Name: "rolling_net_fastpath_packets_total", Counter: true, Value: float64(n), Label: "way", Of: way,
			Help: "Packets since the path was loaded: out to another node, in from one, local between two containers here, stack by the ordinary way, spoofed and dropped."})
	}
	return all
}

func fabricFigures(s bgp.Standing, seen probe.Seen) []driver.Figure {
	drained := 0.0
	if s.Drained {
		drained = 1
	}
	all := []driver.Figure{
		{Name: "rolling_net_routes_held", Help: "Routes that the speaker holds to other nodes' containers.", Value: float64(s.Held)},
		{Name: "rolling_net_routes_kept", Help: "Of them those that nobody tells any more, since all reflectors are lost.", Value: float64(s.Kept)},
		{Name: "rolling_net_prefixes_announced", Help: "Prefixes that this node announces.", Value: float64(s.Own)},
		{Name: "rolling_net_pools_announced", Help: "Of them the pools that it announces to routers as a whole.", Value: float64(len(s.Border))},
		{Name: "rolling_net_drained", Help: "1 while all of them are marked for a shutdown.", Value: drained},
		{Name: "rolling_net_silences_total", Help: "Sessions ended, or routes forgotten, since the neighbour's node fell silent.", Counter: true, Value: float64(s.Lost)},
		{Name: "rolling_net_convergence_seconds", Help: "From the newest session's start to the end of what the neighbour had to tell.", Value: s.Converged.Seconds()},
		{Name: "rolling_net_mtu_differs", Help: "Other nodes whose uplinks have another MTU than this one's.", Value: float64(len(s.MTUs))},
		{Name: "rolling_net_settled_seconds", Help: "From the speaker's start until the fabric was known; 0 before.", Value: s.Settled.Seconds()},
	}
	for _, n := range seen.Nodes {
		alive := 0.0
		if n.State == "alive" {
			alive = 1
		}
		all = append(all, driver.Figure{Name: "rolling_net_node_answers", Help: "1 while the neighbour's kernel answers; without answers only the hold time tells of its loss.", Value: alive, Label: "neighbour", Of: n.Address.String()})
	}
	for _, r := range seen.Routers {
		up := 0.0
		if r.State == liveness.Up.String() {
			up = 1
		}
		all = append(all, driver.Figure{Name: "rolling_net_bfd_up", Help: "1 while BFD with the router is up.", Value: up, Label: "router", Of: r.Address.String()})
	}
	return all
}

func virtualFigures(r balance.Report) []driver.Figure {
	backends := 0
	for _, b := range r.Node {
		backends += len(b.Backends)
	}
	return []driver.Figure{
		{Name: "rolling_net_vip_services", Help: "Services with a virtual address that containers here may call.", Value: float64(len(r.Services))},
		{Name: "rolling_net_vip_clients", Help: "Containers here whose calls to them are spread.", Value: float64(len(r.Boxes))},
		{Name: "rolling_net_vip_announced", Help: "Virtual addresses that this node announces, since a healthy backend is here.", Value: float64(len(r.Announce))},
		{Name: "rolling_net_vip_backends", Help: "Backends here that take clients from outside.", Value: float64(backends)},
	}
}
