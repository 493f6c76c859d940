// Package network measures what rolling/net costs and how soon it acts, beside the host's own network and Docker's
// overlay on the same lab. It knows which figures BENCH=net has and how each is taken; it refuses to know how a lab,
// a service or a connection is made.
package network

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// Settings are how much to measure.
type Settings struct {
	Root       string // the checkout, of which the driver's own benchmark is run
	Rounds     int    // of each path, on one CPU and on two
	Chunk      int    // MiB a piece
	Pings      int    // round trips a piece
	Congestion string // TCP's algorithm
	Starts     int    // pairs of task starts
	Changes    int    // stops and starts whose routes are watched
}

const (
	ours    = "rolling"
	overlay = "overlay"
	host    = "host"
	bridge  = "bridge"

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
	for _, m := range []struct {
		what string
		take func(context.Context) ([]figure.Figure, error)
	}{
		{"paths", b.paths}, {"virtual addresses", b.virtual}, {"fast paths", b.fastPaths}, {"task starts", b.starts}, {"routes that come and go", b.changes},
		{"a power loss", b.powerLoss}, // the last: a node is lost by it
	} {
		if ctx.Err() != nil {
			break // the figure under way has said so
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

// prepare makes both networks and puts one idle task of each on every node, so that a later task finds its network
// there, as on a node at work.
func (b *bench) prepare(ctx context.Context) error {
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
	}
	for _, service := range b.idle {
		if _, _, err := b.Running(ctx, service, len(b.Lab.Nodes()), runWithin); err != nil {
			return err
		}
	}
	return nil
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
