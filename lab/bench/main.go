// Command bench is `make bench`: it makes a lab, takes the figures that docs and goals speak of, each beside its peer
// on the same machine in the same run, prints a table, writes them as lines of JSON, and removes the lab. It knows the
// groups of figures; it takes none by itself.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/address"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/logs"
	"github.com/rolling-swarm/rolling/lab/bench/manager"
	"github.com/rolling-swarm/rolling/lab/bench/metrics"
	"github.com/rolling-swarm/rolling/lab/bench/network"
	"github.com/rolling-swarm/rolling/lab/bench/orders"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
	"github.com/rolling-swarm/rolling/lab/bench/rollout"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

const usage = 64

func main() {
	if len(os.Args) == 3 && os.Args[1] == pair.Command {
		if err := pair.End(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	c, err := readConfig(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(usage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, c Config) (err error) {
	if c.Address.Root, err = lab.Checkout(); err != nil {
		return err
	}
	c.Network.Root, c.Manager.Root, c.Metrics.Root, c.Logs.Root = c.Address.Root, c.Address.Root, c.Address.Root, c.Address.Root
	begun := time.Now()
	s, err := site.Up(ctx, c.Lab, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	ground, err := describe(ctx, s)
	if err != nil {
		return err
	}
	figures, trouble := measure(ctx, s, c)
	if ctx.Err() != nil || len(figures) == 0 {
		return trouble // the figures of the last whole run stay
	}
	fmt.Printf("%s\n%s\n\n", ground, load(begun))
	if err := figure.WriteTable(os.Stdout, figures); err != nil {
		return err
	}
	return errors.Join(trouble, write(c.Out, figures))
}

// measure takes the groups in order. What could be measured is returned also when something failed.
func measure(ctx context.Context, s *site.Site, c Config) ([]figure.Figure, error) {
	var figures []figure.Figure
	var errs []error
	project := orders.New(s, c.Address.Root)
	// net is the last of all: it costs a node its power again and again.
	for _, g := range []struct {
		name string
		take func() ([]figure.Figure, error)
	}{
		{"ipam", func() ([]figure.Figure, error) { return address.Measure(ctx, s, c.Address) }},
		{"rollout", func() ([]figure.Figure, error) { return rollout.Measure(ctx, project, c.Rollout) }},
		{"manager", func() ([]figure.Figure, error) { return manager.Measure(ctx, project, c.Manager) }},
		{"metrics", func() ([]figure.Figure, error) { return metrics.Measure(ctx, s, c.Metrics) }},
		{"log", func() ([]figure.Figure, error) { return logs.Measure(ctx, s, c.Logs) }},
		{"net", func() ([]figure.Figure, error) { return network.Measure(ctx, s, c.Network) }},
	} {
		if !slices.Contains(c.Groups, g.name) || ctx.Err() != nil {
			continue
		}
		if g.name == "net" {
			errs = append(errs, project.Clear(ctx))
		}
		got, err := g.take()
		figures, errs = append(figures, got...), append(errs, err)
	}
	return figures, errors.Join(errs...)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "    "+format+"\n", args...) }

// describe says on what the figures were taken.
func describe(ctx context.Context, s *site.Site) (string, error) {
	leader, err := s.Lab.Leader(ctx)
	if err != nil {
		return "", err
	}
	engine, err := s.Engine(ctx, leader)
	if err != nil {
		return "", err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("ask for the kernel's version: %w", err)
	}
	return fmt.Sprintf("engine %s, %d nodes on %d CPUs, kernel %s, %s", engine, len(s.Lab.Nodes()), runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version()), nil
}

// load warns of a machine that had other work.
func load(begun time.Time) string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "load unknown: " + err.Error()
	}
	fields := strings.Fields(string(text))
	return fmt.Sprintf("load %s after %.0f s: absolute figures are this machine's in this hour, compare ratios", strings.Join(fields[:min(3, len(fields))], " "), time.Since(begun).Seconds())
}

// write replaces the file at once: half of one would look like a whole.
func write(path string, figures []figure.Figure) error {
	var text bytes.Buffer
	if err := figure.WriteLines(&text, figures); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.WriteFile(path+".new", text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the figures: %w", err)
	}
	return nil
}
