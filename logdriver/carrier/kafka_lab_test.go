//go:build lab

package carrier

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/parts"
	"github.com/rolling-swarm/rolling/lab/parts/alone"
	"github.com/rolling-swarm/rolling/logdriver/kafka"
)

// TestARealKafka: one start of the broker serves all that only the real one can show.
func TestARealKafka(t *testing.T) {
	broker := alone.New(t, "kafka")
	broker.Start()
	address := []string{parts.KafkaAddress(broker.Site)}

	t.Run("a broker killed in the middle loses nothing, doubles nothing and keeps the order", func(t *testing.T) {
		r := newRig(t, address...).start()
		var all sync.WaitGroup
		half := make(chan struct{}, 3)
		for id, s := range map[string]*source{"aaaaaaaaaaaaaaaa": r.pipe("a"), "bbbbbbbbbbbbbbbb": r.pipe("b"), "cccccccccccccccc": r.pipe("c")} {
			r.begin(s, id, nil)
			all.Go(func() {
				for range 10 {
					s.lines(334)
					time.Sleep(20 * time.Millisecond) // so that some are on their way when the broker dies
					if s.sent == 5*334 {
						half <- struct{}{}
					}
				}
			})
		}
		<-half
		eventually(t, "the broker takes lines", func() bool { return r.Picture().Sent > 500 })
		broker.Kill()
		all.Wait()
		broker.Start()
		inOrder(t, consumed(t, address, "orders.test.web", 3*3340))
		eventually(t, "all acknowledged", func() bool { return r.Picture().Sent == 3*3340 })
		r.balanced()
	})

	t.Run("a wrong password is told, and lines wait in the spool for the right one", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "password")
		put := func(word string) {
			if err := os.WriteFile(file, []byte(word), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put("wrong")
		r := newRig(t, parts.KafkaSASLAddress(broker.Site))
		r.kafka = func(k *kafka.Settings) { k.Mechanism, k.User, k.PasswordFile = "SCRAM-SHA-512", parts.KafkaUser, file }
		r.start()
		s := r.pipe("a")
		r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"topic": "secret"})
		s.lines(1000)
		eventually(t, "the refusal is told", func() bool {
			f := r.client.Fault()
			return f != nil && strings.Contains(f.Error(), `refuses the user "rolling" or its password (SCRAM-SHA-512): put the right one into `+file)
		})
		put(parts.KafkaPassword)
		inOrder(t, consumed(t, address, "secret", 1000))
	})

	t.Run("a topic that the broker will not make is named, with the broker's own reason", func(t *testing.T) {
		r := newRig(t, address...)
		r.kafka = func(k *kafka.Settings) { k.Replication = 3 }
		r.start()
		s := r.pipe("a")
		r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"topic": "wide"})
		s.lines(10)
		eventually(t, "the topic is named", func() bool { return strings.Contains(r.client.Parked()["wide"], "INVALID_REPLICATION_FACTOR") })
	})
}
