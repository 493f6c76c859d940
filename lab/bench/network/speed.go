package network

import (
	"context"
	"fmt"
	"strings"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
)

// speeds measures all paths with the fast path that the driver picks by itself.
func (b *bench) speeds(ctx context.Context) ([]figure.Figure, error) {
	modes, err := b.place(ctx)
	if err != nil {
		return nil, err
	}
	return b.onBoth(ctx, modes, "fast path "+b.auto, comparisons(""))
}

// onBoth measures with the ends on a CPU each, and then with both on one.
func (b *bench) onBoth(ctx context.Context, modes []pair.Mode, note string, all []comparison) ([]figure.Figure, error) {
	job := pair.Job{Modes: modes, Rounds: b.set.Rounds, Warmup: min(warmup, b.set.Rounds), Chunk: b.set.Chunk << 20, Pings: b.set.Pings, Congestion: b.set.Congestion,
		Streams: streams, Conns: b.set.Conns, Packets: b.set.Packets}
	var figures []figure.Figure
	for _, cpus := range []struct{ suffix, note string }{{"", "client and server on a CPU each"}, {".1cpu", "client and server on one CPU"}} {
		job.OneCPU = cpus.suffix != ""
		b.Say("net: %s: %d paths, %s", note, len(modes), cpus.note)
		r, err := pair.Run(ctx, job)
		if err != nil {
			return figures, fmt.Errorf("%s: %w", cpus.note, err)
		}
		more, err := speedFigures(r, all, cpus.suffix, strings.Join([]string{cpus.note, r.Congestion, note}, ", "))
		if err != nil {
			return figures, err
		}
		figures = append(figures, more...)
	}
	return figures, nil
}

// streams that share a piece at once.
const streams = 8

// A comparison is one path beside another; suffix is what the names of its figures end with.
type comparison struct{ ours, peer, suffix string }

// comparisons are those of the main run: our two paths beside everybody's.
func comparisons(suffix string) []comparison {
	all := []comparison{{ours, host, suffix}}
	for _, peer := range []string{overlay, bridge, macvlan} {
		all = append(all, comparison{ours, peer, suffix + "." + peer}, comparison{ours + local, peer + local, suffix + local + "." + peer})
	}
	return all
}

// speedFigures compares paths round by round, in everything that is measured of them.
func speedFigures(r pair.Result, all []comparison, suffix, note string) ([]figure.Figure, error) {
	var figures []figure.Figure
	for _, m := range []struct {
		name, unit, note string
		of               func(pair.Series) []float64
	}{
		{"net.throughput", "Gbit/s", "", func(s pair.Series) []float64 { return s.Gbit }},
		{"net.throughput_8", "Gbit/s", fmt.Sprintf("%d streams at once", streams), func(s pair.Series) []float64 { return s.Many }},
		{"net.rtt_p50", "us", "", func(s pair.Series) []float64 { return s.P50 }},
		{"net.rtt_p99", "us", "", func(s pair.Series) []float64 { return s.P99 }},
		{"net.connections", "/s", "one after the other, with a question and its answer", func(s pair.Series) []float64 { return s.Conns }},
		{"net.udp_pps", "/s", "64 bytes, what arrived, three windows of 64 under way", func(s pair.Series) []float64 { return s.Packets }},
		{"net.cpu_per_gbit", "s", "CPU of both ends and softirq threads", func(s pair.Series) []float64 { return s.CPU }},
	} {
		for _, c := range all {
			mine, err := r.Of(c.ours)
			if err != nil {
				return nil, err
			}
			other, err := r.Of(c.peer)
			if err != nil {
				return nil, err
			}
			said := note
			if m.note != "" {
				said = m.note + "; " + note
			}
			f, err := figure.Paired(m.name+c.suffix+suffix, m.unit, m.of(mine), c.peer, m.of(other), said)
			if err != nil {
				return nil, err
			}
			figures = append(figures, f)
		}
	}
	return figures, nil
}
