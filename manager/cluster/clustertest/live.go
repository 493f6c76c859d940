package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/cluster"
)

// follow answers GET /events, which ends with the request: services' changes alone, since nobody asks for more.
func (t *Toy) follow(r *http.Request) *http.Response {
	out, in := io.Pipe()
	news := make(chan string, 64)
	t.mu.Lock()
	t.watchers[news] = true
	t.mu.Unlock()
	go func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.watchers, news)
		}()
		for {
			select {
			case <-r.Context().Done():
				_ = in.CloseWithError(r.Context().Err())
				return
			case id := <-news:
				if _, err := fmt.Fprintf(in, `{"Type":"service","Action":"update","Actor":{"ID":%q},"scope":"swarm"}`+"\n", id); err != nil {
					return
				}
			}
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}, "Api-Version": {"1.51"}}, Body: out}
}

// tell is of a service that has changed. Whoever does not keep up misses it.
func (t *Toy) tell(id string) {
	for news := range t.watchers {
		select {
		case news <- id:
		default:
		}
	}
}

func (t *Toy) serveTasks(w http.ResponseWriter, r *http.Request, path []string) error {
	if len(path) > 0 {
		i := slices.IndexFunc(t.tasks, func(k *task) bool { return k.ID == path[0] })
		switch {
		case i < 0:
			return refuse(http.StatusNotFound, "task %s not found", path[0])
		case len(path) == 2:
			return t.serveLines(w, t.tasks[i], r.URL.Query().Get("tail"))
		}
		answer(w, t.tasks[i].Task)
		return nil
	}
	filters, err := filtersOf(r.URL.Query())
	if err != nil {
		return err
	}
	for id := range filters["service"] {
		if !slices.ContainsFunc(t.services, func(s *service) bool { return s.ID == id }) {
			return refuse(http.StatusNotFound, "service %s not found", id)
		}
	}
	all := []swarm.Task{}
	for _, k := range t.tasks {
		ofService, desired := filters["service"], filters["desired-state"]
		if (len(ofService) == 0 || ofService[k.ServiceID]) && (len(desired) == 0 || desired[string(k.DesiredState)]) &&
			!filters["runtime"]["attachment"] && t.labelled(k, filters["label"]) {
			all = append(all, k.Task)
		}
	}
	answer(w, all)
	return nil
}

func filtersOf(q url.Values) (filters map[string]map[string]bool, err error) {
	if text := q.Get("filters"); text != "" {
		err = json.Unmarshal([]byte(text), &filters)
	}
	return filters, err
}

// labelled: a task has the labels of its service.
func (t *Toy) labelled(k *task, wanted map[string]bool) bool {
	i := slices.IndexFunc(t.services, func(s *service) bool { return s.ID == k.ServiceID })
	for label := range wanted {
		name, value, _ := strings.Cut(label, "=")
		if i < 0 || t.services[i].Spec.Labels[name] != value {
			return false
		}
	}
	return true
}

func living(t *testing.T, w World) {
	id, _ := w.running(t, 2)
	w.until(t, id, runs(2, "v1"))
	all, err := w.Swarm.Living(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of, err := w.Swarm.TasksOf(t.Context(), map[string]string{contract.Project: "check"})
	if err != nil || len(of) != 2 {
		t.Fatalf("%d tasks of the project, %v", len(of), err)
	}
	for _, want := range of {
		i := slices.IndexFunc(all, func(k swarm.Task) bool { return k.ID == want.ID })
		one, err := w.Swarm.Task(t.Context(), want.ID)
		if i < 0 || err != nil || one.NodeID == "" || one.Status.ContainerStatus == nil || one.Status.ContainerStatus.ContainerID == "" {
			t.Errorf("task %s: %d, %+v, %v", want.ID, i, one, err)
		}
	}
	if of, err := w.Swarm.TasksOf(t.Context(), map[string]string{contract.Project: "another"}); err != nil || len(of) != 0 {
		t.Errorf("%d tasks of another project, %v", len(of), err)
	}
	if _, err := w.Swarm.Task(t.Context(), "nobody00nobody00nobody000"); !errors.Is(err, cluster.ErrGone) {
		t.Errorf("a task that is not there: %v", err)
	}
}

func changesAreTold(t *testing.T, w World) {
	id, spec := w.running(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, ended := make(chan string, 100), make(chan error, 1)
	go func() { ended <- w.Swarm.Changes(ctx, func(id string) { told <- id }) }()
	for n := range uint64(20) { // the stream begins at some time: what is written before is not told
		*spec.Mode.Replicated.Replicas = 1 + n%2
		w.update(t, id, spec)
		select {
		case got := <-told:
			if got != id {
				t.Errorf("told of %s, want %s", got, id)
			}
			cancel()
			if err := <-ended; err == nil || !errors.Is(err, context.Canceled) {
				t.Errorf("the stream ended with %v", err)
			}
			return
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Second):
		}
	}
	t.Fatal("nobody tells of a change")
}
