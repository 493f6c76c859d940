//go:build lab

package browser_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/browser"
	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/cluster"
	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/pages"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

// evil is what somebody may put wherever a text is free.
const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>"'&lt;`

// site is a whole manager on a toy Swarm: engine, API and dashboard, behind a port of loopback.
type site struct {
	*engine.Engine
	toy     *clustertest.Toy
	address string
	down    func()
}

const sampleFile = `
x-rolling:
  project: orders
  environments:
    test: {stage: test, services: {web: {deploy: {replicas: 1}}}}
    production: {stage: production}
services:
  web:
    networks: [app]
    healthcheck: {test: [CMD, probe]}
    deploy: {replicas: 3, update_config: {monitor: 100ms}}
networks:
  app: {driver: "rolling/net:latest", ipam: {driver: "rolling/ipam:latest", config: [{subnet: 10.210.3.0/24}]}}
`

type registries struct{}

func (registries) Resolve(_ context.Context, image string) (release.Image, error) {
	return release.Image(image + "@sha256:" + strings.Repeat("a", 64-len(image)%10) + strings.Repeat("b", len(image)%10)), nil
}

// agents know of every task a curve with gaps.
type agents struct{}

func (agents) Checks(context.Context, cluster.Place) (engine.Checks, error) {
	return engine.Checks{Failed: 3, Unhealthy: true, Checks: []engine.Check{{ExitCode: 1, Output: evil}}}, nil
}

func (agents) Samples(_ context.Context, node string, tasks []string) (map[string]engine.Samples, error) {
	if node == "node2" {
		return nil, errors.New("its agent has no line to this manager")
	}
	all := map[string]engine.Samples{}
	for _, id := range tasks {
		s := engine.Samples{IntervalSeconds: 10, End: time.Now()}
		for i := range 90 {
			cpu, memory := 0.3+0.2*math.Sin(float64(i)/7), 64e6+float64(i)*2e5
			s.CPUCores, s.MemoryBytes = append(s.CPUCores, &cpu), append(s.MemoryBytes, &memory)
			if i%30 > 26 {
				s.CPUCores[i], s.MemoryBytes[i] = nil, nil
			}
		}
		all[id] = s
	}
	return all, nil
}

// open makes a site with a project at work, until the test ends.
func open(t *testing.T) *site {
	t.Helper()
	s := &site{toy: clustertest.NewToy(time.Now)}
	cluster := s.toy.Swarm()
	var err error
	s.Engine, err = engine.New(engine.Options{Store: &storetest.Memory{}, Cluster: cluster, Live: cluster, Agents: agents{}, Lines: []engine.Lines{cluster}, Registry: registries{}})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s.up(t)
	t.Cleanup(func() { s.down(); cancel(); run.Wait() })
	s.fill(t)
	return s
}

// up serves at the address that the site has, or at a new one.
func (s *site) up(t *testing.T) {
	t.Helper()
	seen, err := pages.New(pages.Parts{Projects: s, Releases: s, Tasks: s, Deployments: s, Plans: s, Rollouts: s, Events: s, Version: "1.2.3"})
	must(t, err)
	door, err := api.New(api.Parts{Projects: s, Releases: s, Deployments: s, Rollouts: s, Tasks: s, Events: s, Swarm: s, Pages: seen, Version: "1.2.3"})
	must(t, err)
	at := s.address
	if at == "" {
		at = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", at)
	must(t, err)
	s.address = listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx, []net.Listener{listener}) }()
	s.down = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// fill brings the project to where it is of interest: r-1 in production, r-2 in test, r-3 discarded.
func (s *site) fill(t *testing.T) {
	t.Helper()
	for i := range 3 {
		image := string(must1(registries{}.Resolve(t.Context(), fmt.Sprintf("reg.example/web:%d", i+1)))(t))
		s.toy.Runs(image, clustertest.Program{Lines: []string{"listening on :8080", evil, "\x1b[31mred\x1b[0m", "好的"}})
	}
	_, err := s.ApplyProject(t.Context(), engine.Apply{File: []byte(sampleFile), By: evil})
	must(t, err)
	for i, commit := range []string{"1111111", "2222222", "3333333"} {
		_, err := s.CreateRelease(t.Context(), engine.NewRelease{Project: "orders", Commit: strings.Repeat(commit, 5) + "11111", By: evil,
			Images: map[project.ServiceName]string{"": fmt.Sprintf("reg.example/web:%d", i+1)}})
		must(t, err)
	}
	_, err = s.Discard(t.Context(), engine.Discard{Project: "orders", Release: "r-3", By: "bob", Reason: evil})
	must(t, err)
	s.brought(t, "test", "r-1")
	s.brought(t, "production", "r-1")
	s.brought(t, "test", "r-2")
}

// brought brings an environment to a release, and waits for it.
func (s *site) brought(t *testing.T, env project.EnvironmentName, id release.ID) {
	t.Helper()
	r, err := s.Deploy(t.Context(), engine.Deploy{Project: "orders", Environment: env, Release: id, By: "ann"})
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		got, err := s.Rollout(ctx, r.ID)
		must(t, err)
		if got.State == release.Succeeded {
			return
		}
		if ctx.Err() != nil || got.State != release.Running {
			t.Fatalf("rollout %s: %s: %s", r.ID, got.State, got.Cause)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *site) url(path string) string { return "http://" + s.address + path }

// chromium is one browser for all tests.
func chromium(t *testing.T) *browser.Browser {
	t.Helper()
	must(t, lab.Open("browser").Need(t.Context(), browser.Packages()...))
	b, stop, err := browser.Start(context.Background())
	must(t, err)
	t.Cleanup(stop)
	return b
}

// tab opens a page; when the test ends, nothing may have complained.
func tab(t *testing.T, b *browser.Browser, url string) *browser.Tab {
	t.Helper()
	one, end, err := b.Open(url)
	must(t, err)
	t.Cleanup(func() {
		if all := one.Complaints(); len(all) > 0 && !t.Failed() {
			t.Errorf("the page complains:\n%s", strings.Join(all, "\n"))
		}
		end()
	})
	return one
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}
