// Package kafka brings lines to Kafka and says in people's words why it cannot. It knows franz-go, topics and
// passwords; it refuses to know spools: what came back is its caller's business, and so is the bound on what is on its way.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Settings say where Kafka is and how it is spoken to.
type Settings struct {
	Brokers      []string
	TLS          bool
	CAFile       string // the system's authorities if empty
	CertFile     string // with KeyFile, if brokers ask for a certificate
	KeyFile      string
	Mechanism    string // "", PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	User         string
	PasswordFile string
	Compression  string // none, snappy, lz4, zstd, gzip
	Linger       time.Duration
	Create       bool // make topics that are missing
	Partitions   int32
	Replication  int16
}

// A Client sends.
type Client struct {
	set    Settings
	log    *slog.Logger
	kgo    *kgo.Client
	admin  *kadm.Client
	wanted chan struct{} // a topic was asked for that is not ready
	doubt  chan struct{} // a connection ended: ask the brokers before their time

	mu     sync.Mutex
	topics map[string]*topic    // guarded by mu
	fault  error                // why no broker answers; guarded by mu
	asked  bool                 // the brokers were asked once; guarded by mu
	hosts  map[string]hostFault // brokers that cannot be reached; guarded by mu

	// Stats of what went out.
	Stats Stats
}

// Stats count what the broker said.
type Stats struct {
	Records, Bytes, Failed, Split atomic.Uint64
}

type hostFault struct {
	err  error
	when time.Time
}

const (
	// batchBytes is Kafka's own default for the largest batch, until a topic's configuration is known.
	batchBytes = 1000012
	leastBatch = 4 << 10
	// unlimited: the caller bounds what is on its way, in bytes.
	unlimited = 1 << 40
)

// New prepares a client; it speaks to nobody yet.
func New(set Settings, log *slog.Logger) (*Client, error) {
	c := &Client{set: set, log: log, wanted: make(chan struct{}, 1), doubt: make(chan struct{}, 1), topics: map[string]*topic{}, hosts: map[string]hostFault{}}
	codec, err := compression(set.Compression)
	if err != nil {
		return nil, err
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(set.Brokers...), kgo.ClientID("rolling-log"), kgo.Dialer(c.dial), kgo.WithHooks(c),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(set.Linger),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.ProducerBatchMaxBytesFn(c.limit),
		kgo.MaxBufferedRecords(unlimited), kgo.DisableClientMetrics(),
	}
	if m := c.mechanism(); m != nil {
		options = append(options, kgo.SASL(m))
	}
	if c.kgo, err = kgo.NewClient(options...); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	c.admin = kadm.NewClient(c.kgo)
	return c, nil
}

func compression(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("compression %q: want none, snappy, lz4, zstd or gzip", name)
}

// Run asks the brokers how they are and looks after topics, until the context ends.
func (c *Client) Run(ctx context.Context) error {
	const whole, ill = 5 * time.Second, 2 * time.Second
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		next := whole
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
			c.probe(ctx)
		case <-c.doubt:
			c.probe(ctx)
		case <-c.wanted:
		}
		c.mu.Lock()
		down, first := c.fault != nil, !c.asked
		c.mu.Unlock()
		if down || first {
			next = ill
		} else if at := c.tend(ctx); at > 0 {
			next = min(next, at)
		}
		wait.Reset(next)
	}
}

// Close waits for what is on its way until the context ends; what is left then comes back with an error.
func (c *Client) Close(ctx context.Context) error {
	err := c.kgo.Flush(ctx)
	c.kgo.Close()
	if err != nil {
		return fmt.Errorf("kafka: lines were still on their way: %w", err)
	}
	return nil
}

// TooLarge says that the broker took a record for too large: send it in smaller parts.
func TooLarge(err error) bool { return errors.Is(err, kerr.MessageTooLarge) }

// TopicGone says that the error is about the topic, and not about the broker or the line.
func TopicGone(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.TopicAuthorizationFailed) ||
		errors.Is(err, kerr.InvalidTopicException)
}
