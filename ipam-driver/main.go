// Command ipam-driver is the managed plugin rolling/ipam: it decides which address is whose, with Swarm's own Raft as
// the record. It knows how its parts are put together, and nothing else.
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

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/internal/socket"
	"github.com/rolling-swarm/rolling/ipam-driver/driver"
	"github.com/rolling-swarm/rolling/ipam-driver/ledger"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
	"github.com/rolling-swarm/rolling/ipam-driver/swarm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "ipam-driver:", err)
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
	clock := steady()
	parts := driver.Parts{
		Open:  func() (driver.Opened, error) { return open(c, clock) },
		Aside: func() []string { return ledger.Aside(c.State) },
		Clock: clock, Log: log, Build: c.Build,
	}
	if c.Engine != "none" {
		eyes, err := swarm.New(c.Engine, c.Plugin, parts.Clock)
		if err != nil {
			return errors.Join(err, l.Close())
		}
		parts.Eyes = eyes
	}
	d := driver.New(parts)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return driver.Serve(ctx, l, d.Mux()) })
	group.Go(func() error { return d.Run(ctx) })
	group.Go(func() error { return status(ctx, c, d, log) })
	return group.Wait()
}

// status serves the plugin's own pages. Addresses are given without them too, so their trouble is only said.
func status(ctx context.Context, c Config, d *driver.Driver, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	l, err := socket.Listen(c.StatusSocket())
	if err != nil {
		log.Error("no status page", "cause", err)
	} else {
		group.Go(func() error { return driver.Serve(ctx, l, d.Desk()) })
	}
	if c.MetricsListen != "" {
		t, err := net.Listen("tcp", c.MetricsListen)
		if err != nil {
			log.Error("no metrics over TCP", "cause", err)
		} else {
			group.Go(func() error { return driver.Serve(ctx, t, d.Status()) })
		}
	}
	return group.Wait()
}

// open reads the ledger and the book in it. A ledger whose records contradict each other is as good as torn.
func open(c Config, clock func() time.Time) (driver.Opened, error) {
	policy := pool.DefaultPolicy()
	policy.Rest, policy.LostRest = c.Rest, c.LostRest
	var book *pool.Book
	var first pool.Change
	f, found, err := ledger.Open(c.State, clock(), func(r pool.Records) (err error) {
		book, first, err = pool.Restore(clock(), policy, r)
		return err
	})
	if err != nil {
		return driver.Opened{}, err
	}
	if found.SetAside != "" {
		first = book.Blind(clock())
	}
	if err := f.Add(first)(); err != nil {
		return driver.Opened{}, errors.Join(err, f.Close())
	}
	return driver.Opened{Ledger: f, Book: book, SetAside: found.SetAside, Cause: found.Cause}, nil
}

// steady is a clock that goes on evenly while the process lives, whatever is done to the machine's.
func steady() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Add(time.Since(start)) }
}
