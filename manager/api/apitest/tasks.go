package apitest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

// Tasks are three of web and one of cron on each node of two, wherever something is deployed.
func (e *Engine) Tasks(_ context.Context, name project.Name, env project.EnvironmentName) ([]engine.Task, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p, err := e.project(name)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.Environments, func(x engine.Environment) bool { return x.Name == env })
	if i < 0 {
		return nil, no(engine.NotFound, "project %s has no environment %s", name, env)
	}
	release := p.Environments[i].Release
	if release == "" {
		return nil, nil
	}
	task := func(id, service, slot, node string) engine.Task {
		return engine.Task{ID: id, Service: service, Slot: slot, Node: node, State: "running", Release: release, Since: Begin.Add(time.Minute), Message: "started"}
	}
	web2, web1, web10 := task("taskweb00002", "web", "2", "n2"), task("taskweb00001", "web", "1", "n1"), task("taskweb00010", "web", "10", "n3")
	web1.Address, web1.Health = "10.210.3.9", "healthy"
	web2.Address, web2.Health = "10.210.3.10", "healthy"
	web10.State, web10.Message = "failed", "task: non-zero exit (3)"
	return []engine.Task{web2, web10, web1, task("taskcron0001", "cron", "n1", "n1")}, nil
}

// Samples are known of the first two tasks of web.
func (e *Engine) Samples(_ context.Context, ids []string) (map[string]engine.Samples, error) {
	half, bytes, all := 0.5, 1048576.0, map[string]engine.Samples{}
	for _, id := range ids {
		if id == "taskweb00001" || id == "taskweb00002" {
			all[id] = engine.Samples{IntervalSeconds: 10, End: Begin.Add(time.Hour), CPUCores: []*float64{nil, &half}, MemoryBytes: []*float64{&bytes, &bytes}}
		}
	}
	return all, nil
}

// Tail gives five lines of the first task of web, one more at each question: it is at work. The others wrote nothing, and
// the last one's node is away.
func (e *Engine) Tail(_ context.Context, id string, n int) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch id {
	case "taskweb00001":
		e.lines++
		var all []string
		for i := range 4 + e.lines {
			all = append(all, fmt.Sprintf("line %d", i+1))
		}
		return all[max(0, len(all)-n):], nil
	case "taskweb00002", "taskcron0001":
		return nil, nil
	case "taskweb00010":
		return nil, fmt.Errorf("last lines of task %s: node n3: its agent has no line to this manager", id)
	}
	return nil, no(engine.NotFound, "task %s: it is not there any more", id)
}
