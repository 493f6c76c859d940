// Package logs measures rolling/log: what a line costs on its way from a container to Kafka beside what people use
// instead, how soon it is there, and what an absent Kafka costs a container's end. It knows examples/lines, the plugin's
// pages, Kafka, and the kernel's count of CPU time.
package logs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// Settings say how much is measured.
type Settings struct {
	Root   string // the checkout
	Rounds int    // of ours and each peer, for each size
	Bytes  int    // of lines a round, in MB
	Stops  int    // containers stopped without Kafka, ours and json-file's
}

type bench struct {
	s     *site.Site
	set   Settings
	node  string
	count int // names what is made
}

const (
	image = "lines/writer:dev"
	// mark is the label by which the containers are removed.
	mark = "rolling.bench=log"
	// within bounds the way of one round's lines.
	within = 3 * time.Minute
)

// Measure takes the figures. What could be measured is returned also when something failed.
func Measure(ctx context.Context, s *site.Site, set Settings) (figures []figure.Figure, err error) {
	_, followers, err := s.Followers(ctx)
	if err != nil {
		return nil, err
	}
	b := &bench{s: s, set: set, node: followers[0]}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.clear(ctx)) }()
	for _, take := range []func(context.Context) ([]figure.Figure, error){
		func(ctx context.Context) ([]figure.Figure, error) { return b.cost(ctx, "200", 200) },
		func(ctx context.Context) ([]figure.Figure, error) { return b.cost(ctx, "1k", 1000) },
		b.latency, b.stops, // the last: Kafka is away after it
	} {
		got, failed := take(ctx)
		figures, err = append(figures, got...), errors.Join(err, failed)
	}
	return figures, err
}

func (b *bench) prepare(ctx context.Context) error {
	if err := b.s.Lab.StartPart(ctx, "kafka"); err != nil {
		return err
	}
	if err := b.s.Lab.Need(ctx, rsyslogPackages()...); err != nil {
		return err
	}
	to, err := b.s.Lab.Path(b.node, "/opt/lines.tar")
	if err != nil {
		return err
	}
	tar, err := os.ReadFile(filepath.Join(b.set.Root, "build/images/lines.tar"))
	if err == nil {
		err = os.WriteFile(to, tar, 0o644)
	}
	if err != nil {
		return err
	}
	_, err = b.s.Lab.Docker(ctx, b.node, "load", "-q", "-i", "/opt/lines.tar")
	return err
}

func (b *bench) clear(ctx context.Context) error {
	_, err := b.s.Lab.Exec(context.WithoutCancel(ctx), b.node, "sh", "-c", "docker ps -aq --filter label="+mark+" | xargs -r docker rm -f")
	return err
}

// run starts a container that writes, and gives its ID.
func (b *bench) run(ctx context.Context, driver string, args ...string) (id string, err error) {
	args = append([]string{"run", "--detach", "--label", mark, "--network", "none", "--log-driver", driver}, args...)
	out, err := b.s.Lab.Docker(ctx, b.node, append(args, image)...)
	return strings.TrimSpace(out), err
}

func (b *bench) remove(ctx context.Context, id string) error {
	_, err := b.s.Lab.Docker(ctx, b.node, "rm", "--force", id)
	return err
}

// topic is one that nobody used before.
func (b *bench) topic() string {
	b.count++
	return fmt.Sprintf("bench-%d", b.count)
}

func (b *bench) kafka(options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.SeedBrokers(parts.KafkaAddress(parts.Site{Router: b.s.Lab.Address(lab.Router)})), kgo.Dialer(b.s.Lab.DialContext(lab.Router)))
	return kgo.NewClient(options...)
}

// makeTopic: of one partition, so that making it is in nobody's figure.
func (b *bench) makeTopic(ctx context.Context, c *kgo.Client) (string, error) {
	topic := b.topic()
	_, err := kadm.NewClient(c).CreateTopic(ctx, 1, 1, nil, topic)
	return topic, err
}

// arrived waits until the topic holds that many records.
func (b *bench) arrived(ctx context.Context, c *kgo.Client, topic string, want int) error {
	admin := kadm.NewClient(c)
	return b.s.Lab.Eventually(ctx, within, fmt.Sprintf("%d records in %s", want, topic), func() error {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return err
		}
		if end, _ := ends.Lookup(topic, 0); end.Offset < int64(want) {
			return fmt.Errorf("%d so far", end.Offset)
		}
		return nil
	})
}

// cpu is the CPU time of the node's processes with that name, in user and kernel.
func (b *bench) cpu(ctx context.Context, name string) (time.Duration, error) {
	out, err := b.s.Lab.Exec(ctx, b.node, "sh", "-c", "for p in $(pgrep -f '^"+name+"'); do cat /proc/$p/stat; done")
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", name, err)
	}
	return ticks(out)
}

// tick is the kernel's unit in /proc/PID/stat, the same on every machine that Go knows.
const tick = 10 * time.Millisecond

func ticks(text string) (time.Duration, error) {
	var sum time.Duration
	for line := range strings.Lines(text) {
		fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:]) // the name before may hold anything
		if len(fields) < 13 {
			return 0, fmt.Errorf("CPU time: %.60q is no line of /proc/PID/stat", line)
		}
		for _, f := range fields[11:13] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("CPU time: %w", err)
			}
			sum += time.Duration(n) * tick
		}
	}
	if strings.TrimSpace(text) == "" {
		return 0, errors.New("CPU time: there is no such process")
	}
	return sum, nil
}

// fault is what the plugin says of Kafka, "" if nothing.
func (b *bench) fault(ctx context.Context) (string, error) {
	socket, err := b.s.Lab.Path(b.node, contract.StateRoot+"/log/log.sock")
	if err != nil {
		return "", err
	}
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://log/debug/state", nil)
	if err != nil {
		return "", err
	}
	got, err := c.Do(r)
	if err != nil {
		return "", err
	}
	defer got.Body.Close() //nolint:errcheck // only read
	var state struct{ Kafka struct{ Fault string } }
	err = json.NewDecoder(got.Body).Decode(&state)
	return state.Kafka.Fault, err
}
