package drain

import "github.com/prometheus/client_golang/prometheus"

// figures asks anew at each scrape.
type figures struct {
	drain                                 *Drain
	following, pending, sent, failed, cut *prometheus.Desc
}

// Metrics makes a collector of the drain's figures.
func Metrics(d *Drain) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_agent_drain_"+name, help, nil, nil)
	}
	return figures{
		drain:     d,
		following: desc("following", "1 while the engine's events are read."),
		pending:   desc("pending", "Containers that wait for their SIGTERM."),
		sent:      desc("sent_total", "SIGTERMs sent after a drain."),
		failed:    desc("failures_total", "Calls for a SIGTERM that failed and were made again."),
		cut:       desc("cut_total", "Containers killed before their drain was over: their grace period is too short."),
	}
}

func (f figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.following, f.pending, f.sent, f.failed, f.cut} {
		out <- d
	}
}

func (f figures) Collect(out chan<- prometheus.Metric) {
	r := f.drain.Report()
	following := 0.0
	if r.Following {
		following = 1
	}
	out <- prometheus.MustNewConstMetric(f.following, prometheus.GaugeValue, following)
	out <- prometheus.MustNewConstMetric(f.pending, prometheus.GaugeValue, float64(len(r.Pending)))
	for d, n := range map[*prometheus.Desc]int{f.sent: r.Sent, f.failed: r.Failed, f.cut: r.Cut} {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n))
	}
}
