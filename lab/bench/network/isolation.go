package network

import (
	"context"
	"fmt"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

// fileLook is what a node may take at most to see that another policy lies there (network-driver/policy).
const fileLook = 50.0

// wallRounds of the benchmark of isolation, which takes them itself.
const wallRounds = 50

// isolation asks what it costs to keep projects apart, and how long a label takes on a node with 1,000 containers.
func (b *bench) isolation(ctx context.Context) ([]figure.Figure, error) {
	root, err := lab.Checkout()
	if err != nil {
		return nil, fmt.Errorf("isolation: %w", err)
	}
	lines, err := gotest.Run{Root: root, Package: "./network-driver/fastpath", Bench: "^BenchmarkIsolation$", Time: "1x", Tags: "lab,long"}.Go(ctx)
	if err != nil {
		return nil, err
	}
	figures, err := isolationFigures(lines)
	if err != nil {
		return nil, err
	}
	if lines, err = (gotest.Run{Root: root, Package: "./network-driver/fastpath", Bench: "^BenchmarkPolicy$", Time: "20x", Tags: "lab,long"}).Go(ctx); err != nil {
		return figures, err
	}
	policy, err := policyFigures(lines)
	return append(figures, policy...), err
}

func isolationFigures(lines []gotest.Line) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, c := range []struct{ line, name, note string }{
		{"plain-1000", "net.isolation", "the ordinary way, 1,000 containers of 20 projects"}, {"plain-10", "net.isolation.10", "the ordinary way, 10 containers"},
		{"bpf-1000", "net.isolation.bpf", "bpf, 1,000 containers of 20 projects"}, {"bpf-10", "net.isolation.bpf.10", "bpf, 10 containers"},
	} {
		value := map[string]float64{}
		for _, unit := range []string{"Gbit/s", "off-Gbit/s", "÷off"} {
			v, err := gotest.Values(lines, "Isolation/"+c.line, unit)
			if err != nil {
				return nil, fmt.Errorf("isolation: %w", err)
			}
			value[unit] = v[0]
		}
		f := figure.Beside(c.name, "Gbit/s", value["Gbit/s"], "off", value["off-Gbit/s"], wallRounds, c.note+"; client and server on a CPU each, cubic, no engines")
		ratio := value["÷off"] // of the rounds, not of the medians
		f.Ratio = &ratio
		figures = append(figures, f)
	}
	return figures, nil
}

func policyFigures(lines []gotest.Line) ([]figure.Figure, error) {
	v, err := gotest.Values(lines, "Policy/change", "ns/op")
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return []figure.Figure{figure.Alone("net.policy_ms", "ms", v[0]/1e6+fileLook, 20, "1,000 containers of 20 projects, three labels opened or closed, mean, with the 50 ms that a look at the file may take")}, nil
}
