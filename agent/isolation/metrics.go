package isolation

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the metrics of the policy on one node.
type figures struct {
	loop                   *Loop
	age, problems, trouble *prometheus.Desc
}

// Metrics makes a collector of the Loop's figures.
func Metrics(l *Loop) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_policy_"+name, help, nil, nil)
	}
	return figures{l,
		desc("age_seconds", "How long ago the look at the swarm's labels was that the policy here was made from."),
		desc("problems", "Mistakes in labels that a person has to mend, on the leader."),
		desc("trouble", "1 while the policy here is not brought up to date."),
	}
}

func (f figures) Describe(out chan<- *prometheus.Desc) {
	out <- f.age
	out <- f.problems
	out <- f.trouble
}

func (f figures) Collect(out chan<- prometheus.Metric) {
	r, trouble := f.loop.Report(), 0.0
	if r.Trouble != "" {
		trouble = 1
	}
	if !r.Made.IsZero() {
		out <- prometheus.MustNewConstMetric(f.age, prometheus.GaugeValue, time.Since(r.Made).Seconds())
	}
	out <- prometheus.MustNewConstMetric(f.problems, prometheus.GaugeValue, float64(len(r.Problems)))
	out <- prometheus.MustNewConstMetric(f.trouble, prometheus.GaugeValue, trouble)
}
