package driver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// stats count the plugin's own work.
type stats struct {
	rounds, samples, unread prometheus.Counter
	seconds                 prometheus.Histogram
}

func newStats() *stats {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "rolling_metrics_" + name, Help: help})
	}
	return &stats{
		rounds:  counter("rounds_total", "Rounds of samples."),
		samples: counter("samples_total", "Samples of containers."),
		unread:  counter("unread_total", "Containers that could not be read in a round; one that has just ended is among them."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rolling_metrics_round_seconds", Help: "Time that a round took.", Buckets: prometheus.ExponentialBuckets(0.0005, 3, 10)}),
	}
}

// registry is everything that /metrics shows.
func (d *Driver) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	s := d.stats
	r.MustRegister(s.rounds, s.samples, s.unread, s.seconds, own{d}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(d.parts.Collectors(d.Latest)...)
	return r
}

// own are figures that are read when somebody asks.
type own struct{ d *Driver }

func figure(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("rolling_metrics_"+name, help, nil, nil)
}

var (
	containersFigure = figure("containers", "Containers that run.")
	listFigure       = figure("list_age_seconds", "Age of the engine's list of containers.")
	connectedFigure  = figure("graphite_connected", "1 if Graphite is connected.")
	waitingFigure    = figure("graphite_waiting_points", "Points that wait for Graphite.")
	sentFigure       = figure("graphite_sent_points_total", "Points written to Graphite.")
	resentFigure     = figure("graphite_resent_points_total", "Points written once more after a connection broke.")
	droppedFigure    = figure("graphite_dropped_points_total", "Points dropped because Graphite was away for too long.")
	dialsFigure      = figure("graphite_dials_total", "Attempts to connect to Graphite.")
)

// Describe sends nothing: without Graphite its figures are absent.
func (o own) Describe(chan<- *prometheus.Desc) {}

// Collect reads them.
func (o own) Collect(out chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
		out <- prometheus.MustNewConstMetric(d, kind, v)
	}
	containers, sight := o.d.parts.Finder.Containers()
	tell(containersFigure, prometheus.GaugeValue, float64(len(containers)))
	if !sight.At.IsZero() {
		tell(listFigure, prometheus.GaugeValue, time.Since(sight.At).Seconds())
	}
	if o.d.parts.Graphite == nil {
		return
	}
	g := o.d.parts.Graphite.State()
	connected := 0.0
	if g.Connected {
		connected = 1
	}
	tell(connectedFigure, prometheus.GaugeValue, connected)
	tell(waitingFigure, prometheus.GaugeValue, float64(g.Waiting))
	tell(sentFigure, prometheus.CounterValue, float64(g.Sent))
	tell(resentFigure, prometheus.CounterValue, float64(g.Resent))
	tell(droppedFigure, prometheus.CounterValue, float64(g.Dropped))
	tell(dialsFigure, prometheus.CounterValue, float64(g.Dials))
}
