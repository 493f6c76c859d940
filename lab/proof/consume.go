package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/parts"
)

// silent is how long a topic has to be silent after the last line that was wanted: a line that comes twice comes soon.
const silent = 2 * time.Second

// consume reads the topic from its beginning until each writer has said its lines, and checks each record of theirs.
func (w *World) consume(ctx context.Context, topic string, writers []writer, want int, within time.Duration) (seen int, err error) {
	c, err := kgo.NewClient(kgo.SeedBrokers(parts.KafkaAddress(parts.Site{Router: w.Lab.Address(lab.Router)})), kgo.Dialer(w.Lab.DialContext(lab.Router)),
		kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(time.Second/4), kgo.MetadataMaxAge(time.Second))
	if err != nil {
		return 0, fmt.Errorf("consume %s: %w", topic, err)
	}
	defer c.Close()
	tallies := map[string]*tally{}
	for _, r := range writers {
		tallies[r.key()] = &tally{writer: r}
	}
	deadline := time.Now().Add(within)
	for wait := within; wait > 0; wait = time.Until(deadline) {
		if complete(tallies, want) {
			wait = silent
		}
		got, err := poll(ctx, c, wait)
		if err != nil {
			return 0, fmt.Errorf("consume %s: %w", topic, err)
		}
		if len(got) == 0 {
			break
		}
		for _, r := range got {
			if t := tallies[string(r.Key)]; t != nil {
				t.take(r)
			}
		}
	}
	return judge(topic, tallies, want)
}

// poll gives what comes within a while, none if nothing does.
func poll(ctx context.Context, c *kgo.Client, within time.Duration) ([]*kgo.Record, error) {
	short, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	fetched := c.PollFetches(short)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := fetched.Err0(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return fetched.Records(), nil
}

func complete(tallies map[string]*tally, want int) bool {
	for _, t := range tallies {
		if t.last < want {
			return false
		}
	}
	return true
}

func judge(topic string, tallies map[string]*tally, want int) (seen int, err error) {
	var problems []error
	for key, t := range tallies {
		seen += t.seen
		switch {
		case t.problem != "":
			problems = append(problems, fmt.Errorf("%s of %s: %s (%d such)", key, t.node, t.problem, t.wrong))
		case t.seen != want:
			problems = append(problems, fmt.Errorf("%s of %s: %d lines, want %d", key, t.node, t.seen, want))
		}
	}
	if len(problems) > 0 {
		return seen, fmt.Errorf("topic %s: %w", topic, errors.Join(problems...))
	}
	return seen, nil
}

// A tally is what was seen of one writer.
type tally struct {
	writer
	seen, last int
	wrong      int
	problem    string // the first
}

func (t *tally) take(r *kgo.Record) {
	t.seen++
	bad := func(format string, args ...any) {
		if t.wrong++; t.wrong == 1 {
			t.problem = fmt.Sprintf(format, args...)
		}
	}
	number := 0
	if _, err := fmt.Sscanf(string(r.Value), "line %d ", &number); err != nil {
		bad("a record is %.60q", r.Value)
		return
	}
	if number != t.last+1 {
		bad("line %d came after line %d", number, t.last)
	}
	t.last = max(t.last, number)
	if err := t.headers(r, number); err != nil {
		bad("line %d: %v", number, err)
	}
}

// headers: the slot of a global service's task is its node.
func (t *tally) headers(r *kgo.Record, number int) error {
	got := map[string]string{}
	for _, h := range r.Headers {
		got[h.Key] = string(h.Value)
	}
	for name, want := range map[string]string{
		contract.HeaderProject: "lines", contract.HeaderEnvironment: "production", contract.HeaderService: "writer", contract.HeaderSlot: t.node,
		contract.HeaderNode: t.node, contract.HeaderStream: "stdout", contract.HeaderRelease: "r-1", contract.HeaderSeq: strconv.Itoa(number),
	} {
		if got[name] != want {
			return fmt.Errorf("header %s is %q, want %q", name, got[name], want)
		}
	}
	nanos, err := strconv.ParseInt(got[contract.HeaderTS], 10, 64)
	if age := time.Since(time.Unix(0, nanos)); err != nil || age < -time.Minute || age > time.Hour {
		return fmt.Errorf("header %s is %q", contract.HeaderTS, got[contract.HeaderTS])
	}
	if extra := slices.DeleteFunc(r.Headers, func(h kgo.RecordHeader) bool {
		return h.Key != contract.HeaderMark && !strings.HasPrefix(h.Key, contract.HeaderAttribute)
	}); len(extra) > 0 {
		return fmt.Errorf("header %s=%s is on a line that is only a line", extra[0].Key, extra[0].Value)
	}
	return nil
}
