package address

import (
	"context"
	"fmt"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

const (
	coreRoom = "./ipam-driver/pool"
	doorRoom = "./ipam-driver/driver"
	peerRoom = "./lab/bench/address/peer"
)

// rooms runs the Go benchmarks of pool and driver, each whole set several times in turn.
func (b *bench) rooms(ctx context.Context) ([]figure.Figure, error) {
	runs := []gotest.Run{
		{Root: b.set.Root, Package: coreRoom, Bench: "^Benchmark(PairEmpty|PairFull)$", Time: "1s"},
		{Root: b.set.Root, Package: coreRoom, Bench: "^BenchmarkBytesPerLease$", Time: "1x"},
		{Root: b.set.Root, Package: doorRoom, Bench: "^BenchmarkDurable$", Time: "500x"}, // p99 wants hundreds
		{Root: b.set.Root, Package: doorRoom, Bench: "^BenchmarkDurable64$", Time: "2s"},
		{Root: b.set.Root, Package: doorRoom, Bench: "^BenchmarkOpen10k$", Time: "10x"},
		{Root: b.set.Root, Package: peerRoom, Bench: "^BenchmarkLibnetwork$", Time: "1s"},
		{Root: b.set.Root, Package: peerRoom, Bench: "^BenchmarkHostLocal$", Time: "500x"},
	}
	var lines []gotest.Line
	for range b.set.Repeats {
		for _, r := range runs {
			got, err := r.Go(ctx)
			if err != nil {
				return nil, err
			}
			lines = append(lines, got...)
		}
	}
	return roomFigures(lines)
}

// roomFigures turns the benchmarks' own units into the contract's figures.
func roomFigures(lines []gotest.Line) ([]figure.Figure, error) {
	const decisions = "decisions/s"
	var figures []figure.Figure
	spread := func(name, unit, bench, as string, scale float64, note string) error {
		values, err := gotest.Values(lines, bench, as)
		if err != nil {
			return err
		}
		for i := range values {
			values[i] *= scale
		}
		f, err := figure.Spread(name, unit, values, note)
		figures = append(figures, f)
		return err
	}
	paired := func(name, unit, bench, as, peerName, peerBench, peerAs, note string) error {
		ours, err := gotest.Values(lines, bench, as)
		if err != nil {
			return err
		}
		peer, err := gotest.Values(lines, peerBench, peerAs)
		if err != nil {
			return err
		}
		f, err := figure.Paired(name, unit, ours, peerName, peer, note)
		figures = append(figures, f)
		return err
	}
	for _, err := range []error{
		spread("ipam.memory_ops", decisions, "PairEmpty", decisions, 1, "request and release in an empty /16, no disk"),
		paired("ipam.full", decisions, "PairFull", decisions, "empty pool", "PairEmpty", decisions, "a /16 that is 99.9 % full"),
		paired("ipam.durable_p50", "ms", "Durable", "ms/p50", "one fsync", "Durable", "ms/fsync_p50", "one caller; a bare 4 KiB fsync in turns, same folder"),
		paired("ipam.durable_p99", "ms", "Durable", "ms/p99", "one fsync", "Durable", "ms/fsync_p99", "one caller; a bare 4 KiB fsync in turns, same folder"),
		paired("ipam.libnetwork", decisions, "PairEmpty", decisions, "Docker's default IPAM", "Libnetwork", decisions, "request and release in an empty /16, no disk on either side"),
		paired("ipam.hostlocal", "ms", "Durable", "ms/p50", "host-local", "HostLocal", "ms/call", "one call with its record: ours is on disk, host-local's is a file that is not synced; its process and JSON left out"),
		spread("ipam.durable_ops_64", decisions, "Durable64", decisions, 1, "64 callers, each decision on disk before its answer"),
		spread("ipam.restore_10k_ms", "ms", "Open10k", "ns/op", 1e-6, "10,000 leases from disk to a book that answers"),
		spread("ipam.bytes_per_lease", "B", "BytesPerLease", "B/lease", 1, "heap, 65,000 leases"),
	} {
		if err != nil {
			return figures, fmt.Errorf("read the Go benchmarks: %w", err)
		}
	}
	return figures, nil
}
