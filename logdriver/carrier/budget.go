package carrier

import (
	"context"
	"sync"
)

// A budget bounds the bytes that are on their way to Kafka: in all, and of one topic, so that a topic whose broker is
// away does not take all of it.
type budget struct {
	most, share int64

	mu     sync.Mutex
	used   int64            // guarded by mu
	topics map[string]int64 // guarded by mu
	freed  chan struct{}    // closed when something is given back; guarded by mu
}

func newBudget(most int64) *budget {
	return &budget{most: most, share: max(1, most/4), topics: map[string]int64{}, freed: make(chan struct{})}
}

// take waits until n bytes are free. It takes more than there is only where nothing else is taken.
func (b *budget) take(ctx context.Context, topic string, n int64) error {
	for {
		b.mu.Lock()
		of := b.topics[topic]
		if (b.used == 0 || b.used+n <= b.most) && (of == 0 || of+n <= b.share) {
			b.used += n
			b.topics[topic] = of + n
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) give(topic string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.topics[topic] -= n; b.topics[topic] == 0 {
		delete(b.topics, topic)
	}
	close(b.freed)
	b.freed = make(chan struct{})
}
