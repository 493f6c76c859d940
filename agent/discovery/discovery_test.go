package discovery

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/agent/member"
)

// fakeSwarm is a Swarm with one service, seen from one of its nodes.
type fakeSwarm struct {
	mu    sync.Mutex
	leads bool  // guarded by mu, as all below
	err   error // of Leading
	blind error // of Observe
	tasks []member.Task
	whole int // how many whole observations were asked for
}

func (f *fakeSwarm) change(do func(*fakeSwarm)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do(f)
}

func (f *fakeSwarm) Leading(context.Context) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leads, f.err
}

func (f *fakeSwarm) Cluster(context.Context) (string, error) { return "cluster1", nil }

func (f *fakeSwarm) Observe(_ context.Context, whole bool) (member.Observation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := member.Observation{At: time.Now(), Whole: whole, Services: []member.Service{{ID: "s", Name: "orders_web", Labels: map[string]string{
		"rolling.project": "orders", "rolling.discovery.nginx": "orders:80", "rolling.discovery.zookeeper": "/orders:81"}}}}
	if whole {
		f.whole++
	}
	for _, t := range f.tasks {
		if whole || t.Desired == member.Running {
			o.Tasks = append(o.Tasks, t)
		}
	}
	return o, f.blind
}

func task(host string) member.Task {
	return member.Task{ID: host, Service: "s", Slot: 1, State: member.Running, Desired: member.Running, Updated: time.Now(),
		Addresses: []member.Address{{Network: "app", Host: netip.MustParseAddr(host)}}}
}

// fakeRegistry remembers what it was given.
type fakeRegistry struct {
	mu      sync.Mutex
	running bool // guarded by mu
	given   []member.Decision
}

func (f *fakeRegistry) Run(ctx context.Context) error {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	f.running = false
	f.mu.Unlock()
	return ctx.Err()
}

func (f *fakeRegistry) Set(d member.Decision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.given = append(f.given, d)
}

func (f *fakeRegistry) Standing() []member.Standing {
	return []member.Standing{{Target: "fake", InStep: true, Writes: 3, Failures: 1, Lag: 250 * time.Millisecond}}
}

// last answers how many decisions came, the hosts of the last one, and whether the registry runs.
func (f *fakeRegistry) last() (int, string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.given) == 0 {
		return 0, "", f.running
	}
	var hosts []string
	for _, p := range f.given[len(f.given)-1].Upstreams["orders"] {
		hosts = append(hosts, p.Host)
	}
	return len(f.given), strings.Join(hosts, " "), f.running
}

// stage runs a Loop in a bubble of fake time.
func stage(t *testing.T, play func(t *testing.T, f *fakeSwarm, r *fakeRegistry, l *Loop)) {
	synctest.Test(t, func(t *testing.T) {
		f, r := &fakeSwarm{leads: true, tasks: []member.Task{task("10.0.0.1"), task("10.0.0.2")}}, &fakeRegistry{}
		l := New(f, []Registry{r}, "n1", "", slog.New(slog.DiscardHandler))
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		play(t, f, r, l)
		end()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

// after lets time pass and expects so many decisions, the last one with these hosts, and a registry that runs or not.
func after(t *testing.T, pass time.Duration, r *fakeRegistry, decisions int, hosts string, running bool) {
	t.Helper()
	time.Sleep(pass)
	synctest.Wait()
	if n, h, run := r.last(); n != decisions || h != hosts || run != running {
		t.Fatalf("%d decisions, the last %q, running %v; want %d, %q, %v", n, h, run, decisions, hosts, running)
	}
}

const both = "10.0.0.1 10.0.0.2"

func TestALeaderDecidesOnceAndThenOnlyWhenSomethingChanged(t *testing.T) {
	stage(t, func(t *testing.T, f *fakeSwarm, r *fakeRegistry, _ *Loop) {
		after(t, 0, r, 1, both, true)
		after(t, 10*time.Second, r, 1, both, true)
		f.change(func(f *fakeSwarm) { f.tasks = append(f.tasks, task("10.0.0.3")) })
		after(t, lookEvery, r, 2, both+" 10.0.0.3", true)
		d := r.given[1]
		if d.Swarm != "cluster1" || d.By != "n1" || d.Changed.IsZero() || d.At.Sub(d.Changed) > lookEvery {
			t.Errorf("decision %+v", d)
		}
		f.change(func(f *fakeSwarm) { f.tasks[0].Desired = "shutdown" })
		after(t, lookEvery, r, 3, "10.0.0.2 10.0.0.3", true)
		if f.whole != 2 {
			t.Errorf("%d whole observations, want the first and the one that explains who left", f.whole)
		}
	})
}

func TestAFollowerDecidesNothing(t *testing.T) {
	stage(t, func(t *testing.T, f *fakeSwarm, r *fakeRegistry, l *Loop) {
		f.change(func(f *fakeSwarm) { f.leads = false })
		time.Sleep(2 * time.Second) // the first look may have found a leader
		n, _, _ := r.last()
		after(t, time.Minute, r, n, map[bool]string{true: both}[n > 0], false)
		if l.Report().Leading {
			t.Error("it reports that it leads")
		}
	})
}

func TestNothingIsDecidedBeforeTheFirstWholeObservation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := &fakeSwarm{leads: true, blind: errors.New("tasks: unexpected EOF"), tasks: []member.Task{task("10.0.0.1")}}, &fakeRegistry{}
		l := New(f, []Registry{r}, "n1", "", slog.New(slog.DiscardHandler))
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		after(t, time.Minute, r, 0, "", true)
		if got := l.Report().Error; !strings.Contains(got, "unexpected EOF") {
			t.Errorf("it reports %q", got)
		}
		f.change(func(f *fakeSwarm) { f.blind = nil })
		after(t, lookEvery, r, 1, "10.0.0.1", true)
		end()
		<-done
	})
}

