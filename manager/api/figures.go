package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the door's own.
type figures struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
}

func newFigures() figures {
	return figures{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rolling_manager_http_requests_total", Help: "Requests answered.",
		}, []string{"method", "route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rolling_manager_http_request_seconds", Help: "Time to answer a request, streams left out.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30},
		}, []string{"method", "route"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rolling_manager_event_streams", Help: "Clients that follow events now.",
		}),
	}
}

// Figures are for whoever gathers what /metrics shows.
func (a *API) Figures() []prometheus.Collector {
	return []prometheus.Collector{a.figures.requests, a.figures.took, a.figures.streams}
}

// count notes one answer. An address that there is nothing at has no route, and makes no series of its own.
func (f figures) count(method, route string, status int, took time.Duration, streamed bool) {
	f.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	if !streamed {
		f.took.WithLabelValues(method, route).Observe(took.Seconds())
	}
}
