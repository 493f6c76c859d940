package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/manager/cluster/clustertest"
	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/registry"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

// bench is a manager on a toy Swarm, in a bubble whose time runs as fast as the test does.
type bench struct {
	*testing.T
	*engine.Engine
	toy     *clustertest.Toy
	cluster engine.Cluster // nil: the toy as it is
	agents  engine.Agents  // nil: there are none
	store   store.Store
	stop    func()
}

// story runs a test on a bench of its own.
func story(t *testing.T, name string, f func(b *bench)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := &bench{T: t, toy: clustertest.NewToy(time.Now), store: &storetest.Memory{}}
			b.start()
			defer func() { b.stop() }()
			f(b)
		})
	})
}

// start begins a manager on what is there; after stop it is the next one.
func (b *bench) start() {
	b.Helper()
	lines := b.toy.Swarm()
	if b.cluster == nil {
		b.cluster = lines
	}
	e, err := engine.New(engine.Options{Store: b.store, Cluster: b.cluster, Live: lines, Agents: b.agents, Registry: registries{}, Lines: []engine.Lines{lines},
		Log: slog.New(slog.NewTextHandler(output{b.T}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Engine = e
	b.stop = func() { cancel(); run.Wait() }
}

type output struct{ t *testing.T }

func (o output) Write(p []byte) (int, error) {
	o.t.Helper()
	o.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// registries have every image but those of a repository named nobody.
type registries struct{}

func (registries) Resolve(_ context.Context, image string) (release.Image, error) {
	switch {
	case strings.Contains(image, "nobody"):
		return "", fmt.Errorf("image %s: %w", image, registry.ErrUnknown)
	case strings.Contains(image, "away"):
		return "", errors.New("the registry is away")
	}
	return pinned(image), nil
}

func pinned(image string) release.Image {
	sum := sha256.Sum256([]byte(image))
	return release.Image(image + "@sha256:" + hex.EncodeToString(sum[:]))
}

// ordersFile has two stages and two services on one network of 32 addresses.
const ordersFile = `
x-rolling:
  project: orders
  environments:
    test: {stage: test, services: {web: {deploy: {replicas: 1}}, worker: {deploy: {replicas: 1}}}}
    production: {stage: production, rollout: {deadline: 2m}}
services:
  web:
    networks: [app]
    deploy: {replicas: 3, labels: {rolling.discovery.nginx: "orders:8080"}}
  worker:
    networks: [app]
    deploy: {replicas: 2}
networks:
  app: {driver: "rolling/net:latest", ipam: {driver: "rolling/ipam:latest", config: [{subnet: 10.210.3.0/27}]}}
`

func (b *bench) apply(file string) engine.Project {
	b.Helper()
	p, err := b.ApplyProject(b.Context(), engine.Apply{File: []byte(file), By: "ann"})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// release makes one whose images are web:TAG and worker:TAG.
func (b *bench) release(tag string) release.ID {
	b.Helper()
	r, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", By: "ann",
		Images: map[project.ServiceName]string{"web": "reg.example/web:" + tag, "": "reg.example/worker:" + tag}})
	if err != nil {
		b.Fatal(err)
	}
	return r.ID
}

func (b *bench) deploy(env project.EnvironmentName, id release.ID) engine.Rollout {
	b.Helper()
	r, err := b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: env, Release: id, By: "ann"})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// ended waits for the end of a rollout.
func (b *bench) ended(r engine.Rollout) engine.Rollout {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 3*time.Hour)
	defer cancel()
	events, err := b.Watch(ctx, r.ID, 0)
	if err != nil {
		b.Fatal(err)
	}
	for range events {
	}
	if ctx.Err() != nil {
		b.Fatalf("rollout %s does not end: %+v", r.ID, b.shown(r.ID))
	}
	return b.shown(r.ID)
}

func (b *bench) shown(id engine.RolloutID) engine.Rollout {
	b.Helper()
	r, err := b.Rollout(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// want fails the test if a rollout ended in another way.
func (b *bench) want(r engine.Rollout, state release.Outcome, causes ...string) {
	b.Helper()
	if r.State != state {
		b.Fatalf("rollout %s is %s, want %s: %s\n%+v", r.ID, r.State, state, r.Cause, r.Services)
	}
	for _, c := range causes {
		if !strings.Contains(r.Cause, c) {
			b.Errorf("the cause %q does not say %q", r.Cause, c)
		}
	}
	if r.Ended == nil {
		b.Errorf("ended at %v", r.Ended)
	}
}

// runs brings test and production to a release of good images.
func (b *bench) runs(tag string) release.ID {
	b.Helper()
	id := b.release(tag)
	b.want(b.ended(b.deploy("test", id)), release.Succeeded)
	b.want(b.ended(b.deploy("production", id)), release.Succeeded)
	return id
}

func (b *bench) plan(env project.EnvironmentName, id release.ID) engine.Plan {
	b.Helper()
	p, err := b.Plan(b.Context(), engine.PlanOf{Project: "orders", Environment: env, Release: id})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bench) environment(name project.EnvironmentName) engine.Environment {
	b.Helper()
	p, err := b.Project(b.Context(), "orders")
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range p.Environments {
		if e.Name == name {
			return e
		}
	}
	b.Fatalf("no environment %s", name)
	return engine.Environment{}
}

// state is an environment in a line: each service with its image's tag and its counts.
func (b *bench) state(env project.EnvironmentName) string {
	b.Helper()
	var all []string
	for _, s := range b.environment(env).Services {
		image, _, _ := strings.Cut(s.Image, "@")
		_, tag, _ := strings.Cut(image, ":")
		all = append(all, fmt.Sprintf("%s:%s %d/%d", s.Name, tag, s.Running, s.Wanted))
	}
	return strings.Join(all, ", ")
}

// refused fails the test if an error is not of the kind, or does not say so.
func (b *bench) refused(err error, code engine.Code, says ...string) *engine.Error {
	b.Helper()
	var e *engine.Error
	if !errors.As(err, &e) || e.Code != code {
		b.Fatalf("the error is %v (%s), want %s", err, engine.CodeOf(err), code)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			b.Errorf("the error does not say %q: %v", s, err)
		}
	}
	return e
}

// lowest watches a service until the function that it gives is called, which says how few tasks ran at the worst moment.
func (b *bench) lowest(name string) func() int {
	least := b.toy.Running(name)
	ctx, cancel := context.WithCancel(b.Context())
	var watch sync.WaitGroup
	watch.Go(func() {
		for ctx.Err() == nil {
			least = min(least, b.toy.Running(name))
			time.Sleep(250 * time.Millisecond)
		}
	})
	stop := func() int { cancel(); watch.Wait(); return least }
	b.Cleanup(func() { stop() })
	return stop
}

func byHand(b *bench, service string, change func(*swarm.ServiceSpec)) {
	b.Helper()
	if err := b.toy.ByHand(service, change); err != nil {
		b.Fatal(err)
	}
}

// bad makes the images of a tag behave so.
func (b *bench) images(tag string, p clustertest.Program) {
	for _, name := range []string{"web", "worker"} {
		b.toy.Runs(string(pinned("reg.example/"+name+":"+tag)), p)
	}
}

func (b *bench) image(name, tag string, p clustertest.Program) {
	b.toy.Runs(string(pinned("reg.example/"+name+":"+tag)), p)
}
