package engine_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/release"
)

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		program clustertest.Program
		says    []string
		lines   bool
	}{
		{"an image that no node can get", clustertest.Program{Absent: true}, []string{"rejected", "No such image"}, false},
		{"a program that never gets healthy", clustertest.Program{Unhealthy: true}, []string{"exit code 0", "health check"}, true},
		{"a program that ends", clustertest.Program{Exits: clustertest.Exit(3), Start: time.Second}, []string{"non-zero exit (3)"}, true},
		{"a task that no node is fit for", clustertest.Program{Unplaced: true}, []string{"no progress for 2m", "no suitable node"}, false},
	} {
		story(t, c.name+" is rolled back with its cause, and the other service with it", func(b *bench) {
			c.program.Lines = []string{"line one", "line two"}
			b.apply(ordersFile)
			good := b.runs("1")
			b.images("2", clustertest.Program{Start: time.Second})
			bad := b.release("2")
			b.want(b.ended(b.deploy("test", bad)), release.Succeeded)
			b.image("worker", "2", c.program) // web goes first, and well
			least := b.lowest("orders-production_web")
			leastWorker := b.lowest("orders-production_worker")
			r := b.ended(b.deploy("production", bad))
			b.want(r, release.RolledBack, c.says...)
			if n, m := least(), leastWorker(); n < 3 || m < 2 && c.program.Exits == nil {
				b.Errorf("at the worst moment %d of web and %d of worker ran", n, m)
			}
			if r.Failing == nil || r.Failing.TaskID == "" {
				b.Errorf("no failing task: %+v", r)
			}
			if got := strings.Join(r.Lines, "|"); (got == "line one|line two") != c.lines {
				b.Errorf("its last lines: %q", got)
			}
			if got := b.state("production"); got != "web:1 3/3, worker:1 2/2" {
				b.Errorf("production: %s", got)
			}
			if env := b.environment("production"); env.Release != good {
				b.Errorf("production is at %s", env.Release)
			}
			if p := b.plan("production", ""); !p.Empty {
				b.Errorf("the plan is not empty:\n%s", p.Text)
			}
		})
	}
	story(t, "a first deployment that fails stays for a look, and the next one mends it", func(b *bench) {
		b.apply(ordersFile)
		b.image("worker", "1", clustertest.Program{Absent: true})
		r := b.ended(b.deploy("test", b.release("1")))
		b.want(r, release.Failed, "No such image")
		if got := b.state("test"); !strings.HasPrefix(got, "web:1 1/1, worker:1 0/1") {
			b.Errorf("test: %s", got)
		}
		b.want(b.ended(b.deploy("test", b.release("2"))), release.Succeeded)
		if got := b.state("test"); got != "web:2 1/1, worker:2 1/1" {
			b.Errorf("test: %s", got)
		}
	})
	story(t, "a project that wants a person to decide is left as it is", func(b *bench) {
		b.apply(strings.Replace(ordersFile, "deadline: 2m", "on-failure: pause", 1))
		b.runs("1")
		bad := b.release("2")
		b.want(b.ended(b.deploy("test", bad)), release.Succeeded)
		b.image("worker", "2", clustertest.Program{Absent: true})
		b.want(b.ended(b.deploy("production", bad)), release.Paused, "No such image")
		if got := b.state("production"); got != "web:2 3/3, worker:2 2/2" {
			b.Errorf("production: %s", got)
		}
		r, err := b.Rollback(b.Context(), engine.Rollback{Project: "orders", Environment: "production", By: "ann"})
		if err != nil || r.Release != "r-1" {
			b.Fatalf("back to %s: %v", r.Release, err)
		}
		b.want(b.ended(r), release.Succeeded)
		if got := b.state("production"); got != "web:1 3/3, worker:1 2/2" {
			b.Errorf("production: %s", got)
		}
	})
	story(t, "a service that is new and fails is taken away again", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.apply(strings.Replace(ordersFile, "services:\n  web:", "services:\n  extra: {networks: [app]}\n  web:", 1))
		b.image("worker", "2", clustertest.Program{Absent: true})
		r := b.ended(b.deploy("test", b.release("2")))
		b.want(r, release.RolledBack, "No such image")
		if got := b.state("test"); got != "web:1 1/1, worker:1 1/1" {
			b.Errorf("test: %s", got)
		}
	})
}

