package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A topic is looked for before anything is sent to it: so one that is missing holds up its own lanes only.
type topic struct {
	ready   bool
	changed chan struct{} // closed at the next change
	limit   int32         // largest batch that it takes
	fault   error         // why it is not ready
	since   time.Time     // of the fault
	due     time.Time     // when to look again
	pause   time.Duration
}

const (
	firstPause  = time.Second
	longPause   = 30 * time.Second
	askWithin   = 5 * time.Second
	maxMessages = "max.message.bytes"
)

// Ready says whether the topic takes lines, and the largest record. If it does not: wait for changed, and ask again.
func (c *Client) Ready(name string) (limit int, changed <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if t == nil {
		t = &topic{changed: make(chan struct{}), limit: batchBytes, pause: firstPause}
		c.topics[name] = t
		c.want()
	}
	return int(t.limit), t.changed, t.ready && c.fault == nil
}

func (c *Client) want() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

// notify wakes all lanes that wait.
func (c *Client) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		close(t.changed)
		t.changed = make(chan struct{})
	}
	c.want()
}

// Lost says that the topic did not take a line because of the topic: look again before the next one is sent.
func (c *Client) Lost(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil && t.ready {
		t.ready, t.fault, t.since, t.due = false, err, time.Now(), time.Now().Add(t.pause)
		c.want()
	}
}

// Parked are the topics that take nothing, and why.
func (c *Client) Parked() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	parked := map[string]string{}
	for name, t := range c.topics {
		if !t.ready && t.fault != nil {
			parked[name] = t.fault.Error()
		}
	}
	return parked
}

// limit is the largest batch of a topic; franz-go asks once a partition.
func (c *Client) limit(name string) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		return t.limit
	}
	return batchBytes
}

// tend looks for the topics that are not ready, and says when the next one is due.
func (c *Client) tend(ctx context.Context) (next time.Duration) {
	for _, name := range c.dueTopics() {
		limit, err := c.look(ctx, name)
		if ctx.Err() != nil {
			return 0
		}
		c.settle(name, limit, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		if wait := time.Until(t.due); !t.ready && (next == 0 || wait < next) {
			next = max(wait, 100*time.Millisecond)
		}
	}
	return next
}

func (c *Client) dueTopics() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, t := range c.topics {
		if !t.ready && !time.Now().Before(t.due) {
			names = append(names, name)
		}
	}
	return names
}

func (c *Client) settle(name string, limit int32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if err != nil {
		if t.fault == nil || t.fault.Error() != err.Error() {
			c.log.Error("the topic takes no lines; they stay in the spool", "topic", name, "cause", err)
			t.since = time.Now()
		}
		t.fault = err
		t.due = time.Now().Add(t.pause)
		t.pause = min(2*t.pause, longPause)
		return
	}
	if t.fault != nil {
		c.log.Info("the topic takes lines", "topic", name)
	}
	t.ready, t.fault, t.pause, t.limit = true, nil, firstPause, limit
	close(t.changed)
	t.changed = make(chan struct{})
}

// look finds the topic, or makes it, and reads how large its batches may be.
func (c *Client) look(ctx context.Context, name string) (limit int32, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	found, err := c.admin.Metadata(ctx, name)
	if err == nil {
		err = found.Topics[name].Err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		if !c.set.Create {
			return 0, errors.New("the topic does not exist: create it, or set ROLLING_KAFKA_CREATE_TOPICS to true")
		}
		if err = c.create(ctx, name); err != nil {
			return 0, err
		}
	}
	if err != nil {
		return 0, fmt.Errorf("look for the topic: %w", err)
	}
	return c.largest(ctx, name), nil
}

func (c *Client) create(ctx context.Context, name string) error {
	_, err := c.admin.CreateTopic(ctx, c.set.Partitions, c.set.Replication, nil, name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("the topic does not exist, and to create it failed: %w", err)
	}
	c.log.Info("the topic was made", "topic", name)
	return nil
}

// largest is max.message.bytes of the topic. Where that may not be read, Kafka's default is assumed.
func (c *Client) largest(ctx context.Context, name string) int32 {
	configs, err := c.admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return batchBytes
	}
	config, err := configs.On(name, nil)
	if err != nil {
		return batchBytes
	}
	for _, k := range config.Configs {
		if n, err := strconv.ParseInt(k.MaybeValue(), 10, 32); k.Key == maxMessages && err == nil {
			return int32(max(leastBatch/4, min(n, batchBytes)))
		}
	}
	return batchBytes
}
