package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/rolling-swarm/rolling/manager/engine"
)

// TaskPath names a task in an address.
type TaskPath struct {
	Task string `path:"task" minLength:"12" maxLength:"64" pattern:"^[a-z0-9]+$" doc:"The task's whole id." example:"u1ztdzk5s7whw1v5fq9z0q2pd"`
}

// TaskSamples are the recent measurements of one task.
type TaskSamples struct {
	Task string `json:"task" doc:"The task's id."`
	engine.Samples
}

// Lines are the last lines that a task wrote.
type Lines struct {
	Lines []string `json:"lines" nullable:"false" doc:"Oldest first, both streams as they came. A very long line is cut."`
}

type (
	listTasks struct {
		EnvironmentPath
		Paging
	}
	tailInput struct {
		TaskPath
		Tail int `query:"tail" minimum:"1" maximum:"500" default:"100" doc:"How many lines."`
	}
	taskList    struct{ Body List[engine.Task] }
	samplesList struct{ Body List[TaskSamples] }
	linesOutput struct{ Body Lines }
)

func (a *API) taskRoutes() {
	const environment = "/api/v1/projects/{project}/environments/{environment}"
	serve(a, a.operation(http.MethodGet, environment+"/tasks", "listTasks", "tasks", http.StatusOK, "List by service and slot what runs in an environment"), a.listTasks)
	serve(a, a.operation(http.MethodGet, environment+"/samples", "listSamples", "tasks", http.StatusOK, "List what each task of an environment has used lately"), a.listSamples)
	serve(a, a.operation(http.MethodGet, "/api/v1/tasks/{task}/lines", "tailTask", "tasks", http.StatusOK, "Show the last lines that a task wrote"), a.tailTask)
}

// bySlot sorts slots that are numbers as such.
func bySlot(t engine.Task) string {
	slot := t.Slot
	if n, err := strconv.Atoi(slot); err == nil {
		slot = fmt.Sprintf("%010d", n)
	}
	return t.Service + " " + slot + " " + t.ID
}

func (a *API) listTasks(ctx context.Context, in *listTasks) (*taskList, error) {
	all, err := a.parts.Tasks.Tasks(ctx, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	list, err := page(all, in.Paging, false, bySlot)
	return &taskList{list}, err
}

// listSamples pages tasks, so that nodes are asked for no more than one page at once. A task that nobody tells of is missing.
func (a *API) listSamples(ctx context.Context, in *listTasks) (*samplesList, error) {
	all, err := a.parts.Tasks.Tasks(ctx, in.Project, in.Environment)
	if err != nil {
		return nil, err
	}
	tasks, err := page(all, in.Paging, false, bySlot)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range tasks.Items {
		ids = append(ids, t.ID)
	}
	samples, err := a.parts.Tasks.Samples(ctx, ids)
	list := List[TaskSamples]{Items: []TaskSamples{}, NextCursor: tasks.NextCursor}
	for _, id := range ids {
		if s, known := samples[id]; known {
			list.Items = append(list.Items, TaskSamples{id, s})
		}
	}
	if n := len(ids) - len(list.Items); n > 0 {
		list.Warnings = []string{fmt.Sprintf("%d of %d tasks have no samples: they are new, or their node's agent or metrics plugin does not answer", n, len(ids))}
	}
	return &samplesList{list}, err
}

func (a *API) tailTask(ctx context.Context, in *tailInput) (*linesOutput, error) {
	lines, err := a.parts.Tasks.Tail(ctx, in.Task, in.Tail)
	return &linesOutput{Lines{append([]string{}, lines...)}}, err
}
