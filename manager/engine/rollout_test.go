package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

func TestPromotion(t *testing.T) {
	story(t, "production is reached through test alone, by the very same digests", func(b *bench) {
		b.apply(ordersFile)
		id := b.release("1")
		_, err := b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "production", Release: id})
		e := b.refused(err, engine.Refused, "test")
		if len(e.Refusals) != 1 || e.Refusals[0].Code != release.StageSkipped {
			b.Errorf("refusals: %+v", e.Refusals)
		}
		for _, env := range []string{"test", "production"} {
			r, err := b.Promote(b.Context(), engine.Deploy{Project: "orders", Release: id, By: "ann"})
			if err != nil || string(r.Environment) != env {
				b.Fatalf("promoted to %s, want %s: %v", r.Environment, env, err)
			}
			b.want(b.ended(r), release.Succeeded)
		}
		if got := b.state("production"); got != "web:1 3/3, worker:1 2/2" {
			b.Errorf("production: %s", got)
		}
		if env := b.environment("production"); env.Release != id || env.Adopted || env.Rollout != "" {
			b.Errorf("production: %+v", env)
		}
		_, err = b.Promote(b.Context(), engine.Deploy{Project: "orders", Release: id})
		b.refused(err, engine.Invalid, "last stage")
	})
	story(t, "an approval is asked for and counted", func(b *bench) {
		b.apply(strings.Replace(ordersFile, "stage: production,", "stage: production, approvals: 1,", 1))
		id := b.release("1")
		b.want(b.ended(b.deploy("test", id)), release.Succeeded)
		_, err := b.Promote(b.Context(), engine.Deploy{Project: "orders", Release: id})
		b.refused(err, engine.Refused, "approval")
		if _, err := b.Judge(b.Context(), engine.Word{Project: "orders", Release: id, Environment: "production", By: "bob", Agrees: true}); err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(b.deploy("production", id)), release.Succeeded)
	})
}

func TestPlan(t *testing.T) {
	story(t, "after a deployment there is nothing to do, and a new image is named and nothing else", func(b *bench) {
		b.apply(ordersFile)
		first := b.runs("1")
		for _, id := range []release.ID{"", first} {
			if p := b.plan("production", id); !p.Empty || len(p.Steps) > 0 {
				b.Errorf("the plan is not empty:\n%s", p.Text)
			}
		}
		r, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", Images: map[project.ServiceName]string{"web": "reg.example/web:2", "worker": "reg.example/worker:1"}})
		if err != nil {
			b.Fatal(err)
		}
		p := b.plan("production", r.ID)
		if len(p.Steps) != 1 || p.Steps[0].Object != "service orders-production_web" || len(p.Steps[0].Changes) != 1 || p.Steps[0].Changes[0].Field != "image" || !p.Steps[0].Restarts {
			b.Errorf("the plan is\n%s", p.Text)
		}
	})
	story(t, "before the first deployment a release must be named", func(b *bench) {
		b.apply(ordersFile)
		_, err := b.Plan(b.Context(), engine.PlanOf{Project: "orders", Environment: "test"})
		b.refused(err, engine.Invalid, "name a release")
		_, err = b.Plan(b.Context(), engine.PlanOf{Project: "orders", Environment: "tset", Release: "r-1"})
		b.refused(err, engine.NotFound, "test, production")
	})
}

func TestOneRolloutAtATime(t *testing.T) {
	story(t, "a second one is refused with who holds the environment, and others are free", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.images("2", clustertest.Program{Start: time.Minute})
		id := b.release("2")
		first := b.deploy("test", id)
		time.Sleep(time.Second)
		for name, try := range map[string]func() error{
			"deploy": func() error {
				_, err := b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: "r-1"})
				return err
			},
			"scale": func() error {
				n := uint64(3)
				_, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "test", Service: "web", Replicas: &n})
				return err
			},
			"delete": func() error {
				return b.DeleteProject(b.Context(), engine.Delete{Project: "orders", Services: true})
			},
		} {
			e := b.refused(try(), engine.Busy, string(first.ID), "ann", string(id))
			if e.Holder == nil || e.Holder.ID != first.ID {
				b.Errorf("%s: the holder is %+v", name, e.Holder)
			}
		}
		n := uint64(4)
		other, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "production", Service: "web", Replicas: &n})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(other), release.Succeeded)
		if r := b.shown(first.ID); r.State != release.Running {
			b.Errorf("the first one is %s", r.State)
		}
		b.want(b.ended(first), release.Succeeded)
	})
}

