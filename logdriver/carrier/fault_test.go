package carrier

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/kafka"
)

func TestABrokerThatGoesAndComesBackCostsNothing(t *testing.T) {
	folder := t.TempDir()
	c := fake(t, kfake.DataDir(folder), kfake.SeedTopics(1, "orders.test.web"))
	address := c.ListenAddrs()
	port, err := strconv.Atoi(address[0][strings.LastIndex(address[0], ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, address...).start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.lines(1000)
	eventually(t, "some are acknowledged", func() bool { return r.Picture().Sent > 0 })
	c.Close()
	s.lines(3000)
	c = fake(t, kfake.DataDir(folder), kfake.Ports(port))
	s.lines(1000)
	inOrder(t, consumed(t, c.ListenAddrs(), "orders.test.web", 5000))
	eventually(t, "all acknowledged", func() bool { return r.Picture().Sent == 5000 })
	r.balanced()
}

func TestAWrongPasswordIsToldAndTheRightOneNeedsNoRestart(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "rolling", "right"))
	file := filepath.Join(t.TempDir(), "password")
	put := func(word string) {
		if err := os.WriteFile(file, []byte(word+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("wrong")
	r := newRig(t, c.ListenAddrs()...)
	r.kafka = func(k *kafka.Settings) { k.Mechanism, k.User, k.PasswordFile = "SCRAM-SHA-512", "rolling", file }
	r.start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.lines(2000)
	eventually(t, "the refusal is told", func() bool {
		f := r.client.Fault()
		return f != nil && strings.Contains(f.Error(), `refuse the user "rolling" or its password (SCRAM-SHA-512, in `+file)
	})
	eventually(t, "all is read all the same", func() bool { return r.Picture().Unsent == 2000 })
	put("right")
	eventually(t, "all acknowledged", func() bool { return r.Picture().Sent == 2000 })
	if f := r.client.Fault(); f != nil {
		t.Errorf("still: %v", f)
	}
}

func TestATopicThatMayNotBeMadeParksItsLaneOnly(t *testing.T) {
	c := fake(t, kfake.SeedTopics(1, "good"))
	r := newRig(t, c.ListenAddrs()...)
	r.kafka = func(k *kafka.Settings) { k.Create = false }
	r.start()
	bad, good := r.pipe("a"), r.pipe("b")
	r.begin(bad, "aaaaaaaaaaaaaaaa", map[string]string{"topic": "bad"})
	r.begin(good, "bbbbbbbbbbbbbbbb", map[string]string{"topic": "good"})
	bad.lines(500)
	good.lines(500)
	inOrder(t, consumed(t, c.ListenAddrs(), "good", 500))
	eventually(t, "the topic is named", func() bool { return strings.Contains(r.client.Parked()["bad"], "does not exist: create it") })
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "bad"); err != nil {
		t.Fatal(err)
	}
	inOrder(t, consumed(t, c.ListenAddrs(), "bad", 500))
	if len(r.client.Parked()) != 0 {
		t.Errorf("still parked: %v", r.client.Parked())
	}
}

func TestAFullSpoolSaysInKafkaWhatIsMissing(t *testing.T) {
	for _, policy := range []string{"drop-oldest", "drop-newest"} {
		t.Run(policy, func(t *testing.T) {
			c := fake(t)
			r := newRig(t, c.ListenAddrs()...)
			r.kafka = func(k *kafka.Settings) { k.Create = false }
			r.start()
			s := r.pipe("a")
			r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"spool-max": "1m", "on-full": policy})
			const lines = 4000
			for i := range lines {
				s.write(entry.Entry{Nanos: int64(i + 1), Line: []byte(strings.Repeat("x", 1000))})
			}
			eventually(t, "all is read", func() bool { return r.Picture().Read == lines })
			p := r.balanced()
			if p.Dropped["spool-full"] == 0 || p.Disk > 1<<20+1024 {
				t.Fatalf("got %+v", p)
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "orders.test.web"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "all acknowledged", func() bool { p := r.balanced(); return p.Unsent == 0 && r.drained() })
			allAccountedFor(t, consumed(t, c.ListenAddrs(), "orders.test.web", int(r.client.Stats.Records.Load())), lines)
		})
	}
}

func (r *rig) drained() bool {
	for _, l := range r.opened() {
		if !l.log.Drained() {
			return false
		}
	}
	return true
}

