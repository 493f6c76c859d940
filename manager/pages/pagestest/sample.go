package pagestest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
	"github.com/rolling-swarm/rolling/manager/rollout"
)

const digest = "sha256:3f1c0de5a7b94e8852d6b1a0c4e7f9d2b6a8c1e0f3d5a7b9c2e4f6a8b0d1e3f5"

// Sample is a world with something of everything, as it stands at a moment.
func Sample(now time.Time) *World {
	w := &World{Now: now, Made: map[project.Name][]engine.Release{}, Closed: map[project.Name]engine.Gates{}, Running: map[string][]engine.Task{},
		Measured: map[string]engine.Samples{}, Lines: map[string][]string{}, Stories: map[engine.RolloutID][]engine.Event{}, Plans: map[string]engine.Plan{}}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	env := func(name, stage, rel string, services ...engine.Service) engine.Environment {
		for i := range services {
			services[i].FullName = "x-" + name + "_" + services[i].Name
			services[i].Image = "registry.example/" + services[i].Name + ":2026.11@" + digest
			services[i].Release = release.ID(rel)
		}
		return engine.Environment{Name: project.EnvironmentName(name), Stage: stage, Release: release.ID(rel), Services: services}
	}
	svc := func(name string, running, wanted uint64) engine.Service {
		return engine.Service{Name: name, Running: running, Wanted: wanted}
	}
	add := func(name string, version uint64, envs ...engine.Environment) *engine.Overview {
		w.Views = append(w.Views, engine.Overview{Project: engine.Project{Name: project.Name(name), Version: version, Updated: ago(time.Duration(version) * 7 * time.Hour),
			By: "lin", FileName: "rolling.yml", Environments: envs}, Last: map[project.EnvironmentName]engine.Rollout{}})
		return &w.Views[len(w.Views)-1]
	}
	last := func(o *engine.Overview, e string, kind engine.Kind, rel string, state release.Outcome, began, took time.Duration) *engine.Rollout {
		r := engine.Rollout{ID: engine.RolloutID(fmt.Sprintf("ro%d", 90-len(w.History))), Kind: kind, Project: o.Name, Environment: project.EnvironmentName(e),
			Release: release.ID(rel), From: "r-40", By: "wei", State: state, Started: ago(began)}
		if state != release.Running {
			end := r.Started.Add(took)
			r.Ended = &end
		}
		w.History = append(w.History, r)
		o.Last[r.Environment] = r
		return &w.History[len(w.History)-1]
	}

	gateway := add("gateway", 3, env("test", "test", "r-18", svc("proxy", 1, 1)), env("production", "production", "r-17", svc("proxy", 6, 6)))
	gateway.Environments[0].Scale = map[project.ServiceName]uint64{"proxy": 1}
	orders := add("orders", 12, env("test", "test", "r-42", svc("api", 1, 1), svc("web", 1, 1)), env("staging", "pre-release", "r-42", svc("api", 2, 2), svc("web", 2, 2)),
		env("production", "production", "r-41", svc("api", 4, 5), svc("web", 24, 24), svc("worker", 3, 3)))
	payments := add("payments", 5, env("test", "test", "r-9", svc("ledger", 0, 2)), env("grey", "grey", "r-8", svc("ledger", 1, 1)), env("production", "production", "r-8", svc("ledger", 8, 8)))
	until := now.Add(3 * time.Hour)
	payments.Environments[2].FrozenUntil, payments.Environments[2].Approvals = &until, 2
	search := add("search", 1, env("zhang", "isolated", "", []engine.Service{}...), env("li", "isolated", "r-3", svc("index", 0, 0)), env("test", "test", "r-3", svc("index", 3, 3)))

	last(orders, "production", engine.KindDeploy, "r-42", release.Running, 2*time.Minute+10*time.Second, 0)
	orders.Environments[2].Rollout = "ro90"
	last(orders, "staging", engine.KindDeploy, "r-42", release.Succeeded, 50*time.Minute, 80*time.Second)
	last(payments, "test", engine.KindDeploy, "r-9", release.RolledBack, 3*time.Hour, 4*time.Minute)
	last(gateway, "test", engine.KindScale, "r-18", release.Succeeded, 4*time.Hour, 9*time.Second)
	last(orders, "test", engine.KindDeploy, "r-42", release.Succeeded, 5*time.Hour, 31*time.Second)
	last(gateway, "production", engine.KindDeploy, "r-17", release.Succeeded, 26*time.Hour, 3*time.Minute)
	last(payments, "grey", engine.KindDeploy, "r-8", release.Cancelled, 50*time.Hour, time.Minute)
	last(payments, "production", engine.KindRollback, "r-8", release.Succeeded, 70*time.Hour, 2*time.Minute)
	last(search, "test", engine.KindDeploy, "r-3", release.TimedOut, 9*24*time.Hour, 10*time.Minute)
	w.going(now)
	w.failed()
	w.releases(now)
	w.tasks(now)
	w.plans()
	return w
}

