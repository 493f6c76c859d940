package line

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	// maxRequests are answered at once; what a manager asks for beyond is refused.
	maxRequests = 16
	// answerWithin bounds the work on one of them.
	answerWithin = 10 * time.Second
)

// door is all that the manager may ask for.
func (l *Line) door(hello wire.Hello, greeted func()) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathHello, func(w http.ResponseWriter, _ *http.Request) {
		write(w, hello)
		greeted()
	})
	mux.HandleFunc("GET "+wire.PathLines, l.lines)
	mux.HandleFunc("GET "+wire.PathChecks, l.checks)
	mux.HandleFunc("GET "+wire.PathSamples, l.samples)
	mux.HandleFunc("GET "+wire.PathRoutes, func(w http.ResponseWriter, r *http.Request) {
		routes, err := l.parts.Fabric.Routes(r.Context())
		answer(w, routes, err)
	})
	l.addressRoutes(mux)
	l.networkRoutes(mux)
	mux.HandleFunc("GET "+wire.PathHealth, func(w http.ResponseWriter, _ *http.Request) {
		problems := l.parts.Health()
		write(w, wire.Health{Ready: len(problems) == 0, Problems: problems, Now: time.Now().UTC()})
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, fmt.Sprintf("agent %s knows no question %.50q", l.parts.Version, r.URL.Path), http.StatusNotImplemented)
	})
	return bounded(mux)
}

func (l *Line) lines(w http.ResponseWriter, r *http.Request) {
	text := r.URL.Query().Get("n")
	n, err := strconv.Atoi(text)
	bad := err != nil || n < 1 || n > wire.MaxLines
	container, ok := l.container(w, r)
	switch {
	case !ok:
	case bad:
		http.Error(w, fmt.Sprintf("n=%q: want 1 to %d", text, wire.MaxLines), http.StatusBadRequest)
	default:
		lines, err := l.parts.Engine.Lines(r.Context(), container, n)
		answer(w, lines, err)
	}
}

func (l *Line) checks(w http.ResponseWriter, r *http.Request) {
	if container, ok := l.container(w, r); ok {
		checks, err := l.parts.Engine.Checks(r.Context(), container)
		answer(w, checks, err)
	}
}

func (l *Line) samples(w http.ResponseWriter, r *http.Request) {
	tasks := r.URL.Query()["task"]
	if len(tasks) == 0 || len(tasks) > wire.MaxTasks || slices.ContainsFunc(tasks, func(t string) bool { return !isID(t) }) {
		http.Error(w, fmt.Sprintf("want 1 to %d times task=ID", wire.MaxTasks), http.StatusBadRequest)
		return
	}
	samples, err := l.parts.Meter.Samples(r.Context(), tasks)
	answer(w, samples, err)
}

// container finds the one that a question is about: by its own id or by its task's. If it is false, the answer is written.
func (l *Line) container(w http.ResponseWriter, r *http.Request) (string, bool) {
	q := r.URL.Query()
	container, task := q.Get("container"), q.Get("task")
	if !isID(container+task) || container != "" && task != "" {
		http.Error(w, "want container=ID or task=ID", http.StatusBadRequest)
		return "", false
	}
	if task == "" {
		return container, true
	}
	container, err := l.parts.Engine.Container(r.Context(), task)
	if err != nil {
		answer(w, nil, err)
	}
	return container, err == nil
}

// isID keeps names, paths and options out of the engine's API: ids of containers and tasks are letters and digits.
func isID(s string) bool {
	return len(s) >= 12 && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z')
	})
}

// bounded refuses what is too much at once, and ends what takes too long.
func bounded(next http.Handler) http.Handler {
	room := make(chan struct{}, maxRequests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case room <- struct{}{}:
			defer func() { <-room }()
		default:
			http.Error(w, fmt.Sprintf("the agent answers %d requests already", maxRequests), http.StatusServiceUnavailable)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func answer(w http.ResponseWriter, what any, err error) {
	switch {
	case errors.Is(err, wire.ErrUnknown):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadGateway)
	default:
		write(w, what)
	}
}

func write(w http.ResponseWriter, what any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what) // who asked has gone
}
