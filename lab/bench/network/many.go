package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

const (
	manyWithin = 15 * time.Minute
	restFor    = 10 * time.Second
	growBy     = 50
)

// many starts a service of many containers on all nodes: how long until each has its route in the router's kernel and in
// every other node's, and what the plugin needs meanwhile and then.
func (b *bench) many(ctx context.Context) (figures []figure.Figure, err error) {
	const service = "bench-many"
	before, err := b.plugins(ctx)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := b.Start(ctx, site.Service{Name: service, Network: "bench-" + ours, Replicas: 1}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Remove(ctx, service)) }()
	if err := b.grow(ctx, service, b.set.Containers); err != nil {
		return nil, err
	}
	running := time.Since(begun)
	if err := b.routed(ctx, service); err != nil {
		return nil, err
	}
	routed := time.Since(begun)
	loaded, err := b.plugins(ctx)
	if err != nil {
		return nil, err
	}
	time.Sleep(restFor)
	rested, err := b.plugins(ctx)
	if err != nil {
		return nil, err
	}
	size := fmt.Sprintf("%d containers on %d nodes", b.set.Containers, len(b.Lab.Nodes()))
	return []figure.Figure{
		figure.Beside("net.routed_500_s", "s", routed.Seconds(), "running", running.Seconds(), 1, size+": fifty at a time, from the first to the last route in the router's and all nodes' kernels; beside it, to the last task running"),
		figure.Alone("net.rss_mb_500", "MB", largest(rested), 1, size+": rolling/net's resident memory, the largest of the nodes'"),
		figure.Alone("net.cpu_ms_container", "ms", (sum(loaded)-sum(before)).Seconds()*1000/float64(b.set.Containers), 1, size+": CPU of rolling/net on all nodes for each container that came"),
		figure.Alone("net.cpu_idle_500", "%", busiest(rested, loaded, restFor), 1, size+": CPU of rolling/net at rest, the largest of the nodes', of one CPU"),
	}, nil
}

// grow scales the service up by and by: a few processors that start hundreds of containers at once forget to tell Swarm
// that they live.
func (b *bench) grow(ctx context.Context, service string, containers int) error {
	for n := min(growBy, containers); ; n = min(n+growBy, containers) {
		if err := b.Scale(ctx, service, n); err != nil {
			return err
		}
		if _, _, err := b.Running(ctx, service, n, manyWithin); err != nil || n == containers {
			return err
		}
	}
}

// routed waits until every address of the service is in the router's kernel and in that of each node that has not its container.
func (b *bench) routed(ctx context.Context, service string) error {
	tasks, _, err := b.Tasks(ctx, service)
	if err != nil {
		return err
	}
	return b.Lab.Eventually(ctx, time.Minute, "all containers routed", func() error {
		for _, at := range append([]string{lab.Router}, b.Lab.Nodes()...) {
			known, err := b.Addresses(at)
			if err != nil {
				return err
			}
			missing := 0
			var example netip.Addr
			for _, t := range tasks {
				if !known[t.Address] {
					missing, example = missing+1, t.Address
				}
			}
			if missing > 0 {
				return fmt.Errorf("%s lacks %d routes, %s among them", at, missing, example)
			}
		}
		return nil
	})
}

// usage is what one node's rolling/net has used.
type usage struct {
	rss float64 // MB
	cpu time.Duration
}

// plugins reads each node's.
func (b *bench) plugins(ctx context.Context) (map[string]usage, error) {
	all := map[string]usage{}
	for _, node := range b.Lab.Nodes() {
		text, err := b.Lab.Exec(ctx, node, "sh", "-c", "p=$(pidof "+program+") && cat /proc/$p/status && tail -n 1 /proc/$p/stat")
		if err != nil {
			return nil, fmt.Errorf("rolling/net on %s: %w", node, err)
		}
		u, err := usageOf(text)
		if err != nil {
			return nil, fmt.Errorf("rolling/net on %s: %w", node, err)
		}
		all[node] = u
	}
	return all, nil
}

// usageOf reads a process's status, followed by its stat.
func usageOf(text string) (usage, error) {
	_, rest, found := strings.Cut(text, "VmRSS:")
	f := strings.Fields(rest)
	stat := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if !found || len(f) == 0 || len(stat) < 13 {
		return usage{}, fmt.Errorf("its state is %.200q", text)
	}
	kb, err1 := strconv.ParseFloat(f[0], 64)
	user, err2 := strconv.Atoi(stat[11])
	system, err3 := strconv.Atoi(stat[12])
	hertz := time.Second / 100 // the kernel counts to userspace in hundredths
	return usage{rss: kb / 1024, cpu: time.Duration(user+system) * hertz}, errors.Join(err1, err2, err3)
}

func largest(all map[string]usage) (mb float64) {
	for _, u := range all {
		mb = max(mb, u.rss)
	}
	return mb
}

func sum(all map[string]usage) (cpu time.Duration) {
	for _, u := range all {
		cpu += u.cpu
	}
	return cpu
}

// busiest is the largest share of one CPU that a node's plugin used between two readings.
func busiest(after, before map[string]usage, over time.Duration) (percent float64) {
	for node, u := range after {
		percent = max(percent, 100*(u.cpu-before[node].cpu).Seconds()/over.Seconds())
	}
	return percent
}