// going is the rollout that runs.
func (w *World) going(now time.Time) {
	r := &w.History[0]
	r.From = "r-41"
	r.Plan = "orders-production at release r-42: 2 steps\n~ service orders-production_api: release r-42\n    image: registry.example/api:2026.10 -> registry.example/api:2026.11\n"
	r.Services = []engine.Progress{
		{Service: "orders-production_api", State: rollout.Progressing, Running: 3, Wanted: 5, Others: 2, Reason: "2 of 5 tasks still start"},
		{Service: "orders-production_web", State: rollout.Succeeded, Running: 24, Wanted: 24},
	}
	for i, text := range []string{"rollout ro90 begins: deploy of orders-production to release r-42", "~ service orders-production_web: release r-42", "service orders-production_web: succeeded: 24 of 24 running, 0 others",
		"~ service orders-production_api: release r-42", "service orders-production_api: progressing: 3 of 5 running, 2 others"} {
		kinds := []string{"rollout.started", "rollout.step", "rollout.progress", "rollout.step", "rollout.progress"}
		w.Stories[r.ID] = append(w.Stories[r.ID], engine.Event{Seq: uint64(i + 1), At: now.Add(time.Duration(i*25-130) * time.Second), Type: kinds[i], Rollout: r.ID, Text: text})
	}
}

// failed is the rollout that went back.
func (w *World) failed() {
	r := &w.History[2]
	code := 1
	r.Cause = "task ledger.2 on n3 ended with exit code 1 within 5 s, three times in a row"
	r.Failing = &rollout.Failing{TaskID: "tk9", Slot: 2, NodeID: "n3", State: "failed", Err: "task: non-zero exit (1)", ExitCode: &code}
	r.Lines = []string{"\x1b[32mINFO\x1b[0m  ledger 2026.11 starts", "\x1b[31mERROR\x1b[0m cannot open /etc/ledger/keys.pem: no such file or directory", "exit 1"}
	r.Services = []engine.Progress{{Service: "payments-test_ledger", State: rollout.RolledBack, Running: 2, Wanted: 2, Reason: r.Cause}}
	w.Stories[r.ID] = []engine.Event{
		{Seq: 1, At: r.Started, Type: "rollout.started", Text: "rollout ro88 begins: deploy of payments-test to release r-9"},
		{Seq: 2, At: r.Started.Add(time.Minute), Type: "rollout.back", Text: "rollout ro88 goes back: " + r.Cause},
		{Seq: 3, At: *r.Ended, Type: "rollout.ended", Text: "rollout ro88 ended: rolled_back"},
	}
}

func (w *World) releases(now time.Time) {
	made := func(n int, reached ...project.EnvironmentName) engine.Release {
		return engine.Release{Release: release.Release{ID: release.ID(fmt.Sprintf("r-%d", n)), Project: "orders", Commit: fmt.Sprintf("%x9c1e7b0a4d2f6835be91c7d04a6f2e8b5d3c1a%02d", n, n), Author: "wei",
			Created: now.Add(-time.Duration(44-n) * 9 * time.Hour), Images: map[project.ServiceName]release.Image{
				"api": release.Image("registry.example/orders/api:2026.11@" + digest), "web": release.Image("registry.example/orders/web:2026.11@" + digest),
				"worker": release.Image("registry.example/orders/worker:2026.11@" + digest)}}, Reached: reached}
	}
	discarded := made(39, "test")
	discarded.Discarded = &release.Discard{Release: "r-39", By: "lin", Reason: "drops orders with more than 100 lines", At: now.Add(-40 * time.Hour)}
	approved := made(42, "test", "staging")
	approved.Approvals = []release.Approval{{Release: "r-42", Environment: "production", By: "lin", Agrees: true, Reason: "looked at in staging", At: now.Add(-time.Hour)}}
	w.Made["orders"] = []engine.Release{made(43), approved, made(41, "test", "staging", "production"), made(40, "test", "staging", "production"), discarded}
	skipped := func(e string) []release.Refusal {
		return []release.Refusal{{Code: release.StageSkipped, Text: "release r-43 has not succeeded in " + e + ": deploy it there first"}}
	}
	busy := release.Refusal{Code: release.RolloutRunning, Text: "release r-42 is being rolled out to production since 08:40: wait for it, or cancel it"}
	gone := []release.Refusal{{Code: release.Discarded, Text: "release r-39 was discarded by lin: drops orders with more than 100 lines"}}
	w.Closed["orders"] = engine.Gates{
		"r-43": {"staging": skipped("test"), "production": append(skipped("staging"), release.Refusal{Code: release.ApprovalMissing, Text: "production wants 1 approvals of people other than the author, release r-43 has 0"})},
		"r-42": {"production": {busy}}, "r-41": {"production": {busy}}, "r-40": {"production": {busy}},
		"r-39": {"test": gone, "staging": gone, "production": gone},
	}
}

