package line

import "github.com/prometheus/client_golang/prometheus"

// figures asks anew at each scrape.
type figures struct {
	line          *Line
	up, ends, bad *prometheus.Desc
}

// Metrics makes a collector of the line's figures.
func Metrics(l *Line) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_agent_line_"+name, help, nil, nil)
	}
	return figures{
		line: l,
		up:   desc("up", "1 while the line to the manager stands."),
		ends: desc("certificate_ends_seconds", "When the line's certificate ends, in seconds since 1970."),
		bad:  desc("tries", "Tries that failed since the line last stood."),
	}
}

func (f figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.up, f.ends, f.bad} {
		out <- d
	}
}

func (f figures) Collect(out chan<- prometheus.Metric) {
	s := f.line.State()
	up := 0.0
	if s.Connected {
		up = 1
	}
	out <- prometheus.MustNewConstMetric(f.up, prometheus.GaugeValue, up)
	out <- prometheus.MustNewConstMetric(f.ends, prometheus.GaugeValue, float64(s.Ends.Unix()))
	out <- prometheus.MustNewConstMetric(f.bad, prometheus.GaugeValue, float64(s.Tries))
}
