package line

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	mux.HandleFunc("GET "+wire.PathRoutes, func(w http.ResponseWriter, r *http.Request) {
		routes, err := l.parts.Fabric.Routes(r.Context())
		answer(w, routes, err)
	})
	mux.HandleFunc("GET "+wire.PathHealth, func(w http.ResponseWriter, _ *http.Request) {
		problems := l.parts.Health()
		write(w, wire.Health{Ready: len(problems) == 0, Problems: problems, Now: time.Now().UTC()})
	})
	return bounded(mux)
}

func (l *Line) lines(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	container, task := q.Get("container"), q.Get("task")
	n, err := strconv.Atoi(q.Get("n"))
	switch {
	case !isID(container+task) || container != "" && task != "":
		http.Error(w, "want container=ID or task=ID", http.StatusBadRequest)
		return
	case err != nil || n < 1 || n > wire.MaxLines:
		http.Error(w, fmt.Sprintf("n=%q: want 1 to %d", q.Get("n"), wire.MaxLines), http.StatusBadRequest)
		return
	}
	if task != "" {
		if container, err = l.parts.Engine.Container(r.Context(), task); err != nil {
			answer(w, nil, err)
			return
		}
	}
	lines, err := l.parts.Engine.Lines(r.Context(), container, n)
	answer(w, lines, err)
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