func TestByHand(t *testing.T) {
	story(t, "what was changed by hand shows, is not touched unasked, and is overwritten when asked", func(b *bench) {
		b.apply(ordersFile)
		id := b.runs("1")
		byHand(b, "orders-test_web", func(s *swarm.ServiceSpec) {
			s.TaskTemplate.ContainerSpec.Env = []string{"DEBUG=1"}
		})
		time.Sleep(time.Minute)
		p := b.plan("test", "")
		if len(p.ByHand) != 1 || p.ByHand[0] != "service orders-test_web" || !strings.Contains(p.Text, "by hand") || !strings.Contains(p.Text, "DEBUG") {
			b.Errorf("the plan is\n%s", p.Text)
		}
		for _, id := range []release.ID{id, b.release("2")} {
			_, err := b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: id})
			if e := b.refused(err, engine.Drifted, "orders-test_web"); e.Plan == nil || len(e.Plan.ByHand) != 1 {
				b.Errorf("the refusal shows no plan")
			}
		}
		r, err := b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: id, Overwrite: true})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(r), release.Succeeded)
		if p := b.plan("test", ""); !p.Empty {
			b.Errorf("the plan is\n%s", p.Text)
		}
	})
	story(t, "a change by hand while a rollout runs ends it, and stays", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.images("2", clustertest.Program{Start: 30 * time.Second})
		r := b.deploy("test", b.release("2"))
		time.Sleep(5 * time.Second)
		byHand(b, "orders-test_worker", func(s *swarm.ServiceSpec) { s.Labels["mine"] = "yes" })
		b.want(b.ended(r), release.RolledBack, "orders-test_worker", "by hand")
		p := b.plan("test", "")
		if len(p.ByHand) != 1 || p.ByHand[0] != "service orders-test_worker" {
			b.Errorf("the plan is\n%s", p.Text)
		}
	})
	story(t, "a count that was changed by hand does not stand in the way of scaling", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		byHand(b, "orders-test_web", func(s *swarm.ServiceSpec) { *s.Mode.Replicated.Replicas = 7 })
		n := uint64(2)
		r, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "test", Service: "web", Replicas: &n})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(r), release.Succeeded)
		if got := b.state("test"); !strings.HasPrefix(got, "web:1 2/2") {
			b.Errorf("test: %s", got)
		}
	})
}

func TestScale(t *testing.T) {
	story(t, "a count holds through deployments and ways back until the file's is asked for again", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		n := uint64(5)
		scale := func(replicas *uint64) {
			b.Helper()
			r, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "production", Service: "web", Replicas: replicas, By: "ann"})
			if err != nil {
				b.Fatal(err)
			}
			b.want(b.ended(r), release.Succeeded)
		}
		scale(&n)
		want := func(state string) {
			b.Helper()
			if got := b.state("production"); got != state {
				b.Errorf("production: %s, want %s", got, state)
			}
			if p := b.plan("production", ""); !p.Empty {
				b.Errorf("the plan is\n%s", p.Text)
			}
		}
		want("web:1 5/5, worker:1 2/2")
		second := b.release("2")
		b.want(b.ended(b.deploy("test", second)), release.Succeeded)
		b.want(b.ended(b.deploy("production", second)), release.Succeeded)
		want("web:2 5/5, worker:2 2/2")
		third := b.release("3")
		b.want(b.ended(b.deploy("test", third)), release.Succeeded)
		b.image("worker", "3", clustertest.Program{Absent: true})
		b.want(b.ended(b.deploy("production", third)), release.RolledBack)
		want("web:2 5/5, worker:2 2/2")
		if !strings.Contains(b.plan("production", "").Text, "5 tasks, as it was scaled") {
			b.Error("the plan does not say where the count comes from")
		}
		scale(nil)
		want("web:2 3/3, worker:2 2/2")
	})
	story(t, "a newer project file is not deployed by the way", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.apply(strings.Replace(ordersFile, "deploy: {replicas: 3,", "environment: {NEW: '1'}\n    deploy: {replicas: 3,", 1))
		n := uint64(4)
		r, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "production", Service: "web", Replicas: &n})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(r), release.Succeeded)
		if p := b.plan("production", ""); len(p.Steps) != 1 || p.Steps[0].Changes[0].Field != "environment.NEW" {
			b.Errorf("the plan is\n%s", p.Text)
		}
	})
	story(t, "what cannot be is refused", func(b *bench) {
		b.apply(ordersFile)
		n := uint64(4)
		_, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "test", Service: "web", Replicas: &n})
		b.refused(err, engine.Invalid, "nothing has been deployed")
		b.runs("1")
		_, err = b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "test", Service: "wbe", Replicas: &n})
		b.refused(err, engine.NotFound, "wbe")
	})
}

