package kafka

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// A Lane is a container's way, with what all of its records share.
type Lane struct {
	route   route.Lane
	key     []byte
	headers []kgo.RecordHeader
	// overhead is what a record takes beside its value, in a batch of its own.
	overhead int
}

// NewLane prepares a lane.
func NewLane(l route.Lane) *Lane {
	lane := &Lane{route: l, key: []byte(l.Key), overhead: 256 + len(l.Key)}
	for _, h := range l.Headers() {
		lane.headers = append(lane.headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
		lane.overhead += len(h.Name) + len(h.Value) + 8
	}
	return lane
}

// headersEach: stream, seq, ts of each record; up to two more on a few.
const headersEach = 3

// Least is the smallest part that a line is sent in; a broker that does not take even that takes nothing.
const Least = leastBatch / 4

// Send sends lines, in parts of at most limit bytes with all that belongs to a record. done is called once for each
// line, by another goroutine. Lines of one lane arrive in order, but for those behind one that failed.
// alone: parts go out one after the other, so that no batch holds two; nothing else may be sent meanwhile.
func (c *Client) Send(ctx context.Context, l *Lane, lines []batch.Line, limit int, alone bool, done func(i int, err error)) {
	largest := max(Least, limit-l.overhead)
	shared := len(l.headers)
	records := make([]kgo.Record, len(lines))
	headers := make([]kgo.RecordHeader, 0, len(lines)*(shared+headersEach))
	words := make([]byte, 0, len(lines)*32)
	for i := range lines {
		line := &lines[i]
		from := len(headers)
		headers = append(headers, l.headers...)
		headers = append(headers, kgo.RecordHeader{Key: contract.HeaderStream, Value: streamName(line)})
		headers, words = number(headers, words, contract.HeaderSeq, line.Seq)
		headers, words = number(headers, words, contract.HeaderTS, uint64(line.Nanos))
		r := &records[i]
		r.Topic, r.Key, r.Timestamp = l.route.Topic, l.key, time.Unix(0, line.Nanos)
		r.Headers = marked(headers[from:len(headers):len(headers)], line)
		r.Value = line.Text
		if l.route.Format == route.JSON {
			r.Value = l.route.AppendValue(nil, line.Stream.String(), line.Seq, line.Nanos, line.Text)
		}
		if len(r.Value) > largest {
			c.Stats.Split.Add(1)
			p := parts{client: c, whole: r, largest: largest, done: func(err error) { done(i, err) }}
			p.send(ctx, alone)
			continue
		}
		size := len(r.Value)
		c.kgo.Produce(ctx, r, func(_ *kgo.Record, err error) {
			c.count(size, err)
			done(i, err)
		})
	}
}

func (c *Client) count(size int, err error) {
	if err != nil {
		c.Stats.Failed.Add(1)
		return
	}
	c.Stats.Records.Add(1)
	c.Stats.Bytes.Add(uint64(size))
}

func streamName(l *batch.Line) []byte { return []byte(l.Stream.String()) }

func number(headers []kgo.RecordHeader, words []byte, key string, n uint64) ([]kgo.RecordHeader, []byte) {
	from := len(words)
	words = strconv.AppendInt(words, int64(n), 10)
	return append(headers, kgo.RecordHeader{Key: key, Value: words[from:len(words):len(words)]}), words
}

// marked adds the headers of records that are not simply one line.
func marked(h []kgo.RecordHeader, l *batch.Line) []kgo.RecordHeader {
	mark := func(m string) []kgo.RecordHeader {
		return append(h, kgo.RecordHeader{Key: contract.HeaderMark, Value: []byte(m)})
	}
	switch {
	case l.First != 0:
		h = mark(contract.MarkDropped)
		return append(h, kgo.RecordHeader{Key: contract.HeaderFirst, Value: strconv.AppendUint(nil, l.First, 10)})
	case l.Cut:
		return mark(contract.MarkCut)
	case l.Continued:
		return mark(contract.MarkContinued)
	}
	return h
}

// parts are a value that is too large for one record.
type parts struct {
	client  *Client
	whole   *kgo.Record
	largest int
	done    func(error) // called when all parts are known

	left    atomic.Int64
	failure atomic.Pointer[error]
}

func (p *parts) send(ctx context.Context, oneByOne bool) {
	n := (len(p.whole.Value) + p.largest - 1) / p.largest
	p.left.Store(int64(n))
	if oneByOne {
		p.produce(ctx, 0, n, true)
		return
	}
	for i := range n {
		p.produce(ctx, i, n, false)
	}
}

// produce sends part i of n, and those behind it once it has arrived if they go one by one.
func (p *parts) produce(ctx context.Context, i, n int, oneByOne bool) {
	part := &kgo.Record{Topic: p.whole.Topic, Key: p.whole.Key, Timestamp: p.whole.Timestamp, Value: p.whole.Value[i*p.largest : min((i+1)*p.largest, len(p.whole.Value))]}
	part.Headers = append(append([]kgo.RecordHeader{}, p.whole.Headers...),
		kgo.RecordHeader{Key: contract.HeaderMark, Value: []byte(contract.MarkPart)},
		kgo.RecordHeader{Key: contract.HeaderPart, Value: []byte(strconv.Itoa(i+1) + "/" + strconv.Itoa(n))})
	size := len(part.Value)
	p.client.kgo.Produce(ctx, part, func(_ *kgo.Record, err error) {
		p.client.count(size, err)
		switch {
		case oneByOne && err != nil:
			p.done(err)
		case oneByOne && i+1 < n:
			p.produce(ctx, i+1, n, true)
		case oneByOne:
			p.done(nil)
		default:
			p.landed(err)
		}
	})
}

func (p *parts) landed(err error) {
	if err != nil {
		p.failure.CompareAndSwap(nil, &err)
	}
	if p.left.Add(-1) > 0 {
		return
	}
	if f := p.failure.Load(); f != nil {
		p.done(*f)
		return
	}
	p.done(nil)
}
