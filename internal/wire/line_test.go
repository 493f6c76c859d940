// Both real ends of the line, over loopback.
package wire_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	agent "github.com/rolling-swarm/rolling/agent/line"
	"github.com/rolling-swarm/rolling/internal/wire"
	manager "github.com/rolling-swarm/rolling/manager/line"
	"github.com/rolling-swarm/rolling/manager/line/pki"
)

// within bounds every wait; it is long, since the machine may be busy.
const within = 30 * time.Second

func generation(t testing.TB, at time.Time) pki.Generation {
	t.Helper()
	g, err := pki.Make(at, rand.Reader)
	must(t, err)
	return g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", within, what)
		}
	}
}

// host is a node as the agent's door sees it.
type host struct {
	id    string
	block chan struct{} // lines are not answered before it is closed; nil: at once
}

func (h host) Hello(context.Context) (wire.Hello, error) {
	return wire.Hello{NodeID: h.id, Hostname: "host-" + h.id}, nil
}
func (h host) Managers(context.Context) ([]string, error) { return nil, nil }
func (h host) Container(_ context.Context, task string) (string, error) {
	if task != "task00000001" {
		return "", fmt.Errorf("task %s: %w", task, wire.ErrUnknown)
	}
	return "abcdefabcdef", nil
}
func (h host) Lines(ctx context.Context, container string, n int) (wire.Lines, error) {
	if h.block != nil {
		select {
		case <-h.block:
		case <-ctx.Done():
			return wire.Lines{}, ctx.Err()
		}
	}
	if container != "abcdefabcdef" {
		return wire.Lines{}, fmt.Errorf("container %s: %w", container, wire.ErrUnknown)
	}
	return wire.Lines{Container: container, Lines: []string{"panic: no database", fmt.Sprint("asked for ", n)}}, nil
}
func (h host) Checks(_ context.Context, container string) (wire.Checks, error) {
	return wire.Checks{Container: container, Failed: 2, Checks: []wire.Check{{ExitCode: 1, Output: "connection refused"}}}, nil
}
func (h host) Samples(_ context.Context, tasks []string) (wire.Samples, error) {
	half := 0.5
	all := wire.Samples{IntervalSeconds: 10, Tasks: map[string]wire.Sample{}}
	for _, t := range tasks {
		all.Tasks[t] = wire.Sample{CPUCores: []*float64{nil, &half}}
	}
	return all, nil
}
func (h host) Addresses(_ context.Context, leases bool, one netip.Addr) (wire.Addresses, error) {
	return wire.Addresses{Ready: leases, Leases: []wire.AddressLease{{Address: one}}}, nil
}
func (h host) Free(_ context.Context, a netip.Addr, sure bool) error {
	if !sure {
		return fmt.Errorf("%w: %s may be in use", wire.ErrRefused, a)
	}
	return nil
}
func (h host) Driver(context.Context) (wire.Driver, error) { return wire.Driver{Ready: true}, nil }
func (h host) Reach(context.Context, string, string) (wire.Reach, error) {
	return wire.Reach{Why: "asked"}, nil
}
func (h host) Drain(_ context.Context, on bool) error {
	if !on {
		return errors.New("it stays drained")
	}
	return nil
}
func (h host) ReadSettled(context.Context) error { return nil }
func (h host) Routes(context.Context) (wire.Routes, error) {
	return wire.Routes{Source: "plugin", Routes: []wire.Route{{Prefix: netip.MustParsePrefix("10.210.3.1/32"), NextHop: netip.MustParseAddr("10.0.0.1"), Origin: wire.Local, Project: "orders"}}}, nil
}

// board starts a manager's end.
func board(t testing.TB, secret []byte) (*manager.Switchboard, string) {
	t.Helper()
	s, err := manager.New(secret, slog.New(slog.DiscardHandler))
	must(t, err)
	return s, serve(t, s, "127.0.0.1:0")
}

func serve(t testing.TB, s *manager.Switchboard, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	must(t, err)
	run(t, func(ctx context.Context) error { return s.Serve(ctx, listener) })
	return listener.Addr().String()
}

// run runs until the test ends, or until the returned function is called.
func run(t testing.TB, f func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- f(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-over:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("it ended with %v", err)
			}
		case <-time.After(within):
			t.Error("it does not end")
		}
	})
	t.Cleanup(end)
	return end
}

func dial(t testing.TB, secret []byte, h host, addresses ...string) (*agent.Line, func()) {
	t.Helper()
	l, err := agent.New(agent.Config{Manager: addresses, Secret: wire.SecretPath}, secret, agent.Parts{
		Engine: h, Fabric: h, Meter: h, Ledger: h, Host: func() wire.Host { return wire.Host{Forwarding: true} }, Plugins: func() []wire.Plugin { return nil }, Health: func() []string { return []string{"net: not enabled"} }, Version: "v1", Log: slog.New(slog.DiscardHandler),
	})
	must(t, err)
	return l, run(t, l.Run)
}

func ids(s *manager.Switchboard) string {
	var all []string
	for _, n := range s.Nodes() {
		all = append(all, n.NodeID)
	}
	return strings.Join(all, " ")
}

