package address

import (
	"context"
	"fmt"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

const (
	ours    = "rolling"
	overlay = "overlay"
	// fullWithin bounds the start of a large service on a machine with few CPUs.
	fullWithin = 20 * time.Minute
	// warmUp is the size of the two services that come before those that count.
	warmUp = 60
)

// allocate times Swarm's allocator alone: a service that no node takes, until each task has an address. Both networks
// are Docker's overlay; only who gives the addresses differs.
func (b *bench) allocate(ctx context.Context) ([]figure.Figure, error) {
	networks := map[string]site.Network{
		ours:    {Name: "bench-ask-rolling", Driver: "overlay", IPAM: contract.PluginIPAM, Subnet: "10.202.0.0/16"},
		overlay: site.Overlay("bench-ask-overlay", "10.92.0.0/16"),
	}
	for _, n := range networks {
		if err := b.Make(ctx, n); err != nil {
			return nil, err
		}
	}
	took, err := b.inTurns(ctx, b.set.Pairs, func(ctx context.Context, who, service string) (time.Duration, error) {
		if err := b.Start(ctx, site.Unplaced(service, networks[who].Name, b.set.Asked)); err != nil {
			return 0, err
		}
		return b.Allocated(ctx, service, b.set.Asked, fullWithin)
	})
	if err != nil {
		return nil, err
	}
	f, err := figure.Paired(fmt.Sprintf("ipam.allocate_%d", b.set.Asked), "s", seconds(took[ours]), "Docker's IPAM", seconds(took[overlay]),
		"service created to the last task's address, no node takes a task, both on the overlay driver")
	return []figure.Figure{f}, err
}

// service times a whole service: until every task runs, on our network and on overlay with its own IPAM.
func (b *bench) service(ctx context.Context) ([]figure.Figure, error) {
	networks := map[string]site.Network{ours: site.Rolling("bench-run-rolling", "10.203.0.0/16"), overlay: site.Overlay("bench-run-overlay", "10.93.0.0/16")}
	for _, n := range networks {
		if err := b.Make(ctx, n); err != nil {
			return nil, err
		}
	}
	timed := func(tasks int) func(context.Context, string, string) (time.Duration, error) {
		return func(ctx context.Context, who, service string) (time.Duration, error) {
			if err := b.Start(ctx, site.Service{Name: service, Network: networks[who].Name, Replicas: tasks}); err != nil {
				return 0, err
			}
			started, created, err := b.Running(ctx, service, tasks, fullWithin)
			if err != nil {
				return 0, err
			}
			return last(started).Sub(created), nil
		}
	}
	// The first containers of a lab cost more than all later ones (programs read from disk, memory that the kernel has
	// yet to find): whoever went first would pay for both.
	if _, err := b.inTurns(ctx, 1, timed(warmUp)); err != nil {
		return nil, err
	}
	took, err := b.inTurns(ctx, b.set.Services, timed(b.set.Tasks))
	if err != nil {
		return nil, err
	}
	f, err := figure.Paired(fmt.Sprintf("ipam.swarm_%d", b.set.Tasks), "s", seconds(took[ours]), "overlay", seconds(took[overlay]),
		fmt.Sprintf("service created to the last task running, Swarm's timestamps, rolling/net and rolling/ipam beside overlay and its IPAM; after %d tasks of each that do not count", warmUp))
	return []figure.Figure{f}, err
}

// inTurns times a service of ours and one of overlay's, pair by pair, each removed before the next; who is first
// changes from pair to pair.
func (b *bench) inTurns(ctx context.Context, pairs int, timed func(ctx context.Context, who, service string) (time.Duration, error)) (map[string][]time.Duration, error) {
	took := map[string][]time.Duration{}
	for pair := range pairs {
		order := []string{ours, overlay}
		if pair%2 == 1 {
			order = []string{overlay, ours}
		}
		for _, who := range order {
			service := "bench-" + who + "-service"
			t, err := timed(ctx, who, service)
			if err != nil {
				return nil, err
			}
			b.Say("ipam: %s %.1f s", who, t.Seconds())
			took[who] = append(took[who], t)
			if err := b.Remove(ctx, service); err != nil {
				return nil, err
			}
		}
	}
	return took, nil
}

// last is when the last task got into its state.
func last(tasks []site.Task) time.Time {
	var at time.Time
	for _, t := range tasks {
		if t.Since.After(at) {
			at = t.Since
		}
	}
	return at
}

func seconds(times []time.Duration) []float64 {
	out := make([]float64, len(times))
	for i, t := range times {
		out[i] = t.Seconds()
	}
	return out
}
