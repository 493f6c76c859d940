package upkeep

import "github.com/prometheus/client_golang/prometheus"

// figures asks anew at each scrape.
type figures struct {
	upkeep                                     *Upkeep
	engine, ready, waits, steps, failed, build *prometheus.Desc
}

// Metrics makes a collector of the Upkeep's figures.
func Metrics(u *Upkeep) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_agent_"+name, help, labels, nil)
	}
	return figures{
		upkeep: u,
		engine: desc("engine_answers", "1 if this node's engine answered when it was asked last."),
		ready:  desc("plugin_ready", "1 if the plugin was as the agent wants it when it was looked at last.", "plugin"),
		waits:  desc("plugin_waits", "1 if a change of the plugin waits until no container uses it; it works as it is.", "plugin"),
		steps:  desc("plugin_steps_total", "Steps done to bring the plugin in order.", "plugin", "step"),
		failed: desc("plugin_failures_total", "Tries to bring the plugin in order that failed.", "plugin"),
		build:  desc("plugin_build", "1, with the build that is installed and the one that is wanted.", "plugin", "installed", "wanted"),
	}
}

func (f figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.engine, f.ready, f.waits, f.steps, f.failed, f.build} {
		out <- d
	}
}

func (f figures) Collect(out chan<- prometheus.Metric) {
	s := f.upkeep.State()
	gauge := func(d *prometheus.Desc, yes bool, labels ...string) {
		v := 0.0
		if yes {
			v = 1
		}
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(f.engine, s.Engine == engineOK)
	for _, p := range s.Plugins {
		gauge(f.ready, p.Ready, p.Alias)
		gauge(f.waits, p.Waits != "", p.Alias)
		gauge(f.build, true, p.Alias, p.Installed.Build, p.Want)
		out <- prometheus.MustNewConstMetric(f.failed, prometheus.CounterValue, float64(p.Failed), p.Alias)
		for verb, n := range p.Steps {
			out <- prometheus.MustNewConstMetric(f.steps, prometheus.CounterValue, float64(n), p.Alias, string(verb))
		}
	}
}
