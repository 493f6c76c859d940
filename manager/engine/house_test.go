package engine_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

func TestProjects(t *testing.T) {
	story(t, "a bad file is refused with all that is wrong, and nothing is kept", func(b *bench) {
		_, err := b.ApplyProject(b.Context(), engine.Apply{File: []byte(strings.NewReplacer("replicas: 3", "replicas: -2", "stage: test", "stage: tset").Replace(ordersFile))})
		if e := b.refused(err, engine.Invalid, "rolling.yml"); len(e.Problems) != 3 {
			b.Errorf("problems: %v", e.Problems)
		}
		if all, err := b.Projects(b.Context()); err != nil || len(all) != 0 {
			b.Errorf("%v %v", all, err)
		}
	})
	story(t, "versions rise with changes, and a stale one is refused", func(b *bench) {
		first := b.apply(ordersFile)
		if again := b.apply(ordersFile); again.Changed || again.Version != first.Version || !first.Changed {
			b.Errorf("the same file again: %+v", again)
		}
		other := []byte(strings.Replace(ordersFile, "replicas: 3", "replicas: 4", 1))
		none := uint64(0)
		_, err := b.ApplyProject(b.Context(), engine.Apply{File: other, IfVersion: &none})
		b.refused(err, engine.Exists)
		if p, err := b.ApplyProject(b.Context(), engine.Apply{File: other, DryRun: true}); err != nil || p.Changed == false {
			b.Errorf("dry: %+v %v", p, err)
		}
		second, err := b.ApplyProject(b.Context(), engine.Apply{File: other, IfVersion: &first.Version})
		if err != nil || second.Version <= first.Version {
			b.Fatalf("%+v %v", second, err)
		}
		_, err = b.ApplyProject(b.Context(), engine.Apply{File: []byte(ordersFile), IfVersion: &first.Version})
		b.refused(err, engine.Stale)
		if p, err := b.Project(b.Context(), "orders"); err != nil || p.File != string(other) || p.Version != second.Version || len(p.Environments) != 2 {
			b.Errorf("%+v %v", p, err)
		}
	})
	story(t, "an environment that runs something stays in the file", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		_, err := b.ApplyProject(b.Context(), engine.Apply{File: []byte(strings.Replace(ordersFile, "    production: {stage: production, rollout: {deadline: 2m}}\n", "", 1))})
		b.refused(err, engine.InUse, "production", "r-1")
	})
	story(t, "a project that runs something is deleted only when asked for that too", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.refused(b.DeleteProject(b.Context(), engine.Delete{Project: "orders"}), engine.InUse, "orders-production_web")
		if err := b.DeleteProject(b.Context(), engine.Delete{Project: "orders", Environment: "production", Services: true}); err != nil {
			b.Fatal(err)
		}
		if got := b.state("test") + b.state("production"); got != "web:1 1/1, worker:1 1/1" {
			b.Errorf("left: %s", got)
		}
		if err := b.DeleteProject(b.Context(), engine.Delete{Project: "orders", Services: true, By: "ann"}); err != nil {
			b.Fatal(err)
		}
		_, err := b.Project(b.Context(), "orders")
		b.refused(err, engine.NotFound)
		o, err := b.toy.Swarm().Observe(b.Context())
		if err != nil || len(o.Services)+len(o.Networks) != 0 {
			b.Errorf("left: %+v %v", o, err)
		}
		b.apply(ordersFile)
		b.runs("1")
	})
	story(t, "what runs is adopted by a manager that has lost its store", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		b.stop()
		b.store = &storetest.Memory{}
		b.start()
		b.apply(ordersFile)
		if env := b.environment("test"); !env.Adopted || env.Release != "" || len(env.Services) != 2 || env.Services[0].Release != "r-1" {
			b.Errorf("test: %+v", env)
		}
		id := b.release("1")
		if p := b.plan("test", id); !p.Empty {
			b.Errorf("the plan is\n%s", p.Text)
		}
		b.want(b.ended(b.deploy("test", id)), release.Succeeded)
		if env := b.environment("test"); env.Adopted || env.Release != id {
			b.Errorf("test: %+v", env)
		}
	})
}

