package engine

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rolling-swarm/rolling/manager/doctor"
)

const (
	// askedWithin bounds a scrape: who does not answer by then is missing in it.
	askedWithin = 5 * time.Second
	// youngEnough: two Prometheuses that scrape one manager ask the agents once.
	youngEnough = 5 * time.Second
)

// fabricFigures asks Swarm and the agents when somebody scrapes.
type fabricFigures struct {
	engine *Engine

	mu   sync.Mutex // guards the rest, and is held while all are asked
	at   time.Time
	last []doctor.Coverage

	implied, held, ratio, announced, own, up, wanted, drained *prometheus.Desc
}

// Metrics are figures of the whole network, which only somebody can know who knows Swarm's tasks and all nodes.
func Metrics(e *Engine) prometheus.Collector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("rolling_manager_"+name, help, []string{"node"}, nil)
	}
	return &fabricFigures{
		engine:    e,
		implied:   desc("routes_implied", "Addresses of tasks on other nodes that have run for 10 s: the node should hold a route to each."),
		held:      desc("routes_held", "Routes to other nodes' containers that the node holds."),
		ratio:     desc("routes_ratio", "Routes held ÷ implied: 1 is right, and a little more while tasks start. Nothing where none is implied."),
		own:       desc("addresses_implied", "Addresses of tasks on the node that have run for 10 s."),
		announced: desc("addresses_announced", "Addresses of its own containers that the node announces."),
		up:        desc("peers_up", "BGP sessions of the node that are established."),
		wanted:    desc("peers", "BGP sessions that the node should have."),
		drained:   desc("node_drained", "1 while the node's routes are marked for a shutdown."),
	}
}

func (f *fabricFigures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.implied, f.held, f.ratio, f.announced, f.own, f.up, f.wanted, f.drained} {
		out <- d
	}
}

func (f *fabricFigures) Collect(out chan<- prometheus.Metric) {
	for _, c := range f.look() {
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, c.Node)
		}
		gauge(f.implied, float64(c.Implied))
		gauge(f.held, float64(c.Held))
		if c.Implied > 0 {
			gauge(f.ratio, float64(c.Held)/float64(c.Implied))
		}
		gauge(f.own, float64(c.Own))
		gauge(f.announced, float64(c.Announced))
		gauge(f.up, float64(c.PeersUp))
		gauge(f.wanted, float64(c.Peers))
		drained := 0.0
		if c.Drained {
			drained = 1
		}
		gauge(f.drained, drained)
	}
}

func (f *fabricFigures) look() []doctor.Coverage {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.engine.now(); now.Sub(f.at) > youngEnough {
		ctx, cancel := context.WithTimeout(context.Background(), askedWithin)
		defer cancel()
		f.last = nil
		p, err := f.engine.picture(ctx, false)
		if err != nil {
			f.engine.options.Log.Warn("figures of the network are missing", "error", err)
			return nil
		}
		f.at, f.last = now, doctor.Cover(p)
	}
	return f.last
}
