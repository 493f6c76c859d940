package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

func TestRestart(t *testing.T) {
	story(t, "a manager that was stopped in the middle of a rollout goes on, and says so", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.images("2", clustertest.Program{Start: 10 * time.Second})
		r := b.deploy("test", b.release("2"))
		time.Sleep(4 * time.Second)
		b.stop()
		time.Sleep(time.Minute)
		if r := b.shown(r.ID); r.State != release.Running {
			b.Fatalf("it is %s without a manager", r.State)
		}
		b.start()
		r = b.ended(r)
		b.want(r, release.Succeeded)
		if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "started anew") {
			b.Errorf("its notes: %q", r.Notes)
		}
		if got := b.state("test"); got != "web:2 1/1, worker:2 1/1" {
			b.Errorf("test: %s", got)
		}
	})
}

var errDead = errors.New("the process is dead")

// mortal is a process that dies at one of its effects: that one is done, and the process never hears of it. To die just
// before the next is the same.
type mortal struct {
	store.Store
	engine.Cluster
	left atomic.Int64 // effects until its death
}

func (m *mortal) effect(do func() error) error {
	left := m.left.Add(-1)
	if left < 0 {
		return errDead
	}
	if err := do(); left > 0 {
		return err
	}
	return errDead
}

func (m *mortal) Update(f func(store.Tx) error) error {
	return m.effect(func() error { return m.Store.Update(f) })
}

func (m *mortal) Apply(ctx context.Context, s plan.Step) (done cluster.Applied, err error) {
	err = m.effect(func() (err error) {
		done, err = m.Cluster.Apply(ctx, s)
		return err
	})
	return done, err
}

// TestDeathAtEveryEffect kills the manager at each of its writes, to the store and to Swarm, and lets another one go on. The
// end is the same as without.
func TestDeathAtEveryEffect(t *testing.T) {
	for _, c := range []struct {
		name  string
		bad   clustertest.Program
		ends  release.Outcome
		state string
	}{
		{"a good release succeeds", clustertest.Program{Start: time.Second}, release.Succeeded, "web:2 2/2, worker:2 1/1"},
		{"a bad one is rolled back", clustertest.Program{Unhealthy: true}, release.RolledBack, "web:1 2/2, worker:1 1/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			effects := int64(1)
			for reached := true; reached; effects++ {
				synctest.Test(t, func(t *testing.T) {
					b := &bench{T: t, toy: clustertest.NewToy(time.Now), store: &storetest.Memory{}}
					reached = deathAt(b, effects, c.bad, c.ends, c.state)
				})
				if t.Failed() {
					t.Fatalf("died at effect %d", effects)
				}
			}
			if effects < 8 {
				t.Errorf("only %d effects", effects)
			}
			t.Logf("died at each of %d effects", effects-2)
		})
	}
}

// deathAt says whether the rollout had so many effects at all.
func deathAt(b *bench, effects int64, bad clustertest.Program, ends release.Outcome, state string) bool {
	b.start()
	b.apply(strings.Replace(ordersFile, "web: {deploy: {replicas: 1}}", "web: {deploy: {replicas: 2}}", 1))
	b.want(b.ended(b.deploy("test", b.release("1"))), release.Succeeded)
	id := b.release("2")
	b.image("worker", "2", bad)
	b.stop()

	m := &mortal{Store: b.store, Cluster: b.toy.Swarm()}
	m.left.Store(1 << 40)
	first, err := engine.New(engine.Options{Store: m, Cluster: m, Live: b.toy.Swarm(), Registry: registries{}})
	if err != nil {
		b.Fatal(err)
	}
	r, err := first.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: id})
	if err != nil {
		b.Fatal(err)
	}
	m.left.Store(effects)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- first.Run(ctx) }()
	least := b.lowest("orders-test_web")
	for m.left.Load() > 0 && b.running(r) {
		time.Sleep(100 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if effects%4 == 0 {
		time.Sleep(11 * time.Minute) // longer than the rollout's deadline
	}
	reached := m.left.Load() <= 0

	b.start()
	defer b.stop()
	b.want(b.ended(r), ends)
	if got := b.state("test"); got != state {
		b.Errorf("test: %s, want %s", got, state)
	}
	if p := b.plan("test", ""); !p.Empty {
		b.Errorf("the plan is not empty:\n%s", p.Text)
	}
	if n := least(); n < 2 {
		b.Errorf("at the worst moment %d of web ran", n)
	}
	return reached
}

func (b *bench) running(r engine.Rollout) (running bool) {
	b.Helper()
	if err := b.store.View(func(tx store.Tx) error {
		kept, _, err := store.GetRollout(tx, r.ID)
		running = kept.State == release.Running
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return running
}
