// Package manager measures how soon the manager answers, by its own API on the lab and by the Go benchmark of its store.
// It knows which figures BENCH=manager has and how each is taken; it refuses to know how a plan or a record is made.
package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
	"github.com/rolling-swarm/rolling/lab/bench/orders"
)

// Settings are how much to measure.
type Settings struct {
	Root     string // the checkout
	Plans    int    // asked for
	Projects int    // beside orders, for the list
	Lists    int    // asked for
	Repeats  int    // of the Go benchmark
	Changes  int    // made by hand, and told of
}

// LargestList is the longest list that the API gives at once.
const LargestList = 1000

// Measure takes every figure. What could be measured is returned also when something failed.
func Measure(ctx context.Context, p *orders.Project, set Settings) ([]figure.Figure, error) {
	b := &bench{set: set, project: p}
	var figures []figure.Figure
	var errs []error
	for _, m := range []struct {
		what string
		take func(context.Context) ([]figure.Figure, error)
	}{
		{"transactions of the store alone", b.store},
		{"orders on the lab", func(ctx context.Context) ([]figure.Figure, error) { return nil, b.connect(ctx, p) }},
		{fmt.Sprintf("%d plans", set.Plans), b.plans},
		{"the dashboard's first page", b.pages},
		{fmt.Sprintf("%d changes by hand", 3*set.Changes), b.events},
		{fmt.Sprintf("a list of %d projects", set.Projects), b.lists},
	} {
		if ctx.Err() != nil {
			break // the figure under way has said so
		}
		p.Say("manager: %s", m.what)
		got, err := m.take(ctx)
		figures = append(figures, got...)
		if err != nil {
			errs = append(errs, fmt.Errorf("manager: %s: %w", m.what, err))
		}
	}
	return figures, errors.Join(errs...)
}

type bench struct {
	set     Settings
	project *orders.Project
	api     api
	release string // one that production does not run
}

func (b *bench) connect(ctx context.Context, p *orders.Project) error {
	if err := p.Ensure(ctx); err != nil {
		return err
	}
	c, err := p.API()
	if err != nil {
		return err
	}
	b.api = api{c}
	running, err := b.api.running(ctx)
	if err != nil {
		return err
	}
	releases, _ := p.Releases()
	for _, r := range releases {
		if r != running {
			b.release = r
		}
	}
	return nil
}

// plans asks again and again what the other release would change in production. Nothing is deployed.
func (b *bench) plans(ctx context.Context) ([]figure.Figure, error) {
	if b.api.c == nil {
		return nil, errors.New("orders is not on the lab")
	}
	var took []time.Duration
	for range b.set.Plans {
		begun := time.Now()
		empty, err := b.api.plan(ctx, b.release)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		if empty {
			return nil, fmt.Errorf("the plan for release %s is empty: production runs it already", b.release)
		}
	}
	ms := figure.Milliseconds(took)
	f, err := figure.Spread("manager.plan_ms", "ms", ms, fmt.Sprintf("GET of orders' plan over the manager's socket, one image changed, Swarm observed anew; p99 %.3g ms", figure.Quantile(ms, 0.99)))
	return []figure.Figure{f}, err
}

// lists keeps many projects, asks for all of them at once, and forgets them again.
func (b *bench) lists(ctx context.Context) (figures []figure.Figure, err error) {
	if b.api.c == nil {
		return nil, errors.New("orders is not on the lab")
	}
	var kept []string
	defer func() { err = errors.Join(err, b.forget(ctx, kept)) }()
	var applied []time.Duration
	for i := range b.set.Projects {
		name := fmt.Sprintf("bench-%04d", i+1)
		begun := time.Now()
		if err := b.api.apply(ctx, name, projectFile(name)); err != nil {
			return nil, err
		}
		applied, kept = append(applied, time.Since(begun)), append(kept, name)
	}
	var took []time.Duration
	for range b.set.Lists {
		begun := time.Now()
		n, err := b.api.list(ctx, b.set.Projects)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		if n != b.set.Projects {
			return nil, fmt.Errorf("the list has %d projects, want %d", n, b.set.Projects)
		}
	}
	list, err := figure.Spread(fmt.Sprintf("manager.list_%d_ms", b.set.Projects), "ms", figure.Milliseconds(took), "GET of all projects in one page over the manager's socket, two environments each")
	if err != nil {
		return nil, err
	}
	ms := figure.Milliseconds(applied)
	apply, err := figure.Spread("manager.apply_ms", "ms", ms, fmt.Sprintf("PUT of a new project file over the manager's socket, on disk before the answer; p99 %.3g ms", figure.Quantile(ms, 0.99)))
	return []figure.Figure{list, apply}, err
}

func (b *bench) forget(ctx context.Context, names []string) error {
	for _, name := range names {
		if err := b.api.forget(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// projectFile is a small project of two environments.
func projectFile(name string) string {
	return fmt.Sprintf(`x-rolling:
  project: %s
  environments:
    test: {stage: test, services: {web: {deploy: {replicas: 1}}}}
    production: {stage: production}
services:
  web:
    image: registry.example/%[1]s/web
    networks: [app]
    deploy: {replicas: 3}
networks:
  app: {driver: "rolling/net:latest", ipam: {driver: "rolling/ipam:latest", config: [{subnet: 10.220.0.0/24}]}}
`, name)
}

// store runs the Go benchmark of the store, several times in turn.
func (b *bench) store(ctx context.Context) ([]figure.Figure, error) {
	var lines []gotest.Line
	for range b.set.Repeats {
		got, err := gotest.Run{Root: b.set.Root, Package: "./manager/store", Bench: "^BenchmarkWrite$", Time: "500x"}.Go(ctx) // p99 wants hundreds
		if err != nil {
			return nil, err
		}
		lines = append(lines, got...)
	}
	return storeFigures(lines)
}

// storeFigures turns the benchmark's own units into the contract's figures.
func storeFigures(lines []gotest.Line) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, q := range []string{"p50", "p99"} {
		ours, err := gotest.Values(lines, "Write", "ms/"+q)
		if err != nil {
			return nil, err
		}
		peer, err := gotest.Values(lines, "Write", "ms/fsync_"+q)
		if err != nil {
			return nil, err
		}
		f, err := figure.Paired("manager.write_"+q+"_ms", "ms", ours, "one fsync", peer,
			"a transaction as of a project applied: project, event, audit, in a store of 1,000 projects; a bare 4 KiB fsync in turns, same folder")
		if err != nil {
			return nil, err
		}
		figures = append(figures, f)
	}
	return figures, nil
}
