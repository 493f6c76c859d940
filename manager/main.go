// Command rolling is the manager and its command line: rolling server keeps Swarm equal to what the projects' environments
// should run, and every other command asks that server. This package is the wiring: it reads the settings, makes the
// rooms and joins them; it decides nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // freeze windows have zones, and an image made from nothing has no table of them

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/cli"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/line"
	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/probe"
	"github.com/rolling-swarm/rolling/manager/registry"
	"github.com/rolling-swarm/rolling/manager/store"
)

const version = "0.1.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	c, err := readConfig()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rolling:", err)
		os.Exit(1)
	}
	code := cli.Run(ctx, os.Args[1:], cli.Options{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: terminal(os.Stdin), Color: terminal(os.Stdout) && c.NoColor == "" && c.Term != "dumb",
		Server: c.URL, Version: version,
		ReadFile: os.ReadFile, Now: time.Now, Pause: pause,
		Serve:    func(ctx context.Context) error { return serve(ctx, c) },
		LineInit: func(ctx context.Context, again bool) (cli.LineSecrets, error) { return lineInit(ctx, c.Engine, again) },
	})
	stop()
	os.Exit(code)
}

func terminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve runs the manager until ctx ends. The API's addresses come first: they are what is most often taken already.
func serve(ctx context.Context, c Config) error {
	if err := c.Validate(); err != nil {
		return err
	}
	log := newLog(c)
	listeners, err := api.Listen(c.addresses)
	if err != nil {
		return err
	}
	err = serveOn(ctx, c, log, listeners)
	for _, l := range listeners {
		if closeErr := l.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			err = errors.Join(err, closeErr)
		}
	}
	return err
}

func serveOn(ctx context.Context, c Config, log *slog.Logger, listeners []net.Listener) (err error) {
	kept, err := store.Open(c.storePath())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	if kept.Aside != "" {
		log.Error("the store was damaged; it is put aside and a new one begun: what runs is adopted by its labels, projects must be applied again", "aside", kept.Aside, "error", kept.Why)
	}
	swarm, err := cluster.New(c.Engine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, swarm.Close()) }()
	nodes, err := openLine(c.Line, log)
	if err != nil {
		return err
	}
	loop, err := newLoop(c, kept, swarm, nodes, log)
	if err != nil {
		return err
	}
	door, err := newDoor(loop, nodes, log,
		api.Check{Name: "store", Ask: func(context.Context) error { return kept.View(func(store.Tx) error { return nil }) }},
		api.Check{Name: "swarm", Ask: swarm.Ready})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return unlessEnded(ctx, loop.Run(ctx)) })
	group.Go(func() error { return door.Serve(ctx, listeners) })
	if nodes != nil {
		group.Go(func() error { return unlessEnded(ctx, nodes.run(ctx)) })
	}
	return group.Wait()
}

func newLoop(c Config, kept store.Store, swarm *cluster.Swarm, nodes *agents, log *slog.Logger) (*engine.Engine, error) {
	images := registry.New(nil)
	images.Plain = c.Plain
	o := engine.Options{Store: kept, Cluster: swarm, Live: swarm, Membership: swarm, Settled: swarm, Registry: images, Lines: []engine.Lines{swarm}, Probe: probe.New(nil), Log: log}
	if nodes != nil {
		o.Agents, o.Ledger, o.Fabric, o.Lines = nodes, nodes.board, nodes.board, []engine.Lines{nodes, swarm} // an agent finds what Swarm has forgotten
	}
	return engine.New(o)
}

func newDoor(loop *engine.Engine, nodes *agents, log *slog.Logger, checks ...api.Check) (*api.API, error) {
	shown, err := pages.New(pages.Parts{
		Projects: loop, Releases: loop, Tasks: loop, Deployments: loop, Plans: loop, Rollouts: loop, Events: loop, Version: version, Log: log,
	})
	if err != nil {
		return nil, err
	}
	figures := prometheus.NewRegistry()
	figures.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	parts := api.Parts{
		Projects: loop, Releases: loop, Deployments: loop, Rollouts: loop, Tasks: loop, Events: loop, Swarm: loop,
		Networks: loop, Pools: loop, Addresses: loop, Reservations: loop, Nodes: loop, Doctor: loop, Pages: shown,
		Checks: checks, Figures: figures, Version: version, Log: log,
	}
	if nodes != nil {
		parts.Routes = nodes
		figures.MustRegister(line.Metrics(nodes.board), engine.Metrics(loop))
	}
	door, err := api.New(parts)
	if err != nil {
		return nil, err
	}
	figures.MustRegister(door.Figures()...)
	return door, nil
}

// unlessEnded drops the error that says no more than that the manager was told to end.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func newLog(c Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogForm == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, options))
}
