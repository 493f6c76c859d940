// Package metrics measures the exporter: what a sample costs beside Docker's own statistics, what an outage of Graphite loses,
// and the memory for many containers. It knows the plugin's pages, graphite-web and the kernel's count of CPU time.
package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
	"github.com/rolling-swarm/rolling/lab/bench/site"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// Settings say how much is measured.
type Settings struct {
	Root       string // the checkout
	Containers int    // idle ones, on one node
	Rounds     int    // pairs of ours and Docker's
	Outage     time.Duration
}

type bench struct {
	s    *site.Site
	set  Settings
	node string
	ids  []string
}

// window is how long ours is watched a round: some rounds of samples.
const window = 10 * parts.GraphiteStep

// Measure takes the figures. What could be measured is returned also when something failed.
func Measure(ctx context.Context, s *site.Site, set Settings) (figures []figure.Figure, err error) {
	_, followers, err := s.Followers(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{s: s, set: set, node: followers[0]}
	if err := s.Lab.StartPart(ctx, "graphite"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.clear(ctx)) }()
	if err := b.populate(ctx); err != nil {
		return nil, err
	}
	for _, take := range []func(context.Context) (figure.Figure, error){b.cost, b.outage, b.memory} {
		f, failed := take(ctx)
		err = errors.Join(err, failed)
		if failed == nil {
			figures = append(figures, f)
		}
	}
	return figures, err
}

// mark is the label by which the containers are removed.
const mark = "rolling.bench=metrics"

// populate starts idle containers on the node.
func (b *bench) populate(ctx context.Context) error {
	begun := time.Now()
	script := fmt.Sprintf(`for i in $(seq %d); do docker run -d --name idle$i --label %s --stop-signal SIGKILL %s sleep 1000000; done`, b.set.Containers, mark, lab.ShellImage)
	out, err := b.s.Lab.Exec(ctx, b.node, "sh", "-c", script)
	if err != nil {
		return fmt.Errorf("start %d idle containers on %s: %w", b.set.Containers, b.node, err)
	}
	b.ids = strings.Fields(out)
	b.s.Say("metrics: %d idle containers on %s after %.0f s", len(b.ids), b.node, time.Since(begun).Seconds())
	return b.s.Lab.Eventually(ctx, time.Minute, "samples of all of them", func() error {
		n, err := b.samples(ctx)
		if err == nil && n < len(b.ids) {
			err = fmt.Errorf("%d samples in the last round", n)
		}
		return err
	})
}

func (b *bench) clear(ctx context.Context) error {
	_, err := b.s.Lab.Exec(ctx, b.node, "sh", "-c", "docker ps -aq --filter label="+mark+" | xargs -r docker rm -f")
	return err
}

// page reads one of the plugin's pages.
func (b *bench) page(ctx context.Context, path string) (string, error) {
	socket, err := b.s.Lab.Path(b.node, contract.StateRoot+"/metrics/metrics.sock")
	if err != nil {
		return "", err
	}
	return get(ctx, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}, "http://metrics"+path)
}

func get(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), url string) (string, error) {
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dial}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	got, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer got.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(got.Body)
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", url, got.Status, text)
	}
	return string(text), err
}

// samples is how many containers were read in the last round.
func (b *bench) samples(ctx context.Context) (int, error) {
	text, err := b.page(ctx, "/debug/state")
	if err != nil {
		return 0, err
	}
	var state struct{ LastRound struct{ Samples int } }
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		return 0, fmt.Errorf("state of rolling/metrics on %s: %w", b.node, err)
	}
	return state.LastRound.Samples, nil
}

// cpu is the CPU time that a control group of the node has used, with all below it.
func (b *bench) cpu(ctx context.Context, group string) (time.Duration, error) {
	out, err := b.s.Lab.Exec(ctx, b.node, "sh", "-c", fmt.Sprintf("cat /sys/fs/cgroup/cpuacct%s/cpuacct.usage 2>/dev/null || awk '$1 == \"usage_usec\" { print $2 * 1000 }' /sys/fs/cgroup%s/cpu.stat", group, group))
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", group, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	return time.Duration(n), err
}

