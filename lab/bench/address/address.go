// Package address measures what rolling/ipam costs: alone, by the Go benchmarks of its rooms, and inside a Swarm, beside
// Docker's own IPAM. It knows which figures BENCH=ipam has and how each is taken; it refuses to know how addresses are
// decided.
package address

import (
	"context"
	"errors"
	"fmt"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// Settings are how much to measure.
type Settings struct {
	Root    string // the checkout
	Repeats int    // of each Go benchmark
	Calls   int    // to the plugin's socket
	Tasks   int    // of the service whose start is timed
	Asked   int    // tasks that are given addresses and no node
	Pairs   int    // of services whose tasks get no node, ours and Docker's
	// Services are the pairs of services whose start is timed, ours and overlay's.
	Services int
}

// Measure takes every figure. What could be measured is returned also when something failed.
func Measure(ctx context.Context, s *site.Site, set Settings) ([]figure.Figure, error) {
	b := &bench{Site: s, set: set}
	var figures []figure.Figure
	var errs []error
	for _, m := range []struct {
		what string
		take func(context.Context) ([]figure.Figure, error)
	}{
		{"the plugin's rooms alone", b.rooms}, {"calls to the leader's plugin", b.calls},
		{fmt.Sprintf("addresses for %d tasks", set.Asked), b.allocate}, {fmt.Sprintf("a service of %d tasks", set.Tasks), b.service},
	} {
		if ctx.Err() != nil {
			break // the figure under way has said so
		}
		s.Say("ipam: %s", m.what)
		got, err := m.take(ctx)
		figures = append(figures, got...)
		if err != nil {
			errs = append(errs, fmt.Errorf("ipam: %s: %w", m.what, err))
		}
	}
	return figures, errors.Join(errs...)
}

type bench struct {
	*site.Site
	set Settings
}