func TestConflicts(t *testing.T) {
	story(t, "a write that lost a race is decided anew", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		var once sync.Once
		b.toy.Before(func(r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/update") {
				// The same spec again: the version moves on, and nothing that the project owns changes.
				once.Do(func() { byHand(b, "orders-test_web", func(*swarm.ServiceSpec) {}) })
			}
		})
		b.want(b.ended(b.deploy("test", b.release("2"))), release.Succeeded)
		if got := b.state("test"); got != "web:2 1/1, worker:2 1/1" {
			b.Errorf("test: %s", got)
		}
	})
	story(t, "an engine that is away for a while is waited for", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.images("2", clustertest.Program{Start: 20 * time.Second})
		r := b.deploy("test", b.release("2"))
		time.Sleep(3 * time.Second)
		b.toy.Away(true)
		time.Sleep(time.Minute)
		b.toy.Away(false)
		b.want(b.ended(r), release.Succeeded)
	})
	story(t, "an engine that stays away ends the rollout, and says that nobody knows", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.images("2", clustertest.Program{Start: 20 * time.Second})
		r := b.deploy("test", b.release("2"))
		time.Sleep(3 * time.Second)
		b.toy.Away(true)
		b.want(b.ended(r), release.Failed, "has not answered")
		b.toy.Away(false)
	})
}

// fussy is a Swarm that takes some writes not.
type fussy struct {
	engine.Cluster
	to func(plan.Step) error // nil: it is taken
}

func (f *fussy) Apply(ctx context.Context, s plan.Step) (cluster.Applied, error) {
	if err := f.to(s); err != nil {
		return cluster.Applied{}, fmt.Errorf("%s: %w", s.Object(), err)
	}
	return f.Cluster.Apply(ctx, s)
}

func TestWritesThatAreNotTaken(t *testing.T) {
	for _, c := range []struct {
		name string
		to   func(times int) error
		ends release.Outcome
		says string
	}{
		{"one that Swarm refuses ends the rollout with its word", func(int) error { return fmt.Errorf("%w: port 80 is taken", cluster.ErrRefused) }, release.RolledBack, "port 80 is taken"},
		{"one that fails for an unknown reason is tried again", func(n int) error {
			if n > 5 {
				return nil
			}
			return fmt.Errorf("raft: the leader is changing")
		}, release.Succeeded, ""},
		{"one that fails for an unknown reason is not tried for ever", func(int) error { return fmt.Errorf("raft: out of order") }, release.RolledBack, "raft: out of order"},
		{"one that loses each race is not tried for ever", func(int) error { return cluster.ErrConflict }, release.RolledBack, "somebody else wrote"},
		{"one whose answer is lost was taken or not, and either is right", func(n int) error {
			if n > 1 {
				return nil
			}
			return cluster.ErrAway
		}, release.Succeeded, ""},
	} {
		story(t, c.name, func(b *bench) {
			b.apply(ordersFile)
			b.runs("1")
			b.stop()
			times := 0
			f := &fussy{Cluster: b.toy.Swarm(), to: func(s plan.Step) error {
				if s, ok := s.(plan.UpdateService); ok && s.Object() == "service orders-test_worker" && s.Spec.Labels[contract.Release] == "r-2" {
					times++
					return c.to(times)
				}
				return nil
			}}
			b.cluster = f
			b.start()
			b.want(b.ended(b.deploy("test", b.release("2"))), c.ends, c.says)
			if p := b.plan("test", ""); !p.Empty {
				b.Errorf("the plan is\n%s", p.Text)
			}
		})
	}
	story(t, "what cannot be cleared away is noted, and the rollout has succeeded", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.stop()
		b.cluster = &fussy{Cluster: b.toy.Swarm(), to: func(s plan.Step) error {
			if _, ok := s.(plan.RemoveService); ok {
				return fmt.Errorf("%w: it is too dear to us", cluster.ErrRefused)
			}
			return nil
		}}
		b.start()
		i := strings.Index(ordersFile, "  worker:")
		j := strings.Index(ordersFile, "networks:\n  app:")
		b.apply(strings.Replace(ordersFile[:i]+ordersFile[j:], "worker: {deploy: {replicas: 1}}", "", 1))
		r := b.ended(b.deploy("test", b.release("2")))
		b.want(r, release.Succeeded)
		if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "too dear") {
			b.Errorf("its notes: %q", r.Notes)
		}
		if p := b.plan("test", ""); len(p.Steps) != 1 || p.Steps[0].Action != "remove" {
			b.Errorf("the plan is\n%s", p.Text)
		}
	})
	story(t, "a service that is no longer Rolling's own ends the rollout", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.images("2", clustertest.Program{Start: 10 * time.Second})
		r := b.deploy("test", b.release("2"))
		time.Sleep(3 * time.Second)
		byHand(b, "orders-test_worker", func(s *swarm.ServiceSpec) { s.Labels[contract.Spec] = "" })
		b.want(b.ended(r), release.RolledBack, "orders-test_worker")
	})
}
