package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
)

// A way is one by which lines leave a container.
type way struct {
	name string
	run  func(ctx context.Context, lines, size int) (spent, error)
}

// spent is what a round's lines cost.
type spent struct {
	took            time.Duration // from the container's start until the last line is where it should be
	engine, carrier time.Duration // CPU: dockerd's, and that of what carries lines further
}

func (s spent) micros(lines int) float64 {
	return float64((s.engine + s.carrier).Microseconds()) / float64(lines)
}

// cost takes ours and the peers in turns: all lines of a size, as fast as they go.
func (b *bench) cost(ctx context.Context, name string, size int) ([]figure.Figure, error) {
	lines := b.set.Bytes * 1_000_000 / size
	ways := []way{{contract.PluginLog, b.ours}, {"json-file", b.jsonFile}, {"rsyslog", b.rsyslog}}
	micros, speed, engine, carrier := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for round := range b.set.Rounds + 1 {
		for _, w := range ways {
			got, err := w.run(ctx, lines, size)
			if err != nil {
				return nil, fmt.Errorf("lines of %d bytes by %s: %w", size, w.name, err)
			}
			if round == 0 {
				continue // to warm up
			}
			micros[w.name] = append(micros[w.name], got.micros(lines))
			speed[w.name] = append(speed[w.name], float64(lines*size)/1e6/got.took.Seconds())
			engine[w.name] = append(engine[w.name], float64(got.engine.Microseconds())/float64(lines))
			carrier[w.name] = append(carrier[w.name], float64(got.carrier.Microseconds())/float64(lines))
		}
	}
	const ours = contract.PluginLog
	var figures []figure.Figure
	var errs []error
	add := func(f figure.Figure, err error) { figures, errs = append(figures, f), append(errs, err) }
	for _, peer := range ways[1:] {
		add(figure.Paired("log.cpu_us_"+name, "us/line", micros[ours], peer.name, micros[peer.name],
			fmt.Sprintf("%d lines; dockerd %.1f + plugin %.1f, %s: dockerd %.1f + %.1f", lines, figure.Median(engine[ours]), figure.Median(carrier[ours]),
				peer.name, figure.Median(engine[peer.name]), figure.Median(carrier[peer.name]))))
		add(figure.Paired("log.mb_s_"+name, "MB/s", speed[ours], peer.name, speed[peer.name], where(peer.name)))
	}
	return figures, errors.Join(errs...)
}

func where(peer string) string {
	if peer == "json-file" {
		return "from the start of a container until ours has the last line in Kafka, json-file in its file: it carries nothing anywhere"
	}
	return "from the start of a container until the last line is in Kafka; broker, engine and writer on the same CPUs"
}

// program is how the worker of rolling/log is called.
const program = "/tmp/worker-"

func (b *bench) ours(ctx context.Context, lines, size int) (s spent, err error) {
	c, err := b.kafka()
	if err != nil {
		return s, err
	}
	defer c.Close()
	topic, err := b.makeTopic(ctx, c)
	if err != nil {
		return s, err
	}
	return b.measured(ctx, program, func() (id string, err error) {
		if id, err = b.run(ctx, contract.PluginLog, append(writes(lines, size), "--log-opt", "topic="+topic)...); err != nil {
			return id, err
		}
		return id, b.arrived(ctx, c, topic, lines)
	})
}

func writes(lines, size int) []string {
	return []string{"--env", fmt.Sprintf("LINES=%d", lines), "--env", fmt.Sprintf("SIZE=%d", size)}
}

// measured takes time and CPU around a round, and removes its container.
func (b *bench) measured(ctx context.Context, carrier string, round func() (id string, err error)) (s spent, err error) {
	var before, after [2]time.Duration
	look := func(into *[2]time.Duration) error {
		for i, name := range []string{"dockerd", carrier} {
			if name == "" {
				continue
			}
			if into[i], err = b.cpu(ctx, name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := look(&before); err != nil {
		return s, err
	}
	began := time.Now()
	id, err := round()
	s.took = time.Since(began)
	if err == nil {
		err = look(&after)
	}
	s.engine, s.carrier = after[0]-before[0], after[1]-before[1]
	if id != "" {
		err = errors.Join(err, b.remove(ctx, id))
	}
	return s, err
}

func (b *bench) jsonFile(ctx context.Context, lines, size int) (spent, error) {
	return b.measured(ctx, "", func() (id string, err error) {
		if id, err = b.run(ctx, "json-file", writes(lines, size)...); err != nil {
			return id, err
		}
		file, err := b.logFile(ctx, id)
		if err != nil {
			return id, err
		}
		return id, b.s.Lab.Eventually(ctx, within, "the last line in "+file, func() error { return endsWith(file, fmt.Sprintf(`"line %d `, lines)) })
	})
}

// logFile is where json-file writes, as seen from here.
func (b *bench) logFile(ctx context.Context, id string) (string, error) {
	out, err := b.s.Lab.Docker(ctx, b.node, "inspect", "--format", "{{.LogPath}}", id)
	if err != nil {
		return "", err
	}
	return b.s.Lab.Path(b.node, strings.TrimSpace(out))
}

// endsWith wants a text near the file's end.
func endsWith(file, text string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	s, err := f.Stat()
	if err != nil {
		return err
	}
	end := make([]byte, min(4096, s.Size()))
	if _, err := f.ReadAt(end, s.Size()-int64(len(end))); err != nil {
		return err
	}
	if !strings.Contains(string(end), text) {
		return fmt.Errorf("it has %d bytes", s.Size())
	}
	return nil
}
