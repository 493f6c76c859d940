package network

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
)

const (
	port      = 7999
	published = 17999 // of the container on Docker's bridge
	warmup    = 5
)

// paths measures throughput and round trip of four paths between the same two nodes.
func (b *bench) paths(ctx context.Context) ([]figure.Figure, error) {
	modes, err := b.modes(ctx)
	if err != nil {
		return nil, err
	}
	job := pair.Job{Modes: modes, Rounds: b.set.Rounds, Warmup: warmup, Chunk: b.set.Chunk << 20, Pings: b.set.Pings, Congestion: b.set.Congestion}
	two, err := pair.Run(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("two CPUs: %w", err)
	}
	figures, err := pathFigures(two, "", "client and server on a CPU each")
	if err != nil {
		return nil, err
	}
	b.Say("net: the same paths on one CPU")
	job.OneCPU = true
	one, err := pair.Run(ctx, job)
	if err != nil {
		return figures, fmt.Errorf("one CPU: %w", err)
	}
	more, err := pathFigures(one, ".1cpu", "client and server on one CPU")
	return append(figures, more...), err
}

// pathFigures compares our path with each of the others, round by round.
func pathFigures(r pair.Result, suffix, note string) ([]figure.Figure, error) {
	series := map[string]pair.Series{}
	for _, mode := range []string{ours, host, overlay, bridge} {
		s, err := r.Of(mode)
		if err != nil {
			return nil, err
		}
		series[mode] = s
	}
	note += ", " + r.Congestion
	var figures []figure.Figure
	for _, c := range []struct {
		name, unit, peer string
		of               func(pair.Series) []float64
	}{
		{"net.throughput", "Gbit/s", host, func(s pair.Series) []float64 { return s.Gbit }},
		{"net.throughput.overlay", "Gbit/s", overlay, func(s pair.Series) []float64 { return s.Gbit }},
		{"net.throughput.bridge", "Gbit/s", bridge, func(s pair.Series) []float64 { return s.Gbit }},
		{"net.rtt_p50", "us", host, func(s pair.Series) []float64 { return s.P50 }},
		{"net.rtt_p50.overlay", "us", overlay, func(s pair.Series) []float64 { return s.P50 }},
		{"net.rtt_p99", "us", host, func(s pair.Series) []float64 { return s.P99 }},
	} {
		f, err := figure.Paired(c.name+suffix, c.unit, c.of(series[ours]), c.peer, c.of(series[c.peer]), note)
		if err != nil {
			return nil, err
		}
		figures = append(figures, f)
	}
	return figures, nil
}

// modes are the paths: from the client's node to the server's.
func (b *bench) modes(ctx context.Context) ([]pair.Mode, error) {
	direct, err := b.hostMode()
	if err != nil {
		return nil, err
	}
	modes := []pair.Mode{direct}
	for _, network := range []string{ours, overlay} {
		m, err := b.taskMode(ctx, network)
		if err != nil {
			return nil, err
		}
		modes = append(modes, m)
	}
	nat, err := b.bridgeMode(ctx)
	if err != nil {
		return nil, err
	}
	return append(modes, nat), nil
}

func (b *bench) hostMode() (pair.Mode, error) {
	from, err := b.NetworkSpace(b.client)
	if err != nil {
		return pair.Mode{}, err
	}
	to, err := b.NetworkSpace(b.server)
	if err != nil {
		return pair.Mode{}, err
	}
	at := join(b.Lab.Address(b.server).String(), port)
	return pair.Mode{Name: host, Client: from, Server: to, Listen: at, Dial: at}, nil
}

// taskMode goes from the idle task of one node to that of the other.
func (b *bench) taskMode(ctx context.Context, network string) (pair.Mode, error) {
	from, err := b.idleTask(ctx, network, b.client)
	if err != nil {
		return pair.Mode{}, err
	}
	to, err := b.idleTask(ctx, network, b.server)
	if err != nil {
		return pair.Mode{}, err
	}
	m := pair.Mode{Name: network, Listen: join(to.Address.String(), port), Dial: join(to.Address.String(), port)}
	if m.Client, err = b.Lab.ContainerNetwork(b.client, from.Container); err != nil { //nolint:contextcheck // it has a time limit of its own
		return m, err
	}
	m.Server, err = b.Lab.ContainerNetwork(b.server, to.Container) //nolint:contextcheck // the same
	return m, err
}

// bridgeMode goes from a container on Docker's default bridge to a port that the other node publishes.
func (b *bench) bridgeMode(ctx context.Context) (pair.Mode, error) {
	at := b.Lab.Address(b.server).String()
	m := pair.Mode{Name: bridge, Listen: join("0.0.0.0", port), Dial: join(at, published)}
	for _, end := range []struct {
		node  string
		space *string
		more  []string
	}{
		{b.client, &m.Client, nil},
		{b.server, &m.Server, []string{"-p", fmt.Sprintf("%s:%d:%d", at, published, port)}},
	} {
		args := append([]string{"run", "-d", "--pull", "never", "--name", "bench-bridge"}, end.more...)
		id, err := b.Lab.Docker(ctx, end.node, append(args, lab.ShellImage, "sleep", "1000000")...)
		if err != nil {
			return m, err
		}
		if *end.space, err = b.Lab.ContainerNetwork(end.node, strings.TrimSpace(id)); err != nil { //nolint:contextcheck // the same
			return m, err
		}
	}
	return m, nil
}

func join(host string, port int) string { return host + ":" + strconv.Itoa(port) }
