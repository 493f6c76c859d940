// Command agent looks after its node: it loads, sets and upgrades Rolling's plugins, from bundles in its own image,
// and on the Swarm's leader it keeps service discovery true. This package is the wiring: it reads the settings, makes the rooms and joins them; it decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/agent/discovery"
	"github.com/rolling-swarm/rolling/agent/loader"
	"github.com/rolling-swarm/rolling/agent/status"
	"github.com/rolling-swarm/rolling/agent/upkeep"
)

// loadWithin bounds `agent load`: an engine that starts may take a while to answer.
const loadWithin = 3 * time.Minute

// healthWithin is shorter than the health check's own timeout, so that its text is kept.
const healthWithin = 2 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := command(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
	}
	switch {
	case errors.Is(err, errUsage):
		os.Exit(64)
	case err != nil:
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	what, c, err := ReadConfig(args)
	if err != nil {
		return err
	}
	if what == Health {
		ctx, cancel := context.WithTimeout(ctx, healthWithin)
		defer cancel()
		_, err := status.Ask(ctx, c.Socket(), "/readyz")
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	found, err := loader.Find(c.Bundles)
	if err != nil {
		return err
	}
	wants, err := c.Wants(found)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	engine, err := loader.New(c.Engine, c.State, found)
	if err != nil {
		return err
	}
	defer engine.Close() //nolint:errcheck // the process ends
	plugins := upkeep.New(upkeep.Parts{
		Engine: engine, Wants: wants, Every: c.Every, Log: log, Now: time.Now,
		Alone: loader.Alone(filepath.Join(c.State, "agent", "lock")),
	})
	if what == Load {
		ctx, cancel := context.WithTimeout(ctx, loadWithin)
		defer cancel()
		return plugins.Once(ctx)
	}
	return run(ctx, c, plugins, log)
}

// run joins what an agent does at the same time: plugins, discovery, and the pages that show both.
func run(ctx context.Context, c Config, plugins *upkeep.Upkeep, log *slog.Logger) error {
	node, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this node: %w", err)
	}
	members, err := discovery.Open(c.Discovery, c.Engine, node, log)
	if err != nil {
		return err
	}
	pages := status.Pages{
		Problems:   func() []string { return plugins.State().Problems() },
		State:      func() any { return shown{plugins.State(), members.Report()} },
		Collectors: []prometheus.Collector{upkeep.Metrics(plugins), discovery.Metrics(members)},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return plugins.Run(ctx) })
	group.Go(func() error { return members.Run(ctx) })
	group.Go(func() error { return status.Serve(ctx, c.Socket(), pages.Handler()) })
	return group.Wait()
}

// shown is /debug/state.
type shown struct {
	Plugins   any `json:"plugins"`
	Discovery any `json:"discovery"`
}