func (w *World) tasks(now time.Time) {
	add := func(at string, t engine.Task, measured bool) {
		w.Running[at] = append(w.Running[at], t)
		w.Lines[t.ID] = lines(t, now)
		if measured {
			w.Measured[t.ID] = samples(len(w.Measured), now)
		}
	}
	for i := range 5 {
		t := engine.Task{ID: fmt.Sprintf("api%dq7x2m", i+1), Service: "api", Slot: fmt.Sprint(i + 1), Node: fmt.Sprintf("n%d", i%3+1), Address: fmt.Sprintf("10.210.3.%d", 17+i),
			State: "running", Health: "healthy", Release: "r-42", Since: now.Add(-time.Duration(3+i*40) * time.Minute)}
		switch i {
		case 3:
			t.Health, t.Since, t.Message = "starting", now.Add(-20*time.Second), "started"
		case 4:
			t.State, t.Health, t.Address, t.Message, t.Since = "failed", "", "", "task: non-zero exit (137)", now.Add(-50*time.Second)
		}
		add("orders/production", t, i < 4)
	}
	for i := range 24 {
		add("orders/production", engine.Task{ID: fmt.Sprintf("web%dk3v8", i+1), Service: "web", Slot: fmt.Sprint(i + 1), Node: fmt.Sprintf("n%d", i%3+1), Address: fmt.Sprintf("10.210.3.%d", 40+i),
			State: "running", Health: "healthy", Release: "r-42", Since: now.Add(-time.Duration(90-i) * time.Second)}, true)
	}
	for i := range 3 {
		add("orders/production", engine.Task{ID: fmt.Sprintf("wrk%d", i+1), Service: "worker", Slot: fmt.Sprintf("n%d", i+1), Node: fmt.Sprintf("n%d", i+1), Address: fmt.Sprintf("10.210.3.%d", 80+i),
			State: "running", Release: "r-41", Since: now.Add(-30 * time.Hour)}, i != 2)
	}
}

func samples(n int, now time.Time) engine.Samples {
	s := engine.Samples{IntervalSeconds: 10, End: now}
	for i := range 30 {
		x := float64(i)
		cpu := 0.12 + 0.06*math.Sin(x/3+float64(n)) + 0.03*math.Sin(x*1.7+float64(n)*2) + 0.25*math.Exp(-math.Pow(x-20+float64(n%7), 2)/4)
		memory := (118 + 2.1*x + 6*math.Sin(x/5+float64(n))) * (1 << 20)
		c, m := &cpu, &memory
		if n == 1 && i > 8 && i < 13 {
			c, m = nil, nil
		}
		s.CPUCores, s.MemoryBytes = append(s.CPUCores, c), append(s.MemoryBytes, m)
	}
	return s
}

func lines(t engine.Task, now time.Time) []string {
	var all []string
	for i := range 40 {
		at := now.Add(time.Duration(i-40) * 700 * time.Millisecond).Format("15:04:05.000")
		switch i % 5 {
		case 1:
			all = append(all, at+" \x1b[33mWARN\x1b[0m  slow query: 412 ms: select * from orders where customer = $1")
		case 3:
			all = append(all, at+` INFO  {"method":"POST","path":"/orders","status":201,"ms":`+fmt.Sprint(8+i)+`,"客户":"王小明"}`)
		default:
			all = append(all, fmt.Sprintf("%s INFO  %s.%s GET /orders/%d 200 %d ms", at, t.Service, t.Slot, 48210+i, 3+i%9))
		}
	}
	return all
}

func (w *World) plans() {
	change := engine.Change{Field: "image", From: "registry.example/orders/api:2026.10@sha256:77aa", To: "registry.example/orders/api:2026.11@sha256:3f1c"}
	p := engine.Plan{Project: "orders", Environment: "staging", Release: "r-43", Steps: []engine.Step{
		{Action: "create", Object: "config orders-staging_limits-5c1e", Cause: "the project file has another content for limits"},
		{Action: "update", Object: "service orders-staging_api", Cause: "release r-43", Restarts: true, Changes: []engine.Change{change, {Field: "env.LIMIT", From: "", To: "100"}}},
		{Action: "update", Object: "service orders-staging_web", Cause: "release r-43", Restarts: true, ByHand: true, Changes: []engine.Change{{Field: "deploy.replicas", From: "4", To: "2"}}},
		{Action: "remove", Object: "config orders-staging_limits-11d0", Cause: "nothing uses it any more"},
	}, ByHand: []string{"service orders-staging_web"}, Notes: []engine.Remark{{Object: "service web", Text: "2 tasks, as it was scaled; the project file's count does not hold"}}}
	p.Text = "orders-staging at release r-43: 4 steps\n"
	w.Plans["orders/staging/r-43"] = p
	small := p
	small.Environment, small.ByHand, small.Notes, small.Steps = "test", nil, nil, p.Steps[1:2]
	small.Text = "orders-test at release r-43: 1 step\n"
	w.Plans["orders/test/r-43"] = small
	back := small
	back.Environment, back.Release, back.Text = "staging", "r-41", "orders-staging at release r-41: 1 step\n"
	w.Plans["orders/staging/back"] = back
}

