package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

// agents are those of all nodes but node3, whose agent never answers.
type agents struct {
	checks engine.Checks
}

func (a agents) Checks(context.Context, cluster.Place) (engine.Checks, error) { return a.checks, nil }

func (a agents) Samples(ctx context.Context, node string, tasks []string) (map[string]engine.Samples, error) {
	switch node {
	case "node2":
		return nil, errors.New("its agent has no line to this manager")
	case "node3":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	half, all := 0.5, map[string]engine.Samples{}
	for _, id := range tasks {
		all[id] = engine.Samples{IntervalSeconds: 10, CPUCores: []*float64{nil, &half}}
	}
	return all, nil
}

// tasks shows the tasks of an environment, one a line.
func (b *bench) tasks(env project.EnvironmentName) (lines []string, all []engine.Task) {
	b.Helper()
	all, err := b.Tasks(b.Context(), "orders", env)
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range all {
		line := fmt.Sprintf("%s.%s %s %s %s", t.Service, t.Slot, t.Node, t.Address, t.State)
		if t.Health != "" {
			line += " " + t.Health
		}
		lines = append(lines, line+" "+string(t.Release))
	}
	return lines, all
}

func TestTasks(t *testing.T) {
	story(t, "an environment's tasks stand by service and slot, with address and node", func(b *bench) {
		b.apply(strings.Replace(ordersFile, "  worker:\n", "    healthcheck: {test: [CMD, probe]}\n  worker:\n", 1))
		b.runs("1")
		got, all := b.tasks("production")
		want := []string{
			"web.1 n2 10.210.3.2 running healthy r-1", "web.2 n3 10.210.3.3 running healthy r-1", "web.3 n1 10.210.3.4 running healthy r-1",
			"worker.1 n2 10.210.3.5 running r-1", "worker.2 n3 10.210.3.6 running r-1",
		}
		if !slices.Equal(got, want) {
			b.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if a := all[0]; a.Since.IsZero() || a.Message != "started" || a.ID == "" {
			b.Errorf("%+v", a)
		}
		_, err := b.Tasks(b.Context(), "orders", "nowhere")
		b.refused(err, engine.NotFound, "nowhere")
		b.toy.Away(true)
		if _, err := b.Tasks(b.Context(), "orders", "production"); !errors.Is(err, cluster.ErrAway) {
			b.Errorf("without a Swarm: %v", err)
		}
	})
	story(t, "a slot where nothing runs shows the task that failed last, with its error", func(b *bench) {
		b.apply(ordersFile)
		b.image("web", "1", clustertest.Program{Exits: clustertest.Exit(3), After: time.Second})
		id := b.release("1")
		b.ended(b.deploy("test", id))
		time.Sleep(2 * time.Second) // into the pause before the next try
		_, all := b.tasks("test")
		failed := 0
		for _, k := range all {
			if k.Service == "web" && k.State == string(swarm.TaskStateFailed) {
				failed++
				if !strings.Contains(k.Message, "non-zero exit (3)") {
					b.Errorf("its message: %q", k.Message)
				}
			}
		}
		if failed > 1 {
			b.Errorf("%d failed tasks of one slot: %+v", failed, all)
		}
	})
	story(t, "samples come from the nodes that answer, and a node that does not keeps nobody waiting", func(b *bench) {
		b.agents = agents{}
		b.stop()
		b.start()
		b.apply(ordersFile)
		b.runs("1")
		_, all := b.tasks("production")
		ids, onFirst := []string{"task-of-nobody"}, 0
		for _, k := range all {
			ids = append(ids, k.ID)
			if k.Node == "n1" {
				onFirst++
			}
		}
		began := time.Now()
		got, err := b.Samples(b.Context(), ids)
		if err != nil || len(got) != onFirst || onFirst == 0 {
			b.Errorf("%d of %d samples, %v", len(got), onFirst, err)
		}
		for id, s := range got {
			if s.IntervalSeconds != 10 || *s.CPUCores[1] != 0.5 {
				b.Errorf("%s: %+v", id, s)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			b.Errorf("it took %s", took)
		}
	})
	story(t, "the last lines of any task are told", func(b *bench) {
		b.image("web", "1", clustertest.Program{Lines: []string{"one", "two", "three"}})
		b.apply(ordersFile)
		b.runs("1")
		_, all := b.tasks("test")
		if got, err := b.Tail(b.Context(), all[0].ID, 2); err != nil || strings.Join(got, "|") != "two|three" {
			b.Errorf("%q, %v", got, err)
		}
		if got, err := b.Tail(b.Context(), all[1].ID, 2); err != nil || got == nil || len(got) != 0 {
			b.Errorf("of one that wrote nothing: %q, %v", got, err)
		}
		_, err := b.Tail(b.Context(), "nobody00nobody00nobody000", 2)
		b.refused(err, engine.NotFound)
		b.toy.Away(true)
		if _, err := b.Tail(b.Context(), all[0].ID, 2); err == nil || engine.CodeOf(err) != "" {
			b.Errorf("nobody answers: %v", err)
		}
	})
}

func TestACauseNamesWhatTheHealthCheckSaid(t *testing.T) {
	refused := engine.Check{ExitCode: 1, Output: "dial tcp 127.0.0.1:8080:\n connection refused\n"}
	for _, c := range []struct {
		name    string
		program clustertest.Program
		checks  engine.Checks
		says    string
		not     string
		checked bool // the cause is the check's
	}{
		{"a program that ends well when it is stopped as unhealthy", clustertest.Program{Unhealthy: true}, engine.Checks{Failed: 3, Unhealthy: true, Checks: []engine.Check{refused, refused}},
			"was stopped as unhealthy (exit code 0): its health check failed 3 times in a row, last with exit code 1: dial tcp 127.0.0.1:8080: connection refused", "or its health check", true},
		{"a check that cannot be run", clustertest.Program{Unhealthy: true}, engine.Checks{Failed: 3, Unhealthy: true, Checks: []engine.Check{{ExitCode: -1, Output: "exec: curl: not found"}}},
			"failed 3 times in a row: exec: curl: not found", "-1", true},
		{"a program that never gets so far", clustertest.Program{Start: time.Hour}, engine.Checks{Failed: 0, Checks: []engine.Check{refused}},
			"is starting, and not healthy: its health check fails, last with exit code 1: dial", "", true},
		{"a program that ends by itself, with a check that failed once", clustertest.Program{Exits: clustertest.Exit(3), Start: time.Second}, engine.Checks{Failed: 1, Checks: []engine.Check{refused}},
			"non-zero exit (3)", "health", false},
		{"a program without a check", clustertest.Program{Unhealthy: true}, engine.Checks{}, "ended with exit code 0: the program finished, or its health check failed", "", false},
	} {
		story(t, c.name, func(b *bench) {
			b.agents = agents{c.checks}
			b.stop()
			b.start()
			b.apply(ordersFile)
			b.runs("1")
			bad := b.release("2")
			b.want(b.ended(b.deploy("test", bad)), release.Succeeded)
			b.image("web", "2", c.program)
			r := b.ended(b.deploy("production", bad))
			if b.want(r, release.RolledBack, c.says); c.not != "" && strings.Contains(r.Cause, c.not) {
				b.Errorf("the cause says %q: %s", c.not, r.Cause)
			}
			if r.Failing == nil || (r.Failing.Check != "") != c.checked {
				b.Errorf("failing: %+v", r.Failing)
			}
		})
	}
}

func TestChangesInTheSwarm(t *testing.T) {
	story(t, "a count changed by hand is told within a second, and kept nowhere", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		last, err := b.LastEvent(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		all, err := b.Events(b.Context(), last)
		if err != nil {
			b.Fatal(err)
		}
		quiet(all)
		began := time.Now()
		byHand(b, "orders-production_web", func(s *swarm.ServiceSpec) { *s.Mode.Replicated.Replicas = 5 })
		v := <-all
		if v.Type != engine.EnvironmentChanged || v.Project != "orders" || v.Environment != "production" || v.Seq != last || v.Text == "" {
			b.Errorf("%+v", v)
		}
		if took := time.Since(began); took > time.Second {
			b.Errorf("told after %s", took)
		}
		if got := quiet(all); len(got) == 0 || len(got) > 12 || slices.ContainsFunc(got, func(v engine.Event) bool { return v.Environment != "production" }) {
			b.Errorf("%d more: %+v", len(got), got)
		}
		if now, err := b.LastEvent(b.Context()); err != nil || now != last {
			b.Errorf("the last event is %d, was %d, %v", now, last, err)
		}
	})
	story(t, "a slow listener gets one event of an environment, not all", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		last, _ := b.LastEvent(b.Context())
		all, err := b.Events(b.Context(), last)
		if err != nil {
			b.Fatal(err)
		}
		quiet(all)
		for n := range uint64(10) {
			byHand(b, "orders-production_web", func(s *swarm.ServiceSpec) { *s.Mode.Replicated.Replicas = 3 + n%3 })
			time.Sleep(10 * time.Second)
		}
		if got := quiet(all); len(got) > 2 { // one was under way
			b.Errorf("%d events: %+v", len(got), got)
		}
	})
	story(t, "who begins to listen gets what changed just before", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		last, _ := b.LastEvent(b.Context())
		first, err := b.Events(b.Context(), last)
		if err != nil {
			b.Fatal(err)
		}
		quiet(first)
		byHand(b, "orders-test_web", func(s *swarm.ServiceSpec) { *s.Mode.Replicated.Replicas = 2 })
		<-first
		time.Sleep(5 * time.Second) // until all of it has happened
		second, err := b.Events(b.Context(), last)
		if err != nil {
			b.Fatal(err)
		}
		select {
		case v := <-second:
			if v.Environment != "test" {
				b.Errorf("%+v", v)
			}
		case <-time.After(time.Second):
			b.Error("not told of what changed 5 s ago")
		}
	})
	story(t, "an environment that Rolling does not know is not told of", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.stop()
		b.store = &storetest.Memory{}
		b.start()
		all, err := b.Events(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		byHand(b, "orders-production_web", func(s *swarm.ServiceSpec) { *s.Mode.Replicated.Replicas = 5 })
		if got := quiet(all); len(got) != 0 {
			b.Errorf("%+v", got)
		}
	})
	story(t, "nobody listens, and the Swarm is left alone", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		var asked atomic.Int64
		ctx, cancel := context.WithCancel(b.Context())
		all, err := b.Events(ctx, 0)
		if err != nil {
			b.Fatal(err)
		}
		quiet(all)
		b.toy.Before(func(*http.Request) { asked.Add(1) })
		time.Sleep(10 * time.Second)
		if n := asked.Load(); n < 10 {
			b.Errorf("asked %d times in 10 s of listening", n)
		}
		cancel()
		quiet(all)
		asked.Store(0)
		if time.Sleep(time.Minute); asked.Load() != 0 {
			b.Errorf("asked %d times", asked.Load())
		}
	})
}

// quiet takes events until none has come for 30 s, and gives them.
func quiet(all <-chan engine.Event) (got []engine.Event) {
	for {
		select {
		case v, more := <-all:
			if !more {
				return got
			}
			got = append(got, v)
		case <-time.After(30 * time.Second):
			return got
		}
	}
}