// groups are the control groups of the plugin, and of the whole node.
func (b *bench) groups(ctx context.Context) (plugin, node string, err error) {
	for _, g := range []struct {
		into *string
		cmd  string
	}{{&plugin, "cat /proc/$(pidof /exporter)/cgroup"}, {&node, "cat /proc/1/cgroup"}} {
		out, err := b.s.Lab.Exec(ctx, b.node, "sh", "-c", g.cmd)
		if err != nil {
			return "", "", fmt.Errorf("control groups on %s: %w", b.node, err)
		}
		for line := range strings.Lines(out) {
			if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 && (f[1] == "cpuacct" || strings.Contains(f[1], "cpuacct,") || strings.Contains(f[1], ",cpuacct") || (*g.into == "" && f[0] == "0")) {
				*g.into = f[2]
			}
		}
	}
	return plugin, strings.TrimSuffix(node, "/init"), nil
}

// cost compares CPU times of one sample of one container: ours is all that the plugin uses in a window; Docker's is what the
// whole node uses beyond its habit while every container is asked for its statistics once.
func (b *bench) cost(ctx context.Context) (figure.Figure, error) {
	plugin, node, err := b.groups(ctx)
	if err != nil {
		return figure.Figure{}, err
	}
	var ours, peer []float64
	for range b.set.Rounds {
		one, habit, err := b.ours(ctx, plugin, node)
		if err != nil {
			return figure.Figure{}, err
		}
		other, err := b.docker(ctx, node, habit)
		if err != nil {
			return figure.Figure{}, err
		}
		ours, peer = append(ours, one), append(peer, other)
	}
	return figure.Paired("metrics.cpu_us_sample", "us", ours, "stats-api", peer,
		fmt.Sprintf("%d idle containers; ours: the whole plugin, with Graphite and its record; stats-api: one-shot, engine, containerd and shims", len(b.ids)))
}

// ours gives the plugin's microseconds a sample, and the node's habit: its CPU time by second.
func (b *bench) ours(ctx context.Context, plugin, node string) (micros, habit float64, err error) {
	n, err := b.samples(ctx)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	var before, after [2]time.Duration
	for i, group := range []string{plugin, node} {
		if before[i], err = b.cpu(ctx, group); err != nil {
			return 0, 0, err
		}
	}
	select {
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	case <-time.After(window):
	}
	for i, group := range []string{plugin, node} {
		if after[i], err = b.cpu(ctx, group); err != nil {
			return 0, 0, err
		}
	}
	took := time.Since(begin)
	rounds := took.Seconds() / parts.GraphiteStep.Seconds()
	return float64((after[0] - before[0]).Microseconds()) / rounds / float64(n), (after[1] - before[1]).Seconds() / took.Seconds(), nil
}

// docker gives the engine's microseconds a sample.
func (b *bench) docker(ctx context.Context, node string, habit float64) (float64, error) {
	before, err := b.cpu(ctx, node)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	err = b.s.With(b.node, func(c *client.Client) error {
		for _, id := range b.ids {
			got, err := c.ContainerStats(ctx, id, client.ContainerStatsOptions{})
			if err != nil {
				return fmt.Errorf("statistics of %.12s: %w", id, err)
			}
			_, err = io.Copy(io.Discard, got.Body)
			if err = errors.Join(err, got.Body.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	after, err := b.cpu(ctx, node)
	if err != nil {
		return 0, err
	}
	used := (after - before).Seconds() - habit*time.Since(begin).Seconds()
	return used * 1e6 / float64(len(b.ids)), nil
}

// memory is the program's for 500 containers.
func (b *bench) memory(ctx context.Context) (figure.Figure, error) {
	lines, err := gotest.Run{Root: b.set.Root, Package: "./exporter", Bench: "^BenchmarkFiveHundred$", Time: "1x"}.Go(ctx)
	if err != nil {
		return figure.Figure{}, err
	}
	values, err := gotest.Values(lines, "FiveHundred", "MB/rss")
	if err != nil {
		return figure.Figure{}, err
	}
	return figure.Spread("metrics.rss_mb_500", "MB", values, "500 containers by recorded files, after 20 rounds a second apart (ten times the points of the default interval), with Graphite")
}