// Many is a world of so many projects, all of them well.
func Many(n int, now time.Time) *World {
	w := Sample(now)
	for i := range n - len(w.Views) {
		one := engine.Overview{Project: engine.Project{Name: project.Name(fmt.Sprintf("service-%03d", i)), Version: 1, Updated: now, FileName: "rolling.yml"}, Last: map[project.EnvironmentName]engine.Rollout{}}
		for _, stage := range []string{"test", "pre-release", "production"} {
			one.Environments = append(one.Environments, engine.Environment{Name: project.EnvironmentName(stage), Stage: stage, Release: "r-5", Services: []engine.Service{{Name: "web", Running: 3, Wanted: 3}}})
			end := now
			one.Last[project.EnvironmentName(stage)] = engine.Rollout{ID: "ro1", Kind: engine.KindDeploy, Project: one.Name, Environment: project.EnvironmentName(stage), Release: "r-5", State: release.Succeeded, Started: now.Add(-time.Hour), Ended: &end}
		}
		w.Views = append(w.Views, one)
	}
	return w
}

// Poison is what a page must not take for its own.
const Poison = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{.}}javascript:alert(3)`

// Poisoned is a world in which every text that comes from outside tries to be part of the page.
func Poisoned(now time.Time) *World {
	w := Sample(now)
	name := project.Name(Poison)
	env := engine.Environment{Name: Poison, Stage: "test", Release: Poison, Scale: map[project.ServiceName]uint64{Poison: 1},
		Services: []engine.Service{{Name: Poison, FullName: Poison, Image: Poison + "@" + Poison, Release: Poison, Running: 1, Wanted: 2, Update: Poison}}}
	odd := env
	odd.Name, odd.Stage = "odd", Poison
	end := now
	r := engine.Rollout{ID: Poison, Kind: Poison, Project: name, Environment: env.Name, Release: Poison, From: Poison, By: Poison, State: release.RolledBack, Started: now, Ended: &end,
		Cause: Poison, Failing: &rollout.Failing{TaskID: Poison, State: Poison, Err: Poison}, Lines: []string{Poison}, Notes: []string{Poison}, Plan: Poison,
		Services: []engine.Progress{{Service: Poison, State: Poison, Running: 1, Wanted: 2, Others: 1, Reason: Poison}}}
	w.History = []engine.Rollout{r}
	w.Stories = map[engine.RolloutID][]engine.Event{Poison: {{Type: Poison, At: now, Text: Poison}}}
	w.Views = append(w.Views, engine.Overview{Last: map[project.EnvironmentName]engine.Rollout{env.Name: r}, Project: engine.Project{Name: name, By: Poison, Repository: Poison,
		FileName: Poison, Environments: []engine.Environment{env, odd}}})
	w.Made[name] = []engine.Release{{Release: release.Release{ID: Poison, Project: name, Commit: Poison, Author: Poison, Created: now, Images: map[project.ServiceName]release.Image{Poison: Poison + "@" + Poison}},
		Approvals: []release.Approval{{By: Poison, Reason: Poison, Environment: env.Name, At: now}}}}
	w.Closed[name] = engine.Gates{Poison: {"odd": {{Code: Poison, Text: Poison}}}}
	at := Poison + "/" + Poison
	w.Running[at] = []engine.Task{{ID: Poison, Service: Poison, Slot: Poison, Node: Poison, Address: Poison, State: Poison, Health: Poison, Release: Poison, Message: Poison, Since: now}}
	w.Lines[Poison] = []string{Poison, "\x1b[31m" + Poison, strings.Repeat(Poison, 100)}
	p := engine.Plan{Project: name, Environment: env.Name, Release: Poison, Text: Poison, ByHand: []string{Poison}, Notes: []engine.Remark{{Object: Poison, Text: Poison}},
		Steps: []engine.Step{{Action: Poison, Object: Poison, Cause: Poison, Restarts: true, ByHand: true, Text: Poison, Changes: []engine.Change{{Field: Poison, From: Poison, To: Poison}}}}}
	w.Plans[at+"/"+Poison], w.Plans[at+"/back"] = p, p
	return w
}
