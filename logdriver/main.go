// Command logdriver is the managed Docker plugin rolling/log: it carries each line of each container to Kafka, and
// loses none in silence. This package is the wiring: it reads the settings, makes the rooms and joins them; it decides
// nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/internal/socket"
	"github.com/rolling-swarm/rolling/logdriver/carrier"
	"github.com/rolling-swarm/rolling/logdriver/driver"
	"github.com/rolling-swarm/rolling/logdriver/kafka"
	"github.com/rolling-swarm/rolling/logdriver/route"
	"github.com/rolling-swarm/rolling/logdriver/spool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "logdriver:", err)
		stop()
		os.Exit(1)
	}
}

func command(ctx context.Context) error {
	c, err := readConfig()
	if err != nil {
		return err
	}
	return run(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: c.LogLevel})))
}

// run listens first: the engine dials the socket half a second after the start, and disables a plugin that is not there.
func run(ctx context.Context, c Config, log *slog.Logger) error {
	l, err := socket.Listen(c.Socket)
	if err != nil {
		return err
	}
	p, err := assemble(c, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return driver.Serve(ctx, l, p.door.Mux()) })
	group.Go(func() error { return p.carrier.Run(ctx) })
	group.Go(func() error { return p.status(ctx) })
	if p.client != nil {
		group.Go(func() error { return p.client.Run(ctx) })
	}
	return group.Wait()
}

// plugin is the rooms together.
type plugin struct {
	config  Config
	log     *slog.Logger
	client  *kafka.Client // nil without brokers
	carrier *carrier.Carrier
	door    *driver.Driver
	started time.Time
}

func assemble(c Config, log *slog.Logger) (*plugin, error) {
	p := &plugin{config: c, log: log, started: time.Now()}
	limits := route.Limits{SpoolMax: c.containerMax, Whole: c.spoolMax}
	store, err := spool.New(filepath.Join(c.State, "spool"), spool.Limits{Whole: limits.Whole}, log)
	if err != nil {
		return nil, err
	}
	if len(c.Brokers) > 0 {
		if p.client, err = kafka.New(c.kafka(), log); err != nil {
			return nil, err
		}
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("the node's name: %w", err)
	}
	p.carrier = carrier.New(carrier.Settings{
		State: c.State, Pipes: c.Pipes, Node: route.Node{Host: host, Cluster: c.Cluster}, Limits: limits,
		Keep: c.keep, KeepFor: c.KeepFor, Buffer: c.buffer,
	}, store, p.client, log)
	p.door = driver.New(p.carrier, log)
	return p, nil
}

// status serves the plugin's own pages. Lines are carried without them too, so their trouble is only said.
func (p *plugin) status(ctx context.Context) error {
	pages := p.door.Status(p.look, p.carrier.Stats.Latency)
	group, ctx := errgroup.WithContext(ctx)
	l, err := socket.Listen(p.config.StatusSocket())
	if err != nil {
		p.log.Error("no status page", "cause", err)
	} else {
		group.Go(func() error { return driver.Serve(ctx, l, pages) })
	}
	if p.config.MetricsListen != "" {
		t, err := net.Listen("tcp", p.config.MetricsListen)
		if err != nil {
			p.log.Error("no metrics over TCP", "cause", err)
		} else {
			group.Go(func() error { return driver.Serve(ctx, t, pages) })
		}
	}
	return group.Wait()
}

// look is what the status pages show.
func (p *plugin) look() driver.Sight {
	s := driver.Sight{
		Build: p.config.Build, Started: p.started.UTC(), Carrier: p.carrier.Picture(),
		Kafka:   driver.KafkaSight{Brokers: append([]string{}, p.config.Brokers...), Parked: map[string]string{}},
		Strayed: p.carrier.Stats.Strayed.Load(), Disk: p.carrier.Stats.DiskTrouble.Load(),
	}
	if p.client == nil {
		return s
	}
	if fault := p.client.Fault(); fault != nil {
		s.Kafka.Fault = fault.Error()
	}
	stats := &p.client.Stats
	s.Kafka.Parked, s.Kafka.Records, s.Kafka.Bytes = p.client.Parked(), stats.Records.Load(), stats.Bytes.Load()
	s.Kafka.Failed, s.Kafka.Split = stats.Failed.Load(), stats.Split.Load()
	return s
}
