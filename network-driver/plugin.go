package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/internal/socket"
	"github.com/rolling-swarm/rolling/network-driver/arp"
	"github.com/rolling-swarm/rolling/network-driver/balance"
	"github.com/rolling-swarm/rolling/network-driver/bgp"
	"github.com/rolling-swarm/rolling/network-driver/driver"
	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/fastpath"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/kernel"
	"github.com/rolling-swarm/rolling/network-driver/liveness"
	"github.com/rolling-swarm/rolling/network-driver/nat"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/policy"
	"github.com/rolling-swarm/rolling/network-driver/probe"
	"github.com/rolling-swarm/rolling/network-driver/state"
	"github.com/rolling-swarm/rolling/network-driver/swarm"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// openAgain: an older process may still hold the file; the engine is answered with an error meanwhile.
const openAgain = time.Second

const (
	// misses in a row make a node silent: a bond that fails over, or a switch that learns anew, needs less.
	misses = 4
	// multiplier is what routers are told to wait for: this process may have to wait for a CPU.
	multiplier = 5
	bfdPort    = 3784 // RFC 5881
	// sitesPort is where a site's own BIRD or FRR on a node speaks BGP.
	sitesPort = 179
)

// run listens before all else: the engine dials 0.5, 3.5, 6.5 and 9.5 s after the start, and then disables the plugin.
func run(ctx context.Context, c Config, log *slog.Logger) error {
	calls, err := socket.Listen(c.Socket)
	if err != nil {
		return err
	}
	speaker := &deferred{settings: bgp.Settings{
		ASN: c.ASN, Port: c.Port, Hold: c.Hold, MaxPrefixes: c.MaxPrefixes, Pools: c.pools, Routers: c.routers,
		Key: c.key, Keys: c.keys, Security: c.TTLSecurity,
	}, log: log}
	speaker.drain(c.drained())
	prober := probe.New(probe.Settings{
		Echo: liveness.Settings{Every: c.detect, Misses: misses}, BFD: c.BFD, Multiplier: multiplier, BFDPort: bfdPort,
	}, log)
	first := make(chan opened, 1)
	go func() { first <- try(c) }() // while the fast path tries what the kernel can
	parts, err := edges(c, log)
	if err != nil {
		return err
	}
	rules, err := nat.Open(c.Sandboxes)
	if err != nil {
		return err
	}
	balancer := balance.New(rules, state.Services{Path: filepath.Join(c.State, "services.json")}, log, time.Now)
	services, err := swarm.NewServices(c.Engine, c.Sandboxes, log)
	if err != nil {
		return err
	}
	parts.Announcer, parts.Balancer = speaker, balancer
	n := node.New(parts)
	door := driver.New(n, log)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.Run(ctx) })
	group.Go(func() error { return driver.Serve(ctx, calls, door.Mux()) })
	group.Go(func() error { return balancer.Run(ctx, n) })
	group.Go(func() error { return services.Run(ctx, balancer.Questions, balancer.See) })
	group.Go(func() error { return serveStatus(ctx, c, n, door, speaker, prober, balancer) })
	group.Go(func() error { return begin(ctx, c, first, n, speaker, prober, log) })
	return group.Wait()
}

// edges opens what the node stands on.
func edges(c Config, log *slog.Logger) (node.Parts, error) {
	none := node.Parts{}
	wires, err := kernel.OpenWires()
	if err != nil {
		return none, err
	}
	roads, err := kernel.OpenRoads()
	if err != nil {
		return none, err
	}
	fence, err := kernel.OpenFence()
	if err != nil {
		return none, err
	}
	six, err := kernel.OpenSix(sixProgram(c.IptablesNFT), sixProgram(c.IptablesLegacy), log)
	if err != nil {
		return none, err
	}
	gate := kernel.NewGate(c.IptablesNFT, c.IptablesLegacy)
	fast, err := fastpath.Open(fastpath.Settings{Wish: fastpath.Wish(c.FastPath)})
	if err != nil {
		return none, err
	}
	wall, err := kernel.OpenWall(gate)
	if err != nil {
		return none, err
	}
	l2, err := physical(c, gate)
	if err != nil {
		return none, err
	}
	log.Info("the fast path", "path", fast.Report().Path, "refused", fast.Report().Refused)
	return node.Parts{
		Wires: wires, Gate: gate, Roads: roads, Fence: fence, Fast: fast, Six: six, L2: l2,
		Isolation: node.Isolation{Wall: wall, Outside: c.Outside == "open", Guarded: []isolation.Port{
			{Protocol: permits.TCP, Number: uint16(c.Port)}, {Protocol: permits.TCP, Number: contract.PolicyPort}, {Protocol: permits.UDP, Number: bfdPort},
			{Protocol: permits.TCP, Number: sitesPort},
		}},
		Doors:   kernel.NewDoors(gate),
		Routers: fabric.Plain(c.routers), Log: log, Now: time.Now,
	}, nil
}

// sixProgram is the program for IPv6 that stands beside one for IPv4.
func sixProgram(path string) string {
	return filepath.Join(filepath.Dir(path), strings.Replace(filepath.Base(path), "iptables", "ip6tables", 1))
}