func TestTheManagerAsksAnAgent(t *testing.T) {
	g := generation(t, time.Now())
	s, address := board(t, g.Manager)
	ctx := t.Context()
	if _, err := s.Lines(ctx, "node1", "", "abcdefabcdef", 5); !errors.Is(err, manager.ErrNoLine) {
		t.Errorf("without a line: %v", err)
	}
	l, end := dial(t, g.Agent, host{id: "node1"}, address)
	eventually(t, "a line", func() bool { return ids(s) == "node1" && l.State().Connected })
	if n := s.Nodes()[0]; n.Hostname != "host-node1" || n.Version != "v1" || n.Since.IsZero() {
		t.Errorf("node: %+v", n)
	}

	got, err := s.Lines(ctx, "node1", "", "abcdefabcdef", 9999)
	must(t, err)
	if text := strings.Join(got.Lines, "|"); text != "panic: no database|asked for 500" {
		t.Errorf("lines: %s", text)
	}
	if got, err := s.Lines(ctx, "node1", "task00000001", "", 5); err != nil || got.Container != "abcdefabcdef" {
		t.Errorf("by the task: %v, %v", got, err)
	}
	for _, c := range [][2]string{{"", "000000000000"}, {"task00000002", ""}} {
		if _, err := s.Lines(ctx, "node1", c[0], c[1], 5); !errors.Is(err, wire.ErrUnknown) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := s.Lines(ctx, "node1", "", "../../info", 5); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a path for an id: %v", err)
	}
	routes, err := s.Routes(ctx)
	must(t, err)
	if a := manager.Announcements(routes); len(a) != 1 || a[0].Node != "host-node1" || a[0].Project != "orders" || a[0].MissingOn != nil {
		t.Errorf("routes: %+v", a)
	}
	if h, err := s.Health(ctx, "node1"); err != nil || h.Ready || len(h.Problems) != 1 {
		t.Errorf("health: %+v, %v", h, err)
	}
	if c, err := s.Checks(ctx, "node1", "task00000001", ""); err != nil || c.Container != "abcdefabcdef" || c.Failed != 2 || c.Checks[0].Output != "connection refused" {
		t.Errorf("checks: %+v, %v", c, err)
	}
	var many []string // more than fit into one question
	for i := range 2*wire.MaxTasks + 1 {
		many = append(many, fmt.Sprintf("task%08d", i))
	}
	if got, err := s.Samples(ctx, "node1", many); err != nil || len(got.Tasks) != len(many) || got.IntervalSeconds != 10 || *got.Tasks[many[200]].CPUCores[1] != 0.5 {
		t.Errorf("samples: %d of %d, %v", len(got.Tasks), len(many), err)
	}
	one := netip.MustParseAddr("10.1.0.1")
	if a, err := s.Addresses(ctx, "node1", true, one); err != nil || !a.Ready || a.Leases[0].Address != one {
		t.Errorf("addresses: %+v, %v", a, err)
	}
	if err := s.Free(ctx, "node1", one, false); !errors.Is(err, wire.ErrRefused) || err.Error() != wire.ErrRefused.Error()+": 10.1.0.1 may be in use" {
		t.Errorf("free: %v", err)
	}
	if err := errors.Join(s.Free(ctx, "node1", one, true), s.ReadSettled(ctx, "node1")); err != nil {
		t.Errorf("free by force: %v", err)
	}
	client := http.Client{Transport: s.RoundTripper("node1")}
	resp, err := client.Get("http://any" + wire.PathHealth)
	must(t, err)
	defer resp.Body.Close()
	if h := (wire.Health{}); json.NewDecoder(resp.Body).Decode(&h) != nil || h.Now.IsZero() {
		t.Errorf("by the round tripper: %+v", h)
	}
	end()
	eventually(t, "no line", func() bool { return ids(s) == "" })
}

func TestManyQuestionsAtOnceAreAnsweredOrRefused(t *testing.T) {
	t.Parallel()
	g := generation(t, time.Now())
	s, address := board(t, g.Manager)
	open := make(chan struct{})
	dial(t, g.Agent, host{id: "n", block: open}, address)
	eventually(t, "a line", func() bool { return ids(s) == "n" })
	var all sync.WaitGroup
	failed := make(chan error, 100)
	for range 100 {
		all.Go(func() {
			if _, err := s.Lines(t.Context(), "n", "", "abcdefabcdef", 1); err != nil {
				failed <- err
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // so that they are at the door together; any number of them is right
	close(open)
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}

func TestTheNewestLineOfANodeWins(t *testing.T) {
	g := generation(t, time.Now())
	s, address := board(t, g.Manager)
	first, endFirst := dial(t, g.Agent, host{id: "n"}, address)
	eventually(t, "the first", func() bool { return ids(s) == "n" && first.State().Connected })
	before := s.Nodes()[0].Address
	second, _ := dial(t, g.Agent, host{id: "n"}, address)
	eventually(t, "the second", func() bool { return s.Nodes() != nil && s.Nodes()[0].Address != before && second.State().Connected })
	eventually(t, "the first to be pushed out", func() bool { return first.State().Problem != "" })
	endFirst()
	eventually(t, "one line", func() bool { return ids(s) == "n" && second.State().Connected })
}

func TestAnAgentFindsTheManagerAgain(t *testing.T) {
	t.Parallel()
	g := generation(t, time.Now())
	s, err := manager.New(g.Manager, slog.New(slog.DiscardHandler))
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	end := run(t, func(ctx context.Context) error { return s.Serve(ctx, listener) })
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, nowhere.Close())
	l, _ := dial(t, g.Agent, host{id: "n"}, nowhere.Addr().String(), listener.Addr().String())
	eventually(t, "a line by the second address", func() bool { return ids(s) == "n" })
	end()
	eventually(t, "the line's end", func() bool { return !l.State().Connected })
	again, err := manager.New(g.Manager, slog.New(slog.DiscardHandler))
	must(t, err)
	serve(t, again, listener.Addr().String())
	eventually(t, "a line to the new manager", func() bool { return ids(again) == "n" })
}
