package logs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
)

const (
	// steady is a rate that costs the machine little, so that a line waits for nobody but its carrier.
	steady = 1000
	// steadyLines are those of ten seconds.
	steadyLines = 10 * steady
)

// latency is from the engine's time of a line until a consumer has it.
func (b *bench) latency(ctx context.Context) ([]figure.Figure, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c, err := b.kafka()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	topic, err := b.makeTopic(ctx, c)
	if err != nil {
		return nil, err
	}
	c.AddConsumeTopics(topic)
	id, err := b.run(ctx, contract.PluginLog, append(writes(steadyLines, 200), "--env", "RATE="+strconv.Itoa(steady), "--log-opt", "topic="+topic)...)
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for len(took) < steadyLines && err == nil {
		fetched := c.PollFetches(ctx)
		now := time.Now()
		err = fetched.Err0()
		fetched.EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				if h.Key == contract.HeaderTS {
					if nanos, wrong := strconv.ParseInt(string(h.Value), 10, 64); wrong == nil {
						took = append(took, now.Sub(time.Unix(0, nanos)))
					}
				}
			}
		})
	}
	if err = errors.Join(err, b.remove(context.WithoutCancel(ctx), id)); err != nil {
		return nil, fmt.Errorf("latency: %d of %d lines: %w", len(took), steadyLines, err)
	}
	ms := figure.Milliseconds(took)
	note := fmt.Sprintf("from dockerd's time of a line until a consumer has it, %d lines/s of one container; p50 %.1f", steady, figure.Median(ms))
	return []figure.Figure{figure.Alone("log.latency_p99_ms", "ms", figure.Quantile(ms, 0.99), len(took), note)}, nil
}

// stops is how long `docker stop` of a container that writes takes, without Kafka.
func (b *bench) stops(ctx context.Context) ([]figure.Figure, error) {
	if err := b.s.Lab.KillPart(ctx, "kafka"); err != nil {
		return nil, err
	}
	if err := b.s.Lab.Eventually(ctx, time.Minute, "the plugin misses Kafka", func() error {
		fault, err := b.fault(ctx)
		if err == nil && fault == "" {
			err = errors.New("it does not")
		}
		return err
	}); err != nil {
		return nil, err
	}
	var ours, peer []float64
	for range b.set.Stops {
		for driver, into := range map[string]*[]float64{contract.PluginLog: &ours, "json-file": &peer} {
			took, err := b.stop(ctx, driver)
			if err != nil {
				return nil, err
			}
			*into = append(*into, float64(took.Microseconds())/1000)
		}
	}
	f, err := figure.Paired("log.stop_outage_ms", "ms", ours, "json-file", peer, fmt.Sprintf("docker stop of a container that writes %d lines/s and ends at SIGTERM; Kafka killed -9", steady))
	return []figure.Figure{f}, err
}

func (b *bench) stop(ctx context.Context, driver string) (time.Duration, error) {
	id, err := b.run(ctx, driver, append(writes(1_000_000, 200), "--env", "RATE="+strconv.Itoa(steady))...)
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Second):
	}
	began := time.Now()
	_, err = b.s.Lab.Docker(ctx, b.node, "stop", id)
	took := time.Since(began)
	return took, errors.Join(err, b.remove(context.WithoutCancel(ctx), id))
}