// physical opens what l2 networks stand on.
func physical(c Config, gate *kernel.Gate) (*node.L2, error) {
	segments, err := kernel.OpenSegments(c.NodeRun)
	if err != nil {
		return nil, err
	}
	ports, err := kernel.OpenPorts()
	if err != nil {
		return nil, err
	}
	return &node.L2{Segments: segments, Ports: ports, Switch: gate, Neighbours: arp.Speaker{}}, nil
}

// begin reads the state, makes the kernel agree, and only then lets the speaker speak: what it announces first must be whole.
func begin(ctx context.Context, c Config, first <-chan opened, n *node.Node, speaker *deferred, prober *probe.Prober, log *slog.Logger) error {
	file, err := open(ctx, c, first, n, log)
	if err != nil {
		return err
	}
	s, members, err := file.Load()
	if err != nil {
		return err
	}
	if d, err := policy.Read(policy.File(c.State)); err == nil {
		n.Permit(ctx, d, nil) // in force before the first rule is laid; what is wrong with it the watch says
	}
	restarting, err := n.Begin(ctx, node.Beginning{Store: file, State: s, Membership: members, Fresh: file.Fresh})
	for err != nil {
		log.Error("cannot begin", "cause", err)
		if err := n.Refuse(ctx, err); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(openAgain):
		}
		restarting, err = n.Begin(ctx, node.Beginning{Store: file, State: s, Membership: members, Fresh: file.Fresh})
	}
	return follow(ctx, c, n, speaker.begin(restarting), prober, members, log)
}

// opened is what came of trying to open the state.
type opened struct {
	file *state.File
	err  error
}

func try(c Config) opened {
	file, err := state.Open(filepath.Join(c.State, "net.db"))
	return opened{file, err}
}

// open tries until the file can be had. One of a newer schema cannot: the plugin stays, and says so to every call.
func open(ctx context.Context, c Config, first <-chan opened, n *node.Node, log *slog.Logger) (*state.File, error) {
	o := <-first
	for said := ""; ; o = try(c) {
		file, err := o.file, o.err
		if err == nil {
			if file.Aside != "" {
				log.Error("the state file was damaged and is put aside; what containers hold is read from the kernel", "aside", file.Aside, "cause", file.Why)
			}
			return file, nil
		}
		if err.Error() != said {
			said = err.Error()
			log.Error("cannot open the state", "cause", err)
		}
		if err := n.Refuse(ctx, err); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(openAgain):
		}
	}
}

// follow speaks BGP with whom the engine names.
func follow(ctx context.Context, c Config, n *node.Node, speaker *bgp.Speaker, prober *probe.Prober, members topology.Membership, log *slog.Logger) error {
	watch, err := swarm.New(c.Engine, log)
	if err != nil {
		return err
	}
	meet := func(m topology.Membership) {
		all := fabric.Neighbours(m, c.routers, c.ASN, c.Port)
		speaker.Meet(m.Self, all)
		prober.Meet(m.Self, fabric.Nodes(all), fabric.WithBFD(m, c.routers))
	}
	meet(members)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return policy.Watch(ctx, policy.File(c.State), func(d permits.Document, err error) { n.Permit(ctx, d, err) })
	})
	group.Go(func() error {
		return speaker.Run(ctx, bgp.Told{
			Learn:  func(routes []topology.Route) { n.Learn(ctx, routes) },
			Settle: func() { n.Settle(ctx) },
			Border: func(pools []netip.Prefix) { n.Border(ctx, pools) },
		})
	})
	group.Go(func() error { return prober.Run(ctx, speaker.Judge) })
	group.Go(func() error {
		return watch.Run(ctx, members, func(m topology.Membership) {
			n.Meet(ctx, m)
			meet(m)
		})
	})
	return group.Wait()
}

// serveStatus serves its pages on the socket in the state's folder, and those that only show something on TCP when set.
func serveStatus(ctx context.Context, c Config, n *node.Node, door *driver.Door, speaker *deferred, prober *probe.Prober, balancer *balance.Balancer) error {
	look := func(ctx context.Context) (driver.Picture, error) {
		return picture(ctx, n, speaker, prober, balancer.Report())
	}
	pages := driver.Status(look)
	pages.Handle("GET /debug/refusals", door.Refusals())
	driver.Clear(pages, n.Clear, n.Restore)
	explain(pages, n)
	driver.Drain(pages, func(drained bool) error { return c.drain(speaker, drained) })
	driver.Health(pages, n)
	driver.Firewall(pages, firewall(n, kernel.NewWatch(c.IptablesNFT, c.IptablesLegacy)))
	l, err := socket.Listen(c.StatusSocket())
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return driver.Serve(ctx, l, pages) })
	if c.MetricsAddress != "" {
		tcp, err := net.Listen("tcp", c.MetricsAddress)
		if err != nil {
			return errors.Join(fmt.Errorf("ROLLING_METRICS_LISTEN: %w", err), l.Close())
		}
		group.Go(func() error { return driver.Serve(ctx, tcp, driver.Status(look)) })
	}
	return group.Wait()
}
