// Package prometheus shows samples to Prometheus. It knows the names of the contract and client_golang; where samples come
// from it does not know.
package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/exporter/sample"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// Containers is a collector of the last round's samples.
type Containers struct {
	cluster string
	latest  func() []sample.Sample
	metrics []sample.Metric
	descs   []*prometheus.Desc
}

// New shows what latest gives, each time that somebody asks.
func New(cluster string, latest func() []sample.Sample) *Containers {
	c := &Containers{cluster: cluster, latest: latest, metrics: sample.Metrics()}
	for _, m := range c.metrics {
		c.descs = append(c.descs, prometheus.NewDesc(contract.MetricPrefix+m.Name, m.Help, contract.MetricLabels(), nil))
	}
	return c
}

// Describe names the figures.
func (c *Containers) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect gives a figure for each sample. One that has ended gives none, so that no series goes on.
func (c *Containers) Collect(out chan<- prometheus.Metric) {
	seen := map[string]bool{}
	all := c.latest()
	for i := range all {
		s := &all[i]
		if series := s.Container.Series(); seen[series] {
			continue // labels set by hand may name two alike, and one such pair would spoil the whole page
		} else {
			seen[series] = true
		}
		labels := s.Container.Name.Labels(c.cluster)
		for k, m := range c.metrics {
			if v, ok := m.OfContainer(s); ok {
				kind := prometheus.GaugeValue
				if m.Counter {
					kind = prometheus.CounterValue
				}
				out <- prometheus.MustNewConstMetric(c.descs[k], kind, v, labels...)
			}
		}
	}
}
