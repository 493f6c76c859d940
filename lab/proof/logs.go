package proof

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/images"
	"github.com/rolling-swarm/rolling/lab"
)

const (
	linesTopic   = "lines.production.writer"
	linesService = "lines_writer"
	linesWritten = 10000
	// linesWithin covers the way of the last line on a busy machine.
	linesWithin = 90 * time.Second

	kafkaAway = 15 * time.Second
	// stopsWithin: Kafka's absence may cost a stop nothing; the rest is a busy machine's.
	stopsWithin = 5 * time.Second
)

// Signals are the proofs of what containers say, their lines and their figures, and of what people see.
func Signals() []Proof {
	return []Proof{
		{16, "10,000 numbered lines of a container on every node reach Kafka: none lost, none twice, in order", linesReachKafka},
		{17, "the same with the broker killed for 15 s in the middle; containers start and stop as ever", brokerKilled},
		Metrics(),
		{19, "the dashboard shows what happens by itself, in a browser, and promotes a release by clicking", boardShows},
	}
}

func linesReachKafka(ctx context.Context, w *World) (string, error) {
	for _, part := range []string{"registry", "kafka"} {
		if err := w.Lab.StartPart(ctx, part); err != nil {
			return "", err
		}
	}
	writers, err := w.startWriters(ctx, "LINES=10000", "RATE=0")
	if err != nil {
		return "", err
	}
	start := time.Now()
	seen, err := w.consume(ctx, linesTopic, writers, linesWritten, linesWithin)
	if err != nil {
		return "", err
	}
	took := time.Since(start)
	if err := w.logsShow(ctx, writers, linesWritten); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d lines of %d containers read from %s within %.1f s, their headers right; docker logs shows each line once", seen, len(writers), linesTopic, took.Seconds()), nil
}

func brokerKilled(ctx context.Context, w *World) (string, error) {
	if err := w.Lab.StartPart(ctx, "kafka"); err != nil {
		return "", err
	}
	writers, err := w.startWriters(ctx, "LINES=10000", "RATE=400")
	if err != nil {
		return "", err
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return "", err
	}
	if err := w.Lab.KillPart(ctx, "kafka"); err != nil {
		return "", err
	}
	killed := time.Now()
	started, stopped, err := w.startAndStop(ctx, writers[0])
	if err != nil {
		return "", errors.Join(err, w.Lab.StartPart(ctx, "kafka"))
	}
	if err := sleep(ctx, time.Until(killed.Add(kafkaAway))); err != nil {
		return "", err
	}
	if err := w.Lab.StartPart(ctx, "kafka"); err != nil {
		return "", err
	}
	away := time.Since(killed)
	seen, err := w.consume(ctx, linesTopic, writers, linesWritten, linesWithin)
	if err != nil {
		return "", err
	}
	if err := w.logsShow(ctx, writers, linesWritten); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d lines of %d containers, Kafka away for %.1f s of it; meanwhile a container started in %.1f s and stopped in %.1f s",
		seen, len(writers), away.Seconds(), started.Seconds(), stopped.Seconds()), nil
}

// A writer is a container of examples/lines.
type writer struct{ node, id, image string }

// key is what records of the writer are keyed with.
func (r writer) key() string { return r.id[:12] }

// startWriters begins examples/lines anew: one writer on each node that has power.
func (w *World) startWriters(ctx context.Context, env ...string) ([]writer, error) {
	repository := w.Lab.Address(lab.Router).String() + ":5000/lines/writer"
	image, err := images.Push(ctx, filepath.Join(w.Root, "build/images/lines.tar"), repository+":demo", images.Dialer(w.Lab.DialContext(lab.Router)))
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", repository, err)
	}
	leader, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := w.Lab.Docker(ctx, leader, "stack", "rm", "lines"); err != nil && !strings.Contains(err.Error(), "othing found") {
		return nil, err
	}
	if err := eventually(ctx, time.Minute, "the writers of before are gone", func(ctx context.Context) error {
		found, err := w.writers(ctx)
		if err == nil && len(found) > 0 {
			err = fmt.Errorf("%s still runs on %s", found[0].id[:12], found[0].node)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if err := w.deploy(ctx, "lines", filepath.Join(w.Root, "examples/lines/stack.yml"), append(env, "LINES_IMAGE="+image)...); err != nil {
		return nil, err
	}
	var found []writer
	err = eventually(ctx, 90*time.Second, "a writer on each node", func(ctx context.Context) (err error) {
		if found, err = w.writers(ctx); err == nil && len(found) != len(w.live()) {
			err = fmt.Errorf("%d run on %d nodes", len(found), len(w.live()))
		}
		return err
	})
	return found, err
}

func (w *World) writers(ctx context.Context) ([]writer, error) {
	var found []writer
	for _, node := range w.live() {
		out, err := w.Lab.Docker(ctx, node, "ps", "--no-trunc", "--filter", "label=com.docker.swarm.service.name="+linesService, "--format", "{{.ID}} {{.Image}}")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			if id, image, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				found = append(found, writer{node: node, id: id, image: image})
			}
		}
	}
	return found, nil
}

// logsShow wants every line once and in order from docker logs, whose source is the node's own spool.
func (w *World) logsShow(ctx context.Context, writers []writer, want int) error {
	for _, r := range writers {
		out, err := w.Lab.Docker(ctx, r.node, "logs", r.id)
		if err != nil {
			return err
		}
		n := 0
		for line := range strings.Lines(out) {
			if n++; !strings.HasPrefix(line, fmt.Sprintf("line %d ", n)) {
				return fmt.Errorf("docker logs of %s on %s: line %d is %.40q", r.key(), r.node, n, line)
			}
		}
		if n != want {
			return fmt.Errorf("docker logs of %s on %s shows %d lines, want %d", r.key(), r.node, n, want)
		}
	}
	return nil
}

// startAndStop starts a container beside a writer, and stops it again once its lines were taken.
func (w *World) startAndStop(ctx context.Context, beside writer) (started, stopped time.Duration, err error) {
	began := time.Now()
	out, err := w.Lab.Docker(ctx, beside.node, "run", "--detach", "--log-driver", "rolling/log:latest", "--env", "RATE=1000", beside.image)
	if err != nil {
		return 0, 0, fmt.Errorf("start a container without Kafka: %w", err)
	}
	started = time.Since(began)
	id := strings.TrimSpace(out)
	defer func() {
		_, failed := w.Lab.Docker(context.WithoutCancel(ctx), beside.node, "rm", "--force", id)
		err = errors.Join(err, failed)
	}()
	if err := sleep(ctx, time.Second); err != nil {
		return started, 0, err
	}
	began = time.Now()
	if _, err := w.Lab.Docker(ctx, beside.node, "stop", id); err != nil {
		return started, 0, fmt.Errorf("stop a container without Kafka: %w", err)
	}
	stopped = time.Since(began)
	if stopped > stopsWithin {
		return started, stopped, fmt.Errorf("without Kafka a container took %.1f s to stop", stopped.Seconds())
	}
	return started, stopped, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