func TestRoom(t *testing.T) {
	story(t, "too few addresses are said before anything is written", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		n := uint64(40) // of 32, and production has its own network of that subnet
		_, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "production", Service: "web", Replicas: &n})
		e := b.refused(err, engine.NoRoom, "orders-production_app", "free addresses")
		if e.Plan == nil || len(e.Plan.Room) != 1 {
			b.Errorf("the plan shows no lack of room: %+v", e.Plan)
		}
		if env := b.environment("production"); env.Rollout != "" || len(env.Scale) > 0 {
			b.Errorf("something was kept: %+v", env)
		}
		if got := b.state("production"); got != "web:1 3/3, worker:1 2/2" {
			b.Errorf("production: %s", got)
		}
		n = 20
		r, err := b.Scale(b.Context(), engine.Scale{Project: "orders", Environment: "production", Service: "web", Replicas: &n})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(r), release.Succeeded)
	})
}

func TestRollback(t *testing.T) {
	story(t, "back is to the release before, with the project file that it ran with", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.apply(strings.Replace(ordersFile, "deploy: {replicas: 3,", "environment: {NEW: '1'}\n    deploy: {replicas: 3,", 1))
		b.runs("2")
		r, err := b.Rollback(b.Context(), engine.Rollback{Project: "orders", Environment: "production", By: "ann"})
		if err != nil {
			b.Fatal(err)
		}
		if b.want(b.ended(r), release.Succeeded); r.Kind != engine.KindRollback || r.Release != "r-1" || r.From != "r-2" {
			b.Errorf("the rollout is %+v", r)
		}
		if got := b.state("production"); got != "web:1 3/3, worker:1 2/2" {
			b.Errorf("production: %s", got)
		}
		if p := b.plan("production", ""); len(p.Steps) != 1 || p.Steps[0].Changes[0].Field != "environment.NEW" {
			b.Errorf("against the newest file the plan is\n%s", p.Text)
		}
	})
	story(t, "without another release there is no way back", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		_, err := b.Rollback(b.Context(), engine.Rollback{Project: "orders", Environment: "test"})
		b.refused(err, engine.NotFound, "no other release")
	})
}

func TestCancel(t *testing.T) {
	story(t, "a cancelled rollout goes back and says who", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.image("worker", "2", clustertest.Program{Start: time.Hour})
		r := b.deploy("test", b.release("2"))
		time.Sleep(30 * time.Second)
		if got := b.state("test"); got != "web:2 1/1, worker:2 1/1" {
			b.Fatalf("test: %s", got)
		}
		if _, err := b.Cancel(b.Context(), engine.Cancel{Rollout: r.ID, By: "bob"}); err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(r), release.Cancelled, "bob")
		if got := b.state("test"); got != "web:1 1/1, worker:1 1/1" {
			b.Errorf("test: %s", got)
		}
		_, err := b.Cancel(b.Context(), engine.Cancel{Rollout: r.ID, By: "bob"})
		b.refused(err, engine.Invalid, "ended already")
	})
}

func TestRemovals(t *testing.T) {
	const with = `
x-rolling:
  project: orders
  environments: {test: {stage: test}}
services:
  web: {networks: [app], configs: [conf], labels: {v: "1"}}
  worker: {networks: [app]}
configs: {conf: {content: one}}
networks:
  app: {driver: "rolling/net:latest", ipam: {driver: "rolling/ipam:latest", config: [{subnet: 10.210.3.0/27}]}}
`
	story(t, "what the project has no more goes after the success, not before", func(b *bench) {
		objects := func() string {
			b.Helper()
			o, err := b.toy.Swarm().Observe(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			return fmt.Sprintf("%d services, %d networks, %d configs", len(o.Services), len(o.Networks), len(o.Configs))
		}
		b.apply(with)
		b.want(b.ended(b.deploy("test", b.release("1"))), release.Succeeded)
		without := strings.Replace(strings.Replace(with, "content: one", "content: two", 1), "  worker: {networks: [app]}\n", "", 1)
		b.apply(without)
		b.image("web", "2", clustertest.Program{Absent: true})
		b.image("worker", "2", clustertest.Program{Absent: true})
		bad, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", Images: map[project.ServiceName]string{"web": "reg.example/web:2"}})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(b.deploy("test", bad.ID)), release.RolledBack)
		if got := objects(); got != "2 services, 1 networks, 2 configs" {
			b.Errorf("after the way back: %s", got)
		}
		good, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", Images: map[project.ServiceName]string{"web": "reg.example/web:3"}})
		if err != nil {
			b.Fatal(err)
		}
		b.want(b.ended(b.deploy("test", good.ID)), release.Succeeded)
		if got := objects(); got != "1 services, 1 networks, 1 configs" {
			b.Errorf("after the success: %s", got)
		}
	})
}
