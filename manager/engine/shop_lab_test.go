//go:build lab

package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/probe"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/registry"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
)

// shopFile uses as many keys as there are that Swarm stores in another form than they are written in.
const shopFile = `
x-rolling:
  project: shop
  environments:
    test: {stage: test, services: {web: {deploy: {replicas: 2}}}}
    production: {stage: production, rollout: {deadline: 30s}, networks: {app: {ipam: {config: [{subnet: 10.222.2.0/27}]}}}}
services:
  web:
    networks: {app: {aliases: [shop]}, wide: null}
    environment: {B: "2", A: "1"}
    labels: {team: blue}
    configs: [{source: conf, target: /etc/shop.conf, mode: 0440}]
    secrets: [key]
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"], interval: 500ms, timeout: 2s, retries: 2}
    stop_grace_period: 2s
    init: true
    user: "0"
    working_dir: /tmp
    hostname: "web-{{.Task.Slot}}"
    ulimits: {nofile: {soft: 1000, hard: 2000}}
    cap_drop: [MKNOD]
    cap_add: [NET_ADMIN]
    dns: [10.99.0.1]
    extra_hosts: {elsewhere: 10.1.2.3}
    sysctls: {net.core.somaxconn: "200"}
    volumes: [{type: tmpfs, target: /scratch, tmpfs: {size: 1048576}}, {type: volume, source: data, target: /data}]
    logging: {driver: json-file, options: {max-size: 1m}}
    deploy:
      replicas: 3
      labels: {rolling.discovery.nginx: "shop:8080"}
      restart_policy: {condition: any, delay: 1s}
      update_config: {monitor: 2s, parallelism: 1}
      placement: {constraints: ["node.platform.os==linux"], preferences: [{spread: node.hostname}]}
      resources: {limits: {cpus: "0.5", memory: 64m, pids: 50}, reservations: {memory: 8m}}
  plain:
    networks: [app]
    stop_grace_period: 1s
    deploy: {update_config: {monitor: 1s}}
configs: {conf: {content: "a config\n"}}
secrets: {key: {file: ./key}}
volumes: {data: {}}
networks:
  app: {driver: "rolling/net:latest", driver_opts: {rolling.mode: routed}, ipam: {driver: "rolling/ipam:latest", config: [{subnet: 10.222.1.0/27}]}}
  wide: {external: true, name: shop-wide}
`

// shop is a manager on a real Swarm with a real registry and a real store.
type shop struct {
	*testing.T
	*engine.Engine
	lab   *lab.Lab
	api   *client.Client
	path  string
	store *store.Bolt
	stop  func()
}

const registryAt = "10.99.0.1:5000"

