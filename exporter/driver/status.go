package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolling-swarm/rolling/exporter/sample"
)

// picture is how the plugin stands, for people.
type picture struct {
	Build    string           `json:"build,omitempty"`
	Started  time.Time        `json:"started"`
	Interval string           `json:"interval"`
	Asked    bool             `json:"asked"` // by the engine to collect metrics
	Engine   sample.Sight     `json:"engine"`
	Last     round            `json:"lastRound"`
	Graphite *sample.Delivery `json:"graphite"`
	Slots    []slot           `json:"slots"`
}

// slot is one container of the last round.
type slot struct {
	Container string `json:"container"`
	Task      string `json:"task,omitempty"`
	Path      string `json:"path"`
	Writes    bool   `json:"writes"` // the path in Graphite
}

func (d *Driver) picture() picture {
	p := picture{Build: d.parts.Build, Started: d.started.UTC(), Interval: d.parts.Interval.String(), Asked: d.collects.Load(), Slots: []slot{}}
	_, p.Engine = d.parts.Finder.Containers()
	if d.parts.Graphite != nil {
		g := d.parts.Graphite.State()
		p.Graphite = &g
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p.Last = d.last
	for i := range d.latest {
		s := &d.latest[i]
		p.Slots = append(p.Slots, slot{s.Container.ID, s.Container.Name.Task, s.Container.Path(), s.Newest})
	}
	return p
}

// Status serves /metrics, /metrics/engine, /recent, /healthz, /readyz and /debug/state.
func (d *Driver) Status() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry(), promhttp.HandlerOpts{}))
	if d.parts.EngineSock != "" {
		mux.Handle("GET /metrics/engine", d.engineMetrics())
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") })
	mux.HandleFunc("GET /readyz", d.readiness)
	mux.HandleFunc("GET /recent", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		page := d.recent.Page()
		d.mu.Unlock()
		show(w, page, "")
	})
	mux.HandleFunc("GET /debug/state", func(w http.ResponseWriter, _ *http.Request) { show(w, d.picture(), "  ") })
	return mux
}

func show(w http.ResponseWriter, page any, indent string) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", indent)
	_ = encoder.Encode(page) // who asked has gone
}

func say(w http.ResponseWriter, line string) {
	_, _ = fmt.Fprintln(w, line) // who asked has gone
}

// engineMetrics passes on what the engine says of itself, on the socket that it lays into a metrics collector.
func (d *Driver) engineMetrics() http.Handler {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.parts.EngineSock)
	}
	return &httputil.ReverseProxy{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, ResponseHeaderTimeout: answerWithin},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.URL.Path = "http", "engine", "/metrics"
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, fmt.Sprintf("ask the engine for its metrics: %v", err), http.StatusBadGateway)
		},
	}
}

func (d *Driver) readiness(w http.ResponseWriter, _ *http.Request) {
	_, sight := d.parts.Finder.Containers()
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	switch {
	case sight.At.IsZero():
		http.Error(w, "not ready: the engine has not said which containers run: "+sight.Error, http.StatusServiceUnavailable)
	case last.At.IsZero():
		http.Error(w, "not ready: no round yet", http.StatusServiceUnavailable)
	case time.Since(last.At) > stale*d.parts.Interval+time.Second:
		http.Error(w, "not ready: the last round was at "+last.At.Format(time.RFC3339), http.StatusServiceUnavailable)
	case last.Samples == 0 && len(last.Unread) > 0:
		http.Error(w, "not ready: no container can be read: "+last.Unread[0], http.StatusServiceUnavailable)
	default:
		say(w, "ready")
	}
}
