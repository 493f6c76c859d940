package driver

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Picture is how it stands, for people and for Prometheus.
type Picture struct {
	Ready    bool
	Refused  string            // why no call is served
	Problems map[string]string // what does not work at present, by step
	State    any               // for /debug/state, as JSON
	Figures  []Figure
}

// Figure is one sample of a metric.
type Figure struct {
	Name, Help string
	Counter    bool
	Value      float64
	Label      string // the label's name, if it has one
	Of         string // its value
}

// lookWithin: a loop that is busy for longer is not ready.
const lookWithin = time.Second

// pageWithin is longer: who reads /debug/state wants to know why a node is busy.
const pageWithin = 5 * time.Second

// Status serves /metrics, /healthz, /readyz and /debug/state.
func Status(look func(context.Context) (Picture, error)) *http.ServeMux {
	registry := prometheus.NewRegistry()
	registry.MustRegister(figures{look}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, look) })
	mux.HandleFunc("GET /debug/state", func(w http.ResponseWriter, r *http.Request) { state(w, r, look) })
	return mux
}

func ready(w http.ResponseWriter, r *http.Request, look func(context.Context) (Picture, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), lookWithin)
	defer cancel()
	p, err := look(ctx)
	switch {
	case err != nil:
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
	case !p.Ready:
		http.Error(w, "not ready: "+p.Refused, http.StatusServiceUnavailable)
	default:
		say(w, "ready\n")
		for _, step := range slices.Sorted(maps.Keys(p.Problems)) {
			say(w, "but "+step+": "+p.Problems[step]+"\n")
		}
	}
}

// say has no answer for an asker that has gone.
func say(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

func state(w http.ResponseWriter, r *http.Request, look func(context.Context) (Picture, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), pageWithin)
	defer cancel()
	p, err := look(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(p.State) // who asked has gone
}

// figures asks anew at each scrape: nothing is counted twice, and what ended leaves no series behind.
type figures struct {
	look func(context.Context) (Picture, error)
}

func (f figures) Describe(chan<- *prometheus.Desc) {} // unchecked: labels come and go

func (f figures) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin)
	defer cancel()
	p, err := f.look(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc("rolling_net_unknown", "The plugin's state cannot be told.", nil, nil), err)
		return
	}
	for _, s := range p.Figures {
		var names, values []string
		if s.Label != "" {
			names, values = []string{s.Label}, []string{s.Of}
		}
		kind := prometheus.GaugeValue
		if s.Counter {
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(s.Name, s.Help, names, nil), kind, s.Value, values...)
	}
}