func TestReleases(t *testing.T) {
	story(t, "images are pinned, numbered, and kept for ever", func(b *bench) {
		b.apply(ordersFile)
		r, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", Commit: "abcdef0", By: "ann",
			Images: map[project.ServiceName]string{"": "reg.example/all:1", "web": "reg.example/web:1"}})
		if err != nil || r.ID != "r-1" || r.Images["web"] != pinned("reg.example/web:1") || r.Images["worker"] != pinned("reg.example/all:1") || r.Author != "ann" {
			b.Fatalf("%+v %v", r, err)
		}
		if second := b.release("2"); second != "r-2" {
			b.Errorf("the second is %s", second)
		}
		_, err = b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", ID: "r-2", Images: map[project.ServiceName]string{"": "reg.example/all:1"}})
		b.refused(err, engine.Exists)
		if all, err := b.Releases(b.Context(), "orders"); err != nil || len(all) != 2 {
			b.Errorf("%v %v", all, err)
		}
	})
	story(t, "what cannot be is refused", func(b *bench) {
		b.apply(ordersFile)
		create := func(images map[project.ServiceName]string) error {
			_, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "orders", Images: images})
			return err
		}
		b.refused(create(map[project.ServiceName]string{"web": "reg.example/nobody:1", "": "x"}), engine.ImageUnknown, "nobody")
		e := b.refused(create(map[project.ServiceName]string{"weg": "x"}), engine.Invalid, `did you mean "web"`)
		if len(e.Problems) != 3 {
			b.Errorf("problems: %v", e.Problems)
		}
		if err := create(map[project.ServiceName]string{"": "reg.example/away:1"}); err == nil || engine.CodeOf(err) != "" {
			b.Errorf("a registry that is away: %v", err)
		}
		if all, err := b.Releases(b.Context(), "orders"); err != nil || len(all) != 0 {
			b.Errorf("%v %v", all, err)
		}
		_, err := b.CreateRelease(b.Context(), engine.NewRelease{Project: "order"})
		b.refused(err, engine.NotFound, "order")
	})
	story(t, "a discarded one goes nowhere, and one in use is not discarded", func(b *bench) {
		b.apply(ordersFile)
		used, other := b.runs("1"), b.release("2")
		_, err := b.Discard(b.Context(), engine.Discard{Project: "orders", Release: used})
		b.refused(err, engine.InUse)
		r, err := b.Discard(b.Context(), engine.Discard{Project: "orders", Release: other, By: "bob", Reason: "it is slow"})
		if err != nil || r.Discarded == nil || r.Discarded.By != "bob" {
			b.Fatalf("%+v %v", r, err)
		}
		_, err = b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "test", Release: other})
		b.refused(err, engine.Refused, "it is slow")
		if r, err := b.Release(b.Context(), "orders", used); err != nil || !slices.Equal(r.Reached, []project.EnvironmentName{"test", "production"}) {
			b.Errorf("%+v %v", r, err)
		}
	})
}

func TestEvents(t *testing.T) {
	story(t, "a watcher gets all of one rollout from where it likes, and then the end", func(b *bench) {
		b.apply(ordersFile)
		id := b.release("1")
		r := b.deploy("test", id)
		live, err := b.Watch(b.Context(), r.ID, 0)
		if err != nil {
			b.Fatal(err)
		}
		var seen []engine.Event
		for v := range live {
			seen = append(seen, v)
		}
		b.want(b.ended(b.deploy("production", id)), release.Succeeded)
		first, last := seen[0], seen[len(seen)-1]
		if first.Type != "rollout.started" || last.Type != "rollout.ended" || last.State != release.Succeeded {
			b.Errorf("from %+v to %+v", first, last)
		}
		steps := 0
		for i, v := range seen {
			if v.Rollout != r.ID || i > 0 && v.Seq <= seen[i-1].Seq {
				b.Errorf("event %d: %+v", i, v)
			}
			if v.Type == "rollout.step" {
				steps++
			}
		}
		if steps != 3 { // a network and two services
			b.Errorf("%d steps", steps)
		}
		late, err := b.Watch(b.Context(), r.ID, seen[1].Seq)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for v := range late {
			if v.Seq != seen[n+2].Seq {
				b.Fatalf("replayed %d, want %d", v.Seq, seen[n+2].Seq)
			}
			n++
		}
		if n != len(seen)-2 {
			b.Errorf("replayed %d of %d", n, len(seen)-2)
		}
		_, err = b.Watch(b.Context(), "ro99", 0)
		b.refused(err, engine.NotFound)
	})
	story(t, "all events come as they happen, until nobody listens", func(b *bench) {
		b.apply(ordersFile)
		n, err := b.LastEvent(b.Context())
		if err != nil || n != 1 {
			b.Fatalf("the last is %d: %v", n, err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		all, err := b.Events(ctx, n)
		if err != nil {
			b.Fatal(err)
		}
		b.release("1")
		if v := <-all; v.Type != "release.created" || v.Seq != n+1 {
			b.Errorf("%+v", v)
		}
		cancel()
		for range all {
			b.Error("one more")
		}
	})
	story(t, "the audit tells of what was done and of what was refused", func(b *bench) {
		b.apply(ordersFile)
		id := b.release("1")
		_, err := b.Deploy(b.Context(), engine.Deploy{Project: "orders", Environment: "production", Release: id, By: "eve"})
		b.refused(err, engine.Refused)
		all, err := b.Audit(b.Context(), 0, 0)
		if err != nil || len(all) != 3 || all[0].By != "eve" || all[0].Action != "deploy refused" || all[2].Action != "project apply" {
			b.Errorf("%+v %v", all, err)
		}
	})
}

func TestSwarm(t *testing.T) {
	story(t, "nodes and addresses are named", func(b *bench) {
		b.apply(ordersFile)
		b.runs("1")
		nodes, err := b.Nodes(b.Context())
		if err != nil || len(nodes) != 3 || nodes[0].Name != "n1" || !nodes[0].Leader || nodes[0].Tasks+nodes[1].Tasks+nodes[2].Tasks != 7 {
			b.Errorf("%+v %v", nodes, err)
		}
		all, err := b.Addresses(b.Context(), engine.AddressesOf{Project: "orders", Environment: "production"})
		if err != nil || len(all) != 5 {
			b.Fatalf("%+v %v", all, err)
		}
		a := all[0]
		if a.Address != netip.MustParseAddr("10.210.3.2") || a.Service != "web" || a.Slot != "1" || a.Node == "" || a.Task == "" || a.State != "running" ||
			a.Network != "orders-production_app" || a.Since.IsZero() {
			b.Errorf("%+v", a)
		}
		if err := b.Ready(b.Context()); err != nil {
			b.Error(err)
		}
		b.toy.Away(true)
		if err := b.Ready(b.Context()); err == nil {
			b.Error("ready without a Swarm")
		}
	})
}
