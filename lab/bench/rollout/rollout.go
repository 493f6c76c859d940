// Package rollout measures what a rollout by Rolling costs beside `docker service update` of the same service, and what
// those who ask the service feel of either. It knows which figures BENCH=rollout has and how each is taken; it refuses
// to know how a project is brought to a lab.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/orders"
)

// Settings are how much to measure.
type Settings struct {
	Pairs int // of rollouts, ours and Docker's
}

const peerName = "docker service update"

type bench struct {
	*orders.Project
	images   []string
	releases []string
}

// A side is one way to change a service.
type side struct {
	name              string
	service, upstream string
	change            func(ctx context.Context, to int) error
}

// A run is what was seen of one rollout.
type run struct {
	took     time.Duration // the command
	swarm    time.Duration // of it: Swarm's own updater, from its timestamps
	lasted   time.Duration // the load
	requests int
	failures []string
	found    []time.Duration // new members: from running to the first answer
}

// Measure takes every figure. What could be measured is returned also when something failed.
func Measure(ctx context.Context, p *orders.Project, set Settings) ([]figure.Figure, error) {
	if err := p.Ensure(ctx); err != nil {
		return nil, fmt.Errorf("rollout: bring orders to the lab: %w", err)
	}
	b := &bench{Project: p}
	b.releases, b.images = p.Releases()
	twin, err := b.twin(ctx)
	if err != nil {
		return nil, fmt.Errorf("rollout: make a twin of %s: %w", orders.Service, err)
	}
	ours := side{"rolling", orders.Service, orders.Upstream, func(ctx context.Context, to int) error {
		return b.Rolling(ctx, "deploy", orders.Name, orders.Environment, b.releases[to])
	}}
	var mine, theirs []run
	for pair := range set.Pairs {
		sides, runs := []side{ours, twin}, []*[]run{&mine, &theirs}
		if pair%2 == 1 {
			sides[0], sides[1], runs[0], runs[1] = sides[1], sides[0], runs[1], runs[0]
		}
		for i, s := range sides {
			r, err := b.rollOut(ctx, s, (pair+1)%len(b.images))
			if err != nil {
				return nil, fmt.Errorf("rollout: pair %d by %s: %w", pair+1, s.name, err)
			}
			b.Say("rollout: %s %.1f s, Swarm's updater %.1f s, %d requests, %d failed", s.name, r.took.Seconds(), r.swarm.Seconds(), r.requests, len(r.failures))
			*runs[i] = append(*runs[i], r)
		}
	}
	figures, err := figuresOf(mine, theirs)
	return figures, errors.Join(err, b.Remove(ctx, twin.service))
}

// figuresOf makes the contract's figures of all runs.
func figuresOf(ours, peer []run) ([]figure.Figure, error) {
	note := fmt.Sprintf("command's start to end, %d tasks of examples/orders, one at a time, start first, 2 s of monitor, 6 s of drain", orders.Tasks)
	overhead, err := figure.Paired("rollout.overhead_s", "s", seconds(ours, taking), peerName, seconds(peer, taking), note)
	if err != nil {
		return nil, err
	}
	beyond, err := figure.Paired("rollout.beyond_swarm_s", "s", seconds(ours, beyondSwarm), peerName, seconds(peer, beyondSwarm), fmt.Sprintf(
		"of the command's time what Swarm's updater, by its timestamps, did not take (median %.1f s of ours, %.1f s of the peer's)",
		figure.Median(seconds(ours, updating)), figure.Median(seconds(peer, updating))))
	if err != nil {
		return nil, err
	}
	requests, failures := failed(ours)
	theirRequests, theirFailures := failed(peer)
	said := fmt.Sprintf("of %d through nginx, from before the command to the end of the last old task; by %s %d of %d", requests, peerName, len(theirFailures), theirRequests)
	for _, f := range failures {
		said += "; first " + f
		break
	}
	discovery, err := discoveryOf(ours, requests)
	return []figure.Figure{overhead, beyond, figure.Alone("rollout.failed_requests", "requests", float64(len(failures)), len(ours), said), discovery}, err
}

// discoveryOf says also how finely it could be seen: a member answers no sooner than it is asked.
func discoveryOf(runs []run, requests int) (figure.Figure, error) {
	var found []time.Duration
	var lasted time.Duration
	for _, r := range runs {
		found, lasted = append(found, r.found...), lasted+r.lasted
	}
	every := lasted.Seconds() * 1000 * orders.Tasks / float64(max(requests, 1))
	return figure.Spread("rollout.discovery_ms", "ms", figure.Milliseconds(found),
		fmt.Sprintf("task running (healthy), Swarm's timestamp, to its first answer through nginx; each member was asked every %.0f ms", every))
}

func taking(r run) time.Duration      { return r.took }
func updating(r run) time.Duration    { return r.swarm }
func beyondSwarm(r run) time.Duration { return r.took - r.swarm }

func seconds(runs []run, of func(run) time.Duration) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = of(r).Seconds()
	}
	return out
}

func failed(runs []run) (requests int, failures []string) {
	for _, r := range runs {
		requests, failures = requests+r.requests, append(failures, r.failures...)
	}
	return requests, failures
}
