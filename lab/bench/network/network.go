// Package network measures what rolling/net costs and how soon it acts, beside the host's own network and Docker's
// overlay on the same lab. It knows which figures BENCH=net has and how each is taken; it refuses to know how a lab,
// a service or a connection is made.
package network

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// Settings are how much to measure.
type Settings struct {
	Root       string // the checkout, of which the driver's own benchmark of physical networks is run
	Rounds     int    // of each path, on one CPU and on two
	Chunk      int    // MiB a piece
	Pings      int    // round trips a piece
	Conns      int    // connections a piece
	Packets    int    // small UDP packets a piece
	Congestion string // TCP's algorithm
	Starts     int    // pairs of task starts
	Changes    int    // kills, and as many stops, whose routes are watched
	Restarts   int    // of the plugin, seen from a container, and as many from the router
	Losses     int    // of a node's power
	Containers int    // of one service on all nodes
	Only       string // take only subjects whose name holds it
}

const (
	ours    = "rolling"
	overlay = "overlay"
	host    = "host"
	bridge  = "bridge"
	macvlan = "macvlan"

	pool = "10.201.0.0/16" // within what the lab's router takes
	// runWithin bounds the start of a few tasks, on a machine with other work.
	runWithin = 3 * time.Minute
)

// bench is one run.
type bench struct {
	*site.Site
	set    Settings
	client string // the followers: a path's ends
	server string
	idle   map[string]string // network → the service that keeps it alive on every node
	auto   string            // the fast path that the driver picks by itself
}

// Measure takes every figure. What could be measured is returned also when something failed.
func Measure(ctx context.Context, s *site.Site, set Settings) ([]figure.Figure, error) {
	_, ends, err := s.Followers(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{Site: s, set: set, client: ends[0], server: ends[1], idle: map[string]string{}}
	if err := b.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare the networks: %w", err)
	}
	var figures []figure.Figure
	var errs []error
	for _, m := range b.subjects() {
		if ctx.Err() != nil {
			break // the figure under way has said so
		}
		if !strings.Contains(m.what, set.Only) {
			continue
		}
		s.Say("net: %s", m.what)
		got, err := m.take(ctx)
		figures = append(figures, got...)
		if err != nil {
			errs = append(errs, fmt.Errorf("net: %s: %w", m.what, err))
		}
	}
	return figures, errors.Join(errs...)
}

// A subject is some figures that are taken together.
type subject struct {
	what string
	take func(context.Context) ([]figure.Figure, error)
}

// subjects in their order: each has its file. Many containers are the last, since their end keeps the machine busy.
func (b *bench) subjects() []subject {
	return []subject{
		{"paths", b.speeds},
		{"virtual addresses", b.virtual},
		{"other fast paths", b.otherPaths},
		{"isolation", b.isolation},
		{"physical network", b.l2},
		{"task starts", b.starts},
		{"container starts", b.shares},
		{"routes that come and go", b.changes},
		{"the plugin's restart", b.restarts},
		{"power losses", b.powerLosses},
		{"many containers", b.many},
	}
}

// prepare makes both networks and puts one idle task of each on every node, so that a later task finds its network
// there, as on a node at work, and a second one beside the client's.
func (b *bench) prepare(ctx context.Context) (err error) {
	for name, n := range map[string]site.Network{
		ours:    site.Rolling("bench-rolling", pool),
		overlay: site.Overlay("bench-overlay", "10.90.0.0/16"),
	} {
		if err := b.Make(ctx, n); err != nil {
			return err
		}
		b.idle[name] = n.Name + "-idle"
		if err := b.Start(ctx, site.Service{Name: b.idle[name], Network: n.Name}); err != nil {
			return err
		}
		if err := b.Start(ctx, site.Service{Name: b.near(name), Network: n.Name, Replicas: 1, Node: b.client}); err != nil {
			return err
		}
	}
	for name, service := range b.idle {
		if _, _, err := b.Running(ctx, service, len(b.Lab.Nodes()), runWithin); err != nil {
			return err
		}
		if _, _, err := b.Running(ctx, b.near(name), 1, runWithin); err != nil {
			return err
		}
	}
	b.auto, err = b.fastPath(ctx)
	return err
}

// idleTask is the idle task of a network on a node.
func (b *bench) idleTask(ctx context.Context, network, node string) (site.Task, error) {
	tasks, _, err := b.Tasks(ctx, b.idle[network])
	if err != nil {
		return site.Task{}, err
	}
	for _, t := range tasks {
		if t.Node == node && t.Running {
			return t, nil
		}
	}
	return site.Task{}, fmt.Errorf("%s has no running task of %s", node, b.idle[network])
}
