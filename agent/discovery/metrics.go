package discovery

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the metrics of one node's discovery. Only the leader shows the ones of members and registries, so that a
// sum over all nodes counts each member once.
type figures struct {
	loop                                      *Loop
	leading, age, members, problems, kept     *prometheus.Desc
	inStep, lag, writes, failures, lookFailed *prometheus.Desc
}

// Metrics makes a collector of the Loop's figures.
func Metrics(l *Loop) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_discovery_"+name, help, labels, nil)
	}
	return figures{
		loop:       l,
		leading:    desc("leading", "1 on the node whose agent keeps discovery, 0 on the others."),
		lookFailed: desc("look_failed", "1 if the last look at the Swarm failed."),
		age:        desc("observation_age_seconds", "How long ago the last good look at the Swarm was."),
		members:    desc("members", "Members decided for an upstream of nginx or a ServerSet path.", "kind", "name"),
		problems:   desc("problems", "Mistakes in labels that a person has to mend."),
		kept:       desc("kept", "Services whose members stay although the Swarm does not confirm them."),
		inStep:     desc("registry_in_step", "1 if the registry holds the last decision.", "registry"),
		lag:        desc("registry_lag_seconds", "From the last change of a task to the registry holding it.", "registry"),
		writes:     desc("registry_writes_total", "Decisions that the registry took over.", "registry"),
		failures:   desc("registry_failures_total", "Tries that failed.", "registry"),
	}
}

func (f figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.leading, f.lookFailed, f.age, f.members, f.problems, f.kept, f.inStep, f.lag, f.writes, f.failures} {
		out <- d
	}
}

func (f figures) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	r := f.loop.Report()
	gauge(f.leading, number(r.Leading))
	gauge(f.lookFailed, number(r.Error != ""))
	if !r.Leading {
		return
	}
	if !r.Observed.IsZero() {
		gauge(f.age, time.Since(r.Observed).Seconds())
	}
	gauge(f.problems, float64(len(r.Problems)))
	gauge(f.kept, float64(len(r.Kept)))
	for name, peers := range r.Upstreams {
		gauge(f.members, float64(len(peers)), "nginx", name)
	}
	for path, instances := range r.Paths {
		gauge(f.members, float64(len(instances)), "zookeeper", path)
	}
	for _, s := range r.Registries {
		gauge(f.inStep, number(s.InStep), s.Target)
		gauge(f.lag, s.Lag.Seconds(), s.Target)
		out <- prometheus.MustNewConstMetric(f.writes, prometheus.CounterValue, float64(s.Writes), s.Target)
		out <- prometheus.MustNewConstMetric(f.failures, prometheus.CounterValue, float64(s.Failures), s.Target)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