func newShop(t *testing.T) *shop {
	t.Helper()
	l := lab.Shared(t)
	s := &shop{T: t, lab: l, path: filepath.Join(t.TempDir(), "manager.db")}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, err := range []error{l.LoadShell(ctx), l.StartPart(ctx, "registry")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if s.api, err = l.Client("n1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.api.Close() })
	s.docker("network", "create", "--scope", "swarm", "-d", "rolling/net:latest", "--ipam-driver", "rolling/ipam:latest", "--subnet", "10.222.9.0/24", "shop-wide")
	t.Cleanup(func() { s.docker("network", "rm", "shop-wide") })
	serve := func(line string, port int) string {
		return fmt.Sprintf(`echo %s; mkdir -p /tmp/www; echo %s >/tmp/www/index.html; trap "exit 0" TERM; busybox httpd -f -p %d -h /tmp/www & wait`, line, line, port)
	}
	s.image("web:1", serve("one", 8080))
	s.image("web:2", serve("two", 8080))
	s.image("web:3", serve("three", 8080))
	s.image("web:deaf", serve("deaf", 9999))
	s.image("web:crash", `echo it begins; echo "cannot open /etc/shop.db" >&2; exit 3`)
	s.image("web:lost", serve("lost", 8080))
	s.image("plain:1", `trap "exit 0" TERM; while :; do sleep 1; done`)
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *shop) docker(args ...string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // a cleanup may call it
	defer cancel()
	out, err := s.lab.Docker(ctx, "n1", args...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// image pushes an image that runs a script, and leaves none on the node.
func (s *shop) image(name, script string) {
	s.Helper()
	to := registryAt + "/shop/" + name
	id := s.docker("create", lab.ShellImage, "true")
	command := strings.ReplaceAll(strings.ReplaceAll(script, `\`, `\\`), `"`, `\"`)
	s.docker("commit", "--change", `CMD ["sh","-c","`+command+`"]`, id, to)
	s.docker("push", "-q", to)
	s.docker("rm", id)
	s.docker("rmi", to)
}

// forget deletes an image from the registry.
func (s *shop) forget(image release.Image) {
	s.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: s.lab.DialContext(lab.Router)}}
	r, err := http.NewRequestWithContext(s.Context(), http.MethodDelete, "http://"+registryAt+"/v2/shop/web/manifests/"+image.Digest(), nil)
	if err != nil {
		s.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil || answer.StatusCode != http.StatusAccepted {
		s.Fatalf("delete %s: %v %v", image, answer, err)
	}
	answer.Body.Close()
}

func (s *shop) start() {
	s.Helper()
	var err error
	if s.store, err = store.Open(s.path); err != nil {
		s.Fatal(err)
	}
	c := cluster.Of(s.api)
	dial := s.lab.DialContext("n1")
	s.Engine, err = engine.New(engine.Options{Store: s.store, Cluster: c, Live: c, Registry: registry.New(s.lab.DialContext(lab.Router)), Lines: []engine.Lines{c},
		Probe: probe.New(dial), Log: slog.New(slog.NewTextHandler(output{s.T}, nil))})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := s.Engine.Run(ctx); err != nil {
			s.Error(err)
		}
	})
	s.stop = func() {
		cancel()
		run.Wait()
		if err := s.store.Close(); err != nil {
			s.Error(err)
		}
	}
}

func (s *shop) release(web string) release.ID {
	s.Helper()
	r, err := s.CreateRelease(s.Context(), engine.NewRelease{Project: "shop", By: "ann",
		Images: map[project.ServiceName]string{"web": registryAt + "/shop/web:" + web, "plain": registryAt + "/shop/plain:1"}})
	if err != nil {
		s.Fatal(err)
	}
	return r.ID
}

func (s *shop) deploy(env project.EnvironmentName, id release.ID) engine.Rollout {
	s.Helper()
	r, err := s.Deploy(s.Context(), engine.Deploy{Project: "shop", Environment: env, Release: id, By: "ann"})
	if err != nil {
		s.Fatal(err)
	}
	return r
}

func (s *shop) ends(r engine.Rollout, state release.Outcome, causes ...string) engine.Rollout {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 4*time.Minute)
	defer cancel()
	events, err := s.Watch(ctx, r.ID, 0)
	if err != nil {
		s.Fatal(err)
	}
	for v := range events {
		s.Logf("%s %s", v.At.Format("15:04:05.0"), v.Text)
	}
	if r, err = s.Rollout(s.Context(), r.ID); err != nil {
		s.Fatal(err)
	}
	if r.State != state {
		s.Fatalf("rollout %s is %s, want %s: %s\n%+v", r.ID, r.State, state, r.Cause, r.Services)
	}
	for _, c := range causes {
		if !strings.Contains(r.Cause, c) {
			s.Errorf("the cause %q does not say %q", r.Cause, c)
		}
	}
	return r
}

func (s *shop) nothingToDo(env project.EnvironmentName) {
	s.Helper()
	p, err := s.Plan(s.Context(), engine.PlanOf{Project: "shop", Environment: env})
	if err != nil {
		s.Fatal(err)
	}
	if !p.Empty {
		s.Errorf("the plan of %s is not empty:\n%s", env, p.Text)
	}
}

// inTest brings a release to test, so that it may go on.
func (s *shop) inTest(web string) release.ID {
	s.Helper()
	id := s.release(web)
	s.ends(s.deploy("test", id), release.Succeeded)
	return id
}

// lowest polls how many tasks of a service run; what it gives stops that and says how few there were at the worst moment.
func (s *shop) lowest(service string) func() int {
	least := 1 << 30
	ctx, cancel := context.WithCancel(s.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			got, err := s.api.TaskList(ctx, client.TaskListOptions{Filters: make(client.Filters).Add("service", service).Add("desired-state", "running")})
			if err == nil {
				n := 0
				for _, t := range got.Items {
					if t.Status.State == swarm.TaskStateRunning {
						n++
					}
				}
				least = min(least, n)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return func() int { cancel(); watch.Wait(); return least }
}
