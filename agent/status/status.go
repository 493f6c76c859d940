// Package status is the agent's door for people and for Prometheus: /healthz, /readyz, /metrics and /debug/state on a
// unix socket of the node. It knows HTTP. What is ready, counted and shown, the rooms of the agent say.
package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Pages are what is behind the door.
type Pages struct {
	// Problems are why the agent is not ready; none if it is.
	Problems func() []string
	// State is shown as JSON.
	State func() any
	// Collectors are the rooms' figures.
	Collectors []prometheus.Collector
}

// Handler serves the pages.
func (p Pages) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(p.Collectors...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if problems := p.Problems(); len(problems) > 0 {
			http.Error(w, "not ready: "+strings.Join(problems, "\nnot ready: "), http.StatusServiceUnavailable)
			return
		}
		say(w, "ready")
	})
	mux.HandleFunc("GET /debug/state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(p.State()) // who asked has gone
	})
	return mux
}

func say(w io.Writer, word string) {
	_, _ = io.WriteString(w, word+"\n") // who asked has gone
}

const (
	headerWithin = 5 * time.Second
	endWithin    = 2 * time.Second
)

// Serve serves on the socket until the context ends. A socket that a killed agent left is taken over.
func Serve(ctx context.Context, socket string, pages http.Handler) error {
	listener, err := listen(socket)
	if err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	server := &http.Server{Handler: pages, ReadHeaderTimeout: headerWithin}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("status socket: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		return errors.Join(fmt.Errorf("status socket: %w", err), server.Close())
	}
	return nil
}

func listen(socket string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", socket)
}

// Ask reads a page of the agent that serves on the socket; an error if the answer is not 200.
func Ask(ctx context.Context, socket, page string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+page, nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the agent on %s: %w", socket, err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("ask the agent on %s: %w", socket, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(strings.TrimSpace(string(text)))
	}
	return string(text), nil
}
