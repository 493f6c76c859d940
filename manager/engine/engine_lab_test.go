//go:build lab

package engine_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := lab.CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestOnARealSwarm(t *testing.T) {
	s := newShop(t)
	if _, err := s.ApplyProject(t.Context(), engine.Apply{File: []byte(shopFile), Files: map[string][]byte{"./key": []byte("a secret")}, By: "ann"}); err != nil {
		t.Fatal(err)
	}
	step := func(name string, f func()) {
		t.Helper()
		if !t.Run(name, func(sub *testing.T) {
			outer := s.T
			s.T = sub
			defer func() { s.T = outer }()
			f()
		}) {
			t.FailNow()
		}
	}
	step("an image that the registry does not have makes no release", func() {
		_, err := s.CreateRelease(s.Context(), engine.NewRelease{Project: "shop", Images: map[project.ServiceName]string{"": registryAt + "/shop/web:9"}})
		if engine.CodeOf(err) != engine.ImageUnknown {
			s.Errorf("the error is %v", err)
		}
	})
	step("a release goes through test to production, and then there is nothing to do", func() {
		id := s.inTest("1")
		s.nothingToDo("test")
		r, err := s.Promote(s.Context(), engine.Deploy{Project: "shop", Release: id})
		if err != nil {
			s.Fatal(err)
		}
		s.ends(r, release.Succeeded)
		s.nothingToDo("production")
	})
	step("a new image's plan names it and nothing else, and no task is missed while it comes", func() {
		id := s.inTest("2")
		p, err := s.Plan(s.Context(), engine.PlanOf{Project: "shop", Environment: "production", Release: id})
		if err != nil || len(p.Steps) != 1 || len(p.Steps[0].Changes) != 1 || p.Steps[0].Changes[0].Field != "image" {
			s.Fatalf("the plan is\n%s%v", p.Text, err)
		}
		least := s.lowest("shop-production_web")
		s.ends(s.deploy("production", id), release.Succeeded)
		if n := least(); n < 3 {
			s.Errorf("at the worst moment %d tasks ran", n)
		}
		s.nothingToDo("production")
		all, err := s.Addresses(s.Context(), engine.AddressesOf{Project: "shop", Environment: "production"})
		if err != nil || len(all) < 7 { // 3 of web on two networks, 1 of plain; old ones may still be ending
			s.Errorf("addresses: %+v %v", all, err)
		}
	})
	for web, says := range map[string]string{"crash": "non-zero exit (3)", "deaf": "exit code", "lost": "rejected"} {
		step("what cannot run is rolled back with its cause: "+web, func() {
			id := s.release(web)
			r, err := s.Release(s.Context(), "shop", id)
			if err != nil {
				s.Fatal(err)
			}
			if web == "lost" {
				s.forget(r.Images["web"])
			}
			least := s.lowest("shop-test_web")
			rollout := s.ends(s.deploy("test", id), release.RolledBack, says)
			if n := least(); n < 2 && web != "crash" {
				s.Errorf("at the worst moment %d tasks ran", n)
			}
			// Docker stamps the two streams by themselves, so their order is not always that of the program.
			if lines := strings.Join(rollout.Lines, "\n"); web == "crash" && (!strings.Contains(lines, "it begins") || !strings.Contains(lines, "cannot open /etc/shop.db")) {
				s.Errorf("its last lines: %q", lines)
			}
			s.nothingToDo("test")
		})
	}
	step("scaling there and back restarts nothing", func() {
		for _, n := range []uint64{5, 3} {
			r, err := s.Scale(s.Context(), engine.Scale{Project: "shop", Environment: "production", Service: "web", Replicas: &n})
			if err != nil {
				s.Fatal(err)
			}
			s.ends(r, release.Succeeded)
			s.nothingToDo("production")
		}
	})
	step("too many for the network is said beforehand", func() {
		n := uint64(40)
		_, err := s.Scale(s.Context(), engine.Scale{Project: "shop", Environment: "production", Service: "web", Replicas: &n})
		if engine.CodeOf(err) != engine.NoRoom {
			s.Errorf("the error is %v", err)
		}
	})
	step("a change by hand shows, and is not touched unasked", func() {
		s.docker("service", "update", "-q", "--detach", "--env-add", "DEBUG=1", "shop-test_web")
		p, err := s.Plan(s.Context(), engine.PlanOf{Project: "shop", Environment: "test"})
		if err != nil || len(p.ByHand) != 1 || !strings.Contains(p.Text, "DEBUG") {
			s.Errorf("the plan is\n%s%v", p.Text, err)
		}
		id := s.release("3")
		_, err = s.Deploy(s.Context(), engine.Deploy{Project: "shop", Environment: "test", Release: id})
		if engine.CodeOf(err) != engine.Drifted {
			s.Errorf("the error is %v", err)
		}
		if env := s.docker("service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "shop-test_web"); !strings.Contains(env, "DEBUG=1") {
			s.Errorf("the change was touched: %s", env)
		}
		r, err := s.Deploy(s.Context(), engine.Deploy{Project: "shop", Environment: "test", Release: id, Overwrite: true})
		if err != nil {
			s.Fatal(err)
		}
		s.ends(r, release.Succeeded)
		s.nothingToDo("test")
	})
	step("a manager that is started anew in the middle goes on", func() {
		r := s.deploy("production", "r-6")
		for begin := time.Now(); len(r.Services) == 0; time.Sleep(100 * time.Millisecond) {
			var err error
			if r, err = s.Rollout(s.Context(), r.ID); err != nil || time.Since(begin) > 20*time.Second {
				s.Fatalf("%+v %v", r, err)
			}
		}
		s.stop()
		s.start()
		if r = s.ends(r, release.Succeeded); len(r.Notes) == 0 {
			s.Error("it does not say that it was started anew")
		}
		s.nothingToDo("production")
	})
	step("a rollout of five tasks beside the same update by Docker itself", func() {
		n := uint64(5)
		r, err := s.Scale(s.Context(), engine.Scale{Project: "shop", Environment: "production", Service: "web", Replicas: &n})
		if err != nil {
			s.Fatal(err)
		}
		s.ends(r, release.Succeeded)
		begin := time.Now()
		s.docker("service", "update", "-q", "--no-resolve-image", "--image", registryAt+"/shop/web:2", "shop-production_web")
		peer := time.Since(begin)
		begin = time.Now()
		if r, err = s.Deploy(s.Context(), engine.Deploy{Project: "shop", Environment: "production", Release: "r-1", Overwrite: true}); err != nil {
			s.Fatal(err)
		}
		s.ends(r, release.Succeeded)
		ours := time.Since(begin)
		s.Logf("5 tasks: Docker %.1f s, Rolling %.1f s, ratio %.2f", peer.Seconds(), ours.Seconds(), ours.Seconds()/peer.Seconds())
	})
	step("back is to the release before", func() {
		r, err := s.Rollback(s.Context(), engine.Rollback{Project: "shop", Environment: "production"})
		if err != nil || r.Release != "r-6" {
			s.Fatalf("%+v %v", r, err)
		}
		s.ends(r, release.Succeeded)
		s.nothingToDo("production")
	})
	step("a deleted project leaves nothing", func() {
		if err := s.DeleteProject(s.Context(), engine.Delete{Project: "shop", Services: true}); err != nil {
			s.Fatal(err)
		}
		left := s.docker("service", "ls", "-q", "--filter", "label=rolling.project=shop") + s.docker("config", "ls", "-q", "--filter", "label=rolling.project=shop") +
			s.docker("secret", "ls", "-q", "--filter", "label=rolling.project=shop") + s.docker("network", "ls", "-q", "--filter", "label=rolling.project=shop")
		if left != "" {
			s.Errorf("left: %s", left)
		}
	})
}
