package line

import "github.com/prometheus/client_golang/prometheus"

// figures asks anew at each scrape.
type figures struct {
	board                *Switchboard
	lines, refused, ends *prometheus.Desc
}

// Metrics makes a collector of the switchboard's figures.
func Metrics(s *Switchboard) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_manager_"+name, help, nil, nil)
	}
	return figures{
		board:   s,
		lines:   desc("lines", "Nodes whose agent has a line to this manager."),
		refused: desc("lines_refused_total", "Connections to the line's port that got none."),
		ends:    desc("line_certificate_ends_seconds", "When the certificate of the agents' line ends, in seconds since 1970."),
	}
}

func (f figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.lines, f.refused, f.ends} {
		out <- d
	}
}

func (f figures) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(f.lines, prometheus.GaugeValue, float64(len(f.board.Nodes())))
	out <- prometheus.MustNewConstMetric(f.refused, prometheus.CounterValue, float64(f.board.Refused()))
	out <- prometheus.MustNewConstMetric(f.ends, prometheus.GaugeValue, float64(f.board.Ends().Unix()))
}
