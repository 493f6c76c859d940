package network

import (
	"context"
	"fmt"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

// l2 compares containers on the physical network with the nodes themselves. The driver's own benchmark has both kinds
// side by side, without engines, and their rules laid by hand.
func (b *bench) l2(ctx context.Context) ([]figure.Figure, error) {
	lines, err := gotest.Run{Root: b.set.Root, Package: "./network-driver/kernel", Bench: "^BenchmarkL2$", Time: "1x", Tags: "lab,long"}.Go(ctx)
	if err != nil {
		return nil, err
	}
	return l2Figures(lines)
}

// pathRounds are those of the driver's benchmark.
const pathRounds = 50

func l2Figures(lines []gotest.Line) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, c := range []struct{ cpus, suffix, note string }{
		{"2cpu", "", "client and server on a CPU each, cubic, no engines"}, {"1cpu", ".1cpu", "client and server on one CPU, cubic, no engines"},
	} {
		for _, attach := range []string{"bridge", "macvlan"} {
			infix := ""
			if attach == "macvlan" {
				infix = ".macvlan"
			}
			value := map[string]float64{}
			for _, unit := range []string{"Gbit/s", "host-Gbit/s", "÷host", "rtt-us", "rtt÷host"} {
				v, err := gotest.Values(lines, "L2/"+attach+"/"+c.cpus, unit)
				if err != nil {
					return nil, fmt.Errorf("l2: %w", err)
				}
				value[unit] = v[0]
			}
			through := figure.Beside("net.l2"+infix+c.suffix, "Gbit/s", value["Gbit/s"], host, value["host-Gbit/s"], pathRounds, c.note)
			ratio := value["÷host"] // of the rounds, not of the medians
			through.Ratio = &ratio
			trip := figure.Beside("net.l2_rtt_p50"+infix+c.suffix, "us", value["rtt-us"], host, value["rtt-us"]/value["rtt÷host"], pathRounds, c.note)
			figures = append(figures, through, trip)
		}
	}
	return figures, nil
}
