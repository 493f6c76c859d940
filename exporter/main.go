// Command exporter is the managed plugin rolling/metrics: it measures each container and feeds Graphite and Prometheus. With
// the argument dashboards it writes a project's dashboards for Grafana and ends. It knows how its parts are put together, and
// nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/exporter/cgroup"
	"github.com/rolling-swarm/rolling/exporter/driver"
	"github.com/rolling-swarm/rolling/exporter/engine"
	"github.com/rolling-swarm/rolling/exporter/graphite"
	exposition "github.com/rolling-swarm/rolling/exporter/prometheus"
	"github.com/rolling-swarm/rolling/exporter/sample"
	"github.com/rolling-swarm/rolling/exporter/state"
	"github.com/rolling-swarm/rolling/internal/socket"
)

const usage = 64

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 {
		err := command(os.Args[1:], os.Stderr)
		switch {
		case errors.Is(err, flag.ErrHelp):
		case err != nil:
			fmt.Fprintln(os.Stderr, "exporter:", err)
			os.Exit(usage)
		}
		return
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "exporter:", err)
		stop()
		os.Exit(1)
	}
}

// run listens first: the engine dials the socket half a second after the start, and disables a plugin that is not there.
func run(ctx context.Context) error {
	c, err := readConfig()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel}))
	l, err := socket.Listen(c.Socket)
	if err != nil {
		return err
	}
	watch, err := engine.New(c.Engine, c.Cluster, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	parts := driver.Parts{
		Finder: watch, Keeper: state.File{Path: filepath.Join(c.State, "totals")},
		Open: func(s *sample.Container) (driver.Reader, error) {
			return cgroup.Tree{Groups: c.Groups, Proc: c.Proc}.Open(s)
		},
		Collectors: func(latest func() []sample.Sample) []prometheus.Collector {
			return []prometheus.Collector{exposition.New(c.Cluster, latest)}
		},
		EngineSock: c.EngineMetrics, Interval: c.Interval, Log: log, Build: c.Build,
	}
	group, ctx := errgroup.WithContext(ctx)
	if c.Graphite != "" {
		sender := graphite.New(c.Graphite, c.GraphiteBuffer, log)
		parts.Graphite = sender
		group.Go(func() error { return sender.Run(ctx) })
	}
	d := driver.New(parts)
	group.Go(func() error { return driver.Serve(ctx, l, d.Mux()) })
	group.Go(func() error { return watch.Run(ctx) })
	group.Go(func() error { return d.Run(ctx) })
	group.Go(func() error { return status(ctx, c, d, log) })
	return group.Wait()
}

// status serves the plugin's own pages. Graphite is fed without them too, so their trouble is only said.
func status(ctx context.Context, c Config, d *driver.Driver, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	mux := d.Status()
	l, err := socket.Listen(c.StatusSocket())
	if err != nil {
		log.Error("no status page", "cause", err)
	} else {
		group.Go(func() error { return driver.Serve(ctx, l, mux) })
	}
	if c.MetricsListen != "" {
		t, err := net.Listen("tcp", c.MetricsListen)
		if err != nil {
			log.Error("no metrics over TCP", "cause", err)
		} else {
			group.Go(func() error { return driver.Serve(ctx, t, mux) })
		}
	}
	return group.Wait()
}