func TestALookThatFailsChangesNothing(t *testing.T) {
	stage(t, func(t *testing.T, f *fakeSwarm, r *fakeRegistry, l *Loop) {
		after(t, 0, r, 1, both, true)
		f.change(func(f *fakeSwarm) { f.blind, f.tasks = errors.New("half an answer"), nil })
		after(t, time.Minute, r, 1, both, true)
		if l.Report().Error == "" {
			t.Error("the failure is not reported")
		}
		f.change(func(f *fakeSwarm) { f.blind = nil })
		after(t, time.Minute, r, 1, both, true)
		if kept := l.Report().Kept; len(kept) != 1 || kept[0].Members != 2 {
			t.Errorf("kept %v", kept)
		}
	})
}

func TestTheTermEndsWithTheLead(t *testing.T) {
	stage(t, func(t *testing.T, f *fakeSwarm, r *fakeRegistry, _ *Loop) {
		after(t, 0, r, 1, both, true)
		f.change(func(f *fakeSwarm) { f.leads = false })
		after(t, lookEvery, r, 1, both, false)
		f.change(func(f *fakeSwarm) { f.leads = true })
		after(t, idleEvery, r, 2, both, true)
	})
}

func TestATermLastsThroughAShortSilenceOfTheEngineOnly(t *testing.T) {
	stage(t, func(t *testing.T, f *fakeSwarm, r *fakeRegistry, _ *Loop) {
		after(t, 0, r, 1, both, true)
		f.change(func(f *fakeSwarm) { f.err = errors.New("connection refused") })
		after(t, doubtFor-time.Second, r, 1, both, true)
		f.change(func(f *fakeSwarm) { f.err = nil })
		after(t, time.Second, r, 1, both, true)
		f.change(func(f *fakeSwarm) { f.err = errors.New("connection refused") })
		after(t, doubtFor+lookEvery, r, 1, both, false)
	})
}

func TestReportAndMetrics(t *testing.T) {
	stage(t, func(t *testing.T, f *fakeSwarm, r *fakeRegistry, l *Loop) {
		after(t, time.Second, r, 1, both, true)
		report := l.Report()
		if !report.Leading || report.Cluster != "cluster1" || len(report.Upstreams["orders"]) != 2 || len(report.Paths["/orders"]) != 2 || len(report.Registries) != 1 {
			t.Errorf("report %+v", report)
		}
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(Metrics(l))
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				key := family.GetName()
				for _, label := range m.GetLabel() {
					key += " " + label.GetValue()
				}
				got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		for key, want := range map[string]float64{
			"rolling_discovery_leading": 1, "rolling_discovery_look_failed": 0, "rolling_discovery_problems": 0,
			"rolling_discovery_members nginx orders": 2, "rolling_discovery_members zookeeper /orders": 2,
			"rolling_discovery_registry_in_step fake": 1, "rolling_discovery_registry_lag_seconds fake": 0.25,
			"rolling_discovery_registry_writes_total fake": 3, "rolling_discovery_registry_failures_total fake": 1,
		} {
			if v, there := got[key]; !there || v != want {
				t.Errorf("%s is %v (%v), want %v", key, v, there, want)
			}
		}
	})
}