// allAccountedFor checks that the numbers go on without a hole: a line, or a marker that stands for some.
func allAccountedFor(t *testing.T, records []*kgo.Record, lines int) {
	t.Helper()
	next, markers := 1, 0
	for _, rec := range records {
		seq, err := strconv.Atoi(header(rec, contract.HeaderSeq))
		if err != nil {
			t.Fatal(err)
		}
		first := seq
		if header(rec, contract.HeaderMark) == contract.MarkDropped {
			markers++
			if first, err = strconv.Atoi(header(rec, contract.HeaderFirst)); err != nil || !strings.Contains(string(rec.Value), "dropped (spool-full): numbers ") {
				t.Fatalf("a marker says %q, %v", rec.Value, err)
			}
		}
		if first != next {
			t.Fatalf("after number %d comes %d", next-1, first)
		}
		next = seq + 1
	}
	if next != lines+1 || markers == 0 {
		t.Fatalf("the last number is %d, there are %d markers", next-1, markers)
	}
}

func TestALineThatNoRecordHoldsIsSentInParts(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...).start()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	small := "10000"
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": &small}, "orders.test.web"); err != nil {
		t.Fatal(err)
	}
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.write(entry.Entry{Nanos: 1, Line: []byte("before")})
	for i := range 4 { // 4 times 16 KiB, as the engine cuts it
		s.write(entry.Entry{Nanos: 2, Line: []byte(strings.Repeat(strconv.Itoa(i), 16384)), Partial: true, Last: i == 3, Ordinal: int32(i + 1)})
	}
	s.write(entry.Entry{Nanos: 3, Line: []byte("after")})
	eventually(t, "all acknowledged", func() bool { return r.Picture().Sent == 3 })
	var whole strings.Builder
	var order []string
	for _, rec := range consumed(t, c.ListenAddrs(), "orders.test.web", int(r.client.Stats.Records.Load())) {
		if part := header(rec, contract.HeaderPart); part != "" {
			whole.Write(rec.Value)
			order = append(order, part)
		} else {
			order = append(order, string(rec.Value))
		}
	}
	if len(order) < 9 || order[0] != "before" || order[len(order)-1] != "after" || !strings.HasPrefix(order[1], "1/") {
		t.Fatalf("got %v", order)
	}
	if got := whole.String(); len(got) != 4*16384 || got[0] != '0' || got[len(got)-1] != '3' {
		t.Fatalf("the parts together are %d bytes", len(got))
	}
}

// TestABrokerThatTakesLessThanItSays: its configuration cannot be read, and all but small batches are refused.
func TestABrokerThatTakesLessThanItSays(t *testing.T) {
	c := fake(t, kfake.SeedTopics(1, "orders.test.web"))
	c.ControlKey(int16(kmsg.Produce), func(q kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := q.(*kmsg.ProduceRequest)
		if len(req.Topics[0].Partitions[0].Records) < 20_000 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
		part := kmsg.NewProduceResponseTopicPartition()
		part.Partition, part.ErrorCode = req.Topics[0].Partitions[0].Partition, kerr.MessageTooLarge.Code
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	r := newRig(t, c.ListenAddrs()...)
	r.kafka = func(k *kafka.Settings) { k.Compression = "none" }
	r.start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", nil)
	s.lines(300)
	s.write(entry.Entry{Nanos: 301, Line: []byte(strings.Repeat("y", 60_000))})
	s.sent = 301
	s.lines(100)
	eventually(t, "all acknowledged", func() bool { return r.Picture().Sent == 401 })
	if p := r.balanced(); p.Dropped["refused"] != 0 {
		t.Fatalf("got %+v", p.Dropped)
	}
	size, last := 0, 0
	for _, rec := range consumed(t, c.ListenAddrs(), "orders.test.web", int(r.client.Stats.Records.Load())) {
		seq, err := strconv.Atoi(header(rec, contract.HeaderSeq))
		if err != nil || seq < last {
			t.Fatalf("after number %d comes %d, %v", last, seq, err)
		}
		if last = seq; seq == 301 {
			size += len(rec.Value)
		}
	}
	if last != 401 || size < 60_000 {
		t.Fatalf("the last number is %d, the long line has %d bytes", last, size)
	}
}

func TestABlockedContainerWaitsAndLosesNothing(t *testing.T) {
	c := fake(t)
	r := newRig(t, c.ListenAddrs()...)
	r.kafka = func(k *kafka.Settings) { k.Create = false }
	r.start()
	s := r.pipe("a")
	r.begin(s, "aaaaaaaaaaaaaaaa", map[string]string{"spool-max": "1m", "on-full": "block"})
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.lines(90_000)
	}()
	eventually(t, "the spool is full", func() bool { return r.Picture().Disk > 900<<10 })
	select {
	case <-written:
		t.Fatal("the container did not wait")
	case <-time.After(300 * time.Millisecond):
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, 1, nil, "orders.test.web"); err != nil {
		t.Fatal(err)
	}
	<-written
	inOrder(t, consumed(t, c.ListenAddrs(), "orders.test.web", 90_000))
	if p := r.balanced(); p.Dropped["spool-full"] != 0 {
		t.Fatalf("got %+v", p.Dropped)
	}
}
