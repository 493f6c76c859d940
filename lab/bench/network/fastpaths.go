package network

import (
	"context"
	"fmt"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

// rounds of the benchmark of the fast paths, which takes them itself.
const pathRounds = 50

// fastPaths compares the ways that rolling/net has of carrying packets, which one node can have only one of: the driver's
// own benchmark has nodes of each kind side by side, without engines.
func (b *bench) fastPaths(ctx context.Context) ([]figure.Figure, error) {
	lines, err := gotest.Run{Root: b.set.Root, Package: "./network-driver/fastpath", Bench: "^BenchmarkPath$", Time: "1x", Tags: "lab,long"}.Go(ctx)
	if err != nil {
		return nil, err
	}
	return fastPathFigures(lines)
}

func fastPathFigures(lines []gotest.Line) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, c := range []struct{ cpus, suffix, note string }{
		{"2cpu", "", "client and server on a CPU each, cubic, no engines"}, {"1cpu", ".1cpu", "client and server on one CPU, cubic, no engines"},
	} {
		for _, path := range []string{"bpf", "nft", "plain", "bpf-local", "nft-local", "plain-local"} {
			value := map[string]float64{}
			for _, unit := range []string{"Gbit/s", "host-Gbit/s", "÷host", "rtt-us", "rtt÷host"} {
				v, err := gotest.Values(lines, "Path/"+path+"/"+c.cpus, unit)
				if err != nil {
					return nil, fmt.Errorf("fast paths: %w", err)
				}
				value[unit] = v[0]
			}
			through := figure.Beside("net.throughput."+path+c.suffix, "Gbit/s", value["Gbit/s"], host, value["host-Gbit/s"], pathRounds, c.note)
			ratio := value["÷host"] // of the rounds, not of the medians
			through.Ratio = &ratio
			trip := figure.Beside("net.rtt_p50."+path+c.suffix, "us", value["rtt-us"], host, value["rtt-us"]/value["rtt÷host"], pathRounds, c.note)
			figures = append(figures, through, trip)
		}
	}
	return figures, nil
}
