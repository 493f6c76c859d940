package driver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolling-swarm/rolling/logdriver/carrier"
)

// Sight is what the status pages show.
type Sight struct {
	Build   string          `json:"build,omitempty"`
	Started time.Time       `json:"started"`
	Kafka   KafkaSight      `json:"kafka"`
	Carrier carrier.Picture `json:"carrier"`
	Strayed uint64          `json:"strayedFrames"`
	Disk    uint64          `json:"diskTroubles"`
}

// KafkaSight is how Kafka looks from here.
type KafkaSight struct {
	Brokers []string          `json:"brokers"`
	Fault   string            `json:"fault,omitempty"`
	Parked  map[string]string `json:"parkedTopics"`
	Records uint64            `json:"records"`
	Bytes   uint64            `json:"bytes"`
	Failed  uint64            `json:"failed"`
	Split   uint64            `json:"split"`
}

// Troubles are the reasons why lines do not get to Kafka, sorted; none: they do.
func (k KafkaSight) Troubles() []string {
	var all []string
	if k.Fault != "" {
		all = append(all, "kafka: "+k.Fault)
	}
	for topic, why := range k.Parked {
		all = append(all, "topic "+topic+": "+why)
	}
	slices.Sort(all)
	return all
}

// Status serves /metrics, /healthz, /readyz and /debug/state of what look gives. more are further metrics.
func (d *Driver) Status(look func() Sight, more ...prometheus.Collector) *http.ServeMux {
	registry := prometheus.NewRegistry()
	registry.MustRegister(d.stats.calls, d.stats.seconds, d.stats.following, figures{look},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(more...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		k := look().Kafka
		troubles := k.Troubles()
		switch {
		case len(k.Brokers) == 0:
			say(w, "ready: no brokers are set (ROLLING_KAFKA_BROKERS): lines stay in the spool, docker logs works")
		case len(troubles) > 0:
			http.Error(w, "not ready: lines stay in the spool: "+strings.Join(troubles, "; "), http.StatusServiceUnavailable)
		default:
			say(w, "ready")
		}
	})
	mux.HandleFunc("GET /debug/state", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(look()) // who asked has gone
	})
	return mux
}

func say(w http.ResponseWriter, line string) {
	_, _ = fmt.Fprintln(w, line) // who asked has gone
}
