// Command agent looks after its node: it loads, sets and upgrades Rolling's plugins, from bundles in its own image,
// sends the real stop signal when a
// drain is over, answers the manager, and on the Swarm's leader keeps service discovery true. This package is the wiring: it reads the settings, makes the rooms and joins them; it decides nothing.
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
	"github.com/rolling-swarm/rolling/agent/drain"
	drains "github.com/rolling-swarm/rolling/agent/drain/docker"
	"github.com/rolling-swarm/rolling/agent/drain/record"
	"github.com/rolling-swarm/rolling/agent/health"
	wells "github.com/rolling-swarm/rolling/agent/health/docker"
	"github.com/rolling-swarm/rolling/agent/isolation"
	"github.com/rolling-swarm/rolling/agent/line"
	engines "github.com/rolling-swarm/rolling/agent/line/docker"
	"github.com/rolling-swarm/rolling/agent/line/fabric"
	"github.com/rolling-swarm/rolling/agent/line/host"
	"github.com/rolling-swarm/rolling/agent/line/ledger"
	"github.com/rolling-swarm/rolling/agent/line/meter"
	"github.com/rolling-swarm/rolling/agent/loader"
	"github.com/rolling-swarm/rolling/agent/status"
	"github.com/rolling-swarm/rolling/agent/upkeep"
	"github.com/rolling-swarm/rolling/internal/wire"
)

const version = "0.1.0-dev"

// loadWithin bounds `agent load`: an engine that starts may take a while to answer.
const loadWithin = 3 * time.Minute

// patience is enough for a script, or a quick hand, that disables a plugin by force, sets it and enables it again: at once
// enabled by the agent, it could not be set.
const patience = 5 * time.Second

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
		Engine: engine, Wants: wants, Every: c.Every, Log: log, Now: time.Now, Patience: patience,
		Alone: loader.Alone(filepath.Join(c.State, "agent", "lock")),
	})
	if what == Remove {
		ctx, cancel := context.WithTimeout(ctx, loadWithin)
		defer cancel()
		return remove(ctx, c, engine, found)
	}
	if what == Load {
		ctx, cancel := context.WithTimeout(ctx, loadWithin)
		defer cancel()
		return plugins.Once(ctx)
	}
	return run(ctx, c, plugins, log)
}

// run joins what an agent does at the same time. Drain ends last: whoever still waits for its signal gets it first.
func run(ctx context.Context, c Config, plugins *upkeep.Upkeep, log *slog.Logger) error {
	node, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name of this node: %w", err)
	}
	members, err := discovery.Open(c.Discovery, c.Engine, node, log)
	if err != nil {
		return err
	}
	stops, err := drains.New(c.Engine)
	if err != nil {
		return err
	}
	defer stops.Close() //nolint:errcheck // the process ends
	drained := drain.New(stops, record.File(filepath.Join(c.State, "agent", "drain.json")), log)
	toManager, err := openLine(c, plugins, log)
	if err != nil {
		return err
	}
	apart, err := isolation.Open(c.Engine, filepath.Join(c.State, "net"), log)
	if err != nil {
		return err
	}
	well, err := wells.New(c.Engine)
	if err != nil {
		return err
	}
	defer well.Close() //nolint:errcheck // the process ends
	wellness := health.New(well, c.fabric(), log)
	pages := status.Pages{
		Problems: func() []string { return plugins.State().Problems() },
		State: func() any {
			return shown{plugins.State(), members.Report(), drained.Report(), toManager.State(), apart.Report()}
		},
		Collectors: []prometheus.Collector{upkeep.Metrics(plugins), discovery.Metrics(members), drain.Metrics(drained), line.Metrics(toManager), isolation.Metrics(apart)},
	}
	asked := ctx
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return plugins.Run(ctx) })
	group.Go(func() error { return members.Run(ctx) })
	group.Go(func() error { return drained.Run(ctx) })
	group.Go(func() error { return apart.Run(ctx) })
	group.Go(func() error { return wellness.Run(ctx) })
	group.Go(func() error { return status.Serve(ctx, c.Socket(), pages.Handler()) })
	if c.Line.On() {
		group.Go(func() error { return toManager.Run(ctx) })
	}
	if err := group.Wait(); asked.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil // it was told to end, and all of it has
}

// openLine makes the line to the manager; without an address for it, one that is never run.
func openLine(c Config, plugins *upkeep.Upkeep, log *slog.Logger) (*line.Line, error) {
	if !c.Line.On() {
		return &line.Line{}, nil
	}
	secret, err := os.ReadFile(c.Line.Secret)
	if err != nil {
		return nil, fmt.Errorf("ROLLING_LINE_SECRET: %w: `rolling line init` makes it, and the stack file hands it over", err)
	}
	engine, err := engines.New(c.Engine)
	if err != nil {
		return nil, err
	}
	return line.New(c.Line, secret, line.Parts{
		Engine: engine, Fabric: c.fabric(), Meter: meter.New(filepath.Join(c.State, "metrics", "metrics.sock")),
		Ledger: ledger.New(filepath.Join(c.State, "ipam", "ipam.sock"), filepath.Join(c.State, "net", "net.sock")),
		Host:   host.New("/proc/sys").Look, Plugins: func() []wire.Plugin { return told(plugins.State()) },
		Health: func() []string { return plugins.State().Problems() }, Version: version, Log: log,
	})
}

// fabric is the node's network plugin.
func (c Config) fabric() *fabric.Reader { return fabric.New(filepath.Join(c.State, "net", "net.sock")) }

// told are the plugins as the manager is told of them.
func told(s upkeep.State) []wire.Plugin {
	all := []wire.Plugin{}
	for _, p := range s.Plugins {
		all = append(all, wire.Plugin{Alias: p.Alias, Build: p.Want, Ready: p.Ready, Problem: p.Problem})
	}
	return all
}

// shown is /debug/state.
type shown struct {
	Plugins   any `json:"plugins"`
	Discovery any `json:"discovery"`
	Drain     any `json:"drain"`
	Line      any `json:"line"`
	Policy    any `json:"policy"`
}
