package carrier

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/kafka"
	"github.com/rolling-swarm/rolling/logdriver/route"
	"github.com/rolling-swarm/rolling/logdriver/spool"
)

// A rig is a carrier with real pipes, as the engine makes them.
type rig struct {
	t       testing.TB
	state   string
	pipes   string
	brokers []string
	set     func(*Settings)
	kafka   func(*kafka.Settings)

	*Carrier
	client *kafka.Client
	end    func()
}

func newRig(t testing.TB, brokers ...string) *rig {
	t.Helper()
	folder := t.TempDir()
	r := &rig{t: t, state: filepath.Join(folder, "state"), pipes: filepath.Join(folder, "pipes"), brokers: brokers, set: func(*Settings) {}, kafka: func(*kafka.Settings) {}}
	if err := os.MkdirAll(r.pipes, 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

func quiet(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return slog.New(slog.DiscardHandler)
}

// start begins a process's life; end ends it in order.
func (r *rig) start() *rig {
	r.t.Helper()
	limits := route.Limits{SpoolMax: 64 << 20, Whole: 1 << 30}
	set := Settings{State: r.state, Pipes: r.pipes, Node: route.Node{Host: "n1"}, Limits: limits, Keep: 1 << 20, KeepFor: time.Hour, Buffer: 64 << 20}
	r.set(&set)
	store, err := spool.New(filepath.Join(r.state, "spool"), spool.Limits{Whole: set.Limits.Whole}, quiet(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	r.client = nil
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	if len(r.brokers) > 0 {
		k := kafka.Settings{Brokers: r.brokers, Compression: "snappy", Linger: 5 * time.Millisecond, Create: true, Partitions: 1, Replication: 1}
		r.kafka(&k)
		if r.client, err = kafka.New(k, quiet(r.t)); err != nil {
			r.t.Fatal(err)
		}
		all.Go(func() { _ = r.client.Run(ctx) })
	}
	r.Carrier = New(set, store, r.client, quiet(r.t))
	all.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.t.Errorf("run: %v", err)
		}
	})
	r.end = sync.OnceFunc(func() {
		cancel()
		all.Wait()
	})
	r.t.Cleanup(r.end)
	return r
}

// A source is the engine's end of a container's pipe.
type source struct {
	t    testing.TB
	file *os.File
	path string
	sent int
}

func (r *rig) pipe(name string) *source {
	r.t.Helper()
	path := filepath.Join(r.pipes, name)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		r.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = f.Close() })
	return &source{t: r.t, file: f, path: path}
}

func (s *source) write(e entry.Entry) {
	s.t.Helper()
	if _, err := s.file.Write(entry.Append(nil, e)); err != nil {
		s.t.Fatal(err)
	}
}

// lines writes n numbered lines.
func (s *source) lines(n int) {
	for range n {
		s.sent++
		s.write(entry.Entry{Nanos: int64(s.sent), Line: []byte("line " + strconv.Itoa(s.sent))})
	}
}

func container(id string, options map[string]string) route.Container {
	return route.Container{ID: id, Name: "/" + id, Options: options, Labels: map[string]string{contract.Project: "orders", contract.Environment: "test", contract.Service: "web"}}
}

// consumed reads n records of a topic, and a moment longer to see whether there are more.
func consumed(t testing.TB, brokers []string, topic string, n int) []*kgo.Record {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got []*kgo.Record
	deadline := time.Now().Add(60 * time.Second)
	for len(got) < n && time.Now().Before(deadline) {
		got = append(got, poll(c, time.Second)...)
	}
	got = append(got, poll(c, 300*time.Millisecond)...)
	if len(got) != n {
		t.Fatalf("topic %s has %d records, want %d", topic, len(got), n)
	}
	return got
}

func poll(c *kgo.Client, within time.Duration) []*kgo.Record {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return c.PollFetches(ctx).Records()
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// inOrder checks that each container's records are numbered from 1 without a gap and say the line of that number.
func inOrder(t testing.TB, records []*kgo.Record) {
	t.Helper()
	last := map[string]int{}
	for _, r := range records {
		key := string(r.Key) + header(r, contract.HeaderStream)
		last[key]++
		if seq := header(r, contract.HeaderSeq); seq != strconv.Itoa(last[key]) || string(r.Value) != "line "+seq {
			t.Fatalf("%s: record %d has number %s and says %q", key, last[key], seq, r.Value)
		}
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// balanced checks the invariant: what was read is sent, in the spool, or counted as dropped. A picture is not taken at one
// moment: lines that are acknowledged meanwhile are in neither number, and in the next picture.
func (r *rig) balanced() Picture {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		p := r.Picture()
		dropped := uint64(0)
		for _, n := range p.Dropped {
			dropped += n
		}
		if p.Read+p.Found == p.Sent+p.Unsent+dropped {
			return p
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d lines were read, %d found: %d sent + %d in the spool + %d dropped make %d", p.Read, p.Found, p.Sent, p.Unsent, dropped, p.Sent+p.Unsent+dropped)
		}
	}
}

func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (r *rig) begin(s *source, id string, options map[string]string) {
	r.t.Helper()
	if err := r.Start(s.path, container(id, options)); err != nil {
		r.t.Fatal(err)
	}
}
