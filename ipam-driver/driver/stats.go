package driver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// stats counts calls and views.
type stats struct {
	calls    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	looks    *prometheus.CounterVec
	looking  prometheus.Histogram
	followed *prometheus.CounterVec
}

func newStats() *stats {
	return &stats{
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolling_ipam_calls_total", Help: "Calls of the engine's, by result."}, []string{"call", "result"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rolling_ipam_call_seconds", Help: "Time to the answer.", Buckets: prometheus.ExponentialBuckets(0.0001, 3, 10)}, []string{"call"}),
		looks:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolling_ipam_views_total", Help: "Questions to the engine about what is in use, by result."}, []string{"result"}),
		looking:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rolling_ipam_view_seconds", Help: "Time that a view took.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10)}),
		followed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolling_ipam_followed_total", Help: "Addresses that a view changed: adopted, freed, or kept from use."}, []string{"change"}),
	}
}

func (s *stats) called(call string, took time.Duration, err error) {
	s.calls.WithLabelValues(call, result(err)).Inc()
	s.seconds.WithLabelValues(call).Observe(took.Seconds())
}

func (s *stats) looked(took time.Duration, err error) {
	s.looks.WithLabelValues(result(err)).Inc()
	s.looking.Observe(took.Seconds())
}

func (s *stats) brought(v pool.Seen) {
	s.followed.WithLabelValues("adopted").Add(float64(v.Adopted))
	s.followed.WithLabelValues("freed").Add(float64(v.Freed))
	s.followed.WithLabelValues("kept").Add(float64(v.Kept))
}

func result(err error) string {
	if err != nil {
		return "refused"
	}
	return "ok"
}

// registry is everything that /metrics shows.
func (d *Driver) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	s := d.stats
	r.MustRegister(s.calls, s.seconds, s.looks, s.looking, s.followed, figures{d},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// figures are read from the book when somebody asks for them.
type figures struct{ d *Driver }

// warnAbove: a pool this full deserves an alert; the remedy (a network anew) takes a planned restart.
const warnAbove = 0.8

var shareLabels = []string{"space", "subnet", "project", "environment", "share"}

func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rolling_ipam_"+name, help, labels, nil)
}

var (
	addressesFigure = figure("addresses", "Addresses of a share of a pool, by state.", append(shareLabels, "state")...)
	sizeFigure      = figure("size", "Addresses that the share could use.", shareLabels...)
	fullFigure      = figure("nearly_full", "1 if more than 80 % of the share is used, rests or is reserved.", shareLabels...)
	prefixFigure    = figure("pool_addresses", "Addresses of a whole subnet, by state; given: in blocks and ranges of networks.", "subnet", "pool", "state")
	prefixFull      = figure("pool_nearly_full", "1 if more than 80 % of the subnet is used, rests, or is given to networks.", "subnet", "pool")
	settledFigure   = figure("settled_number", "Number of the Swarm Config rolling.ipam.N that rules here; 0: none.")
	refusedFigure   = figure("settled_problems", "What is wrong with newer Configs, which are refused for it.")
	blocksFigure    = figure("blocks", "Blocks that the share holds.", shareLabels...)
	networksFigure  = figure("networks", "Networks that draw from the share.", shareLabels...)
	readyFigure     = figure("ready", "1 if calls are served.")
	leaderFigure    = figure("leader", "1 if this node was the Swarm's leader when the engine was last asked.")
	blindFigure     = figure("blind", "1 if a ledger was lost and the Swarm has not said yet what it holds.")
	owedFigure      = figure("ledger_owed", "Decisions that are not on disk.")
	bytesFigure     = figure("ledger_bytes", "Length of the ledger.")
	unkeptFigure    = figure("unkept_total", "Answers that went out before the ledger had them.")
	twiceFigure     = figure("addresses_held_twice", "Addresses that two live tasks hold.")
	v6Figure        = figure("ipv6_releases_total", "Releases of derived IPv6 addresses, which change nothing.")
)

// Describe sends nothing: which shares there are is known only when asked.
func (f figures) Describe(chan<- *prometheus.Desc) {}

// Collect reads the book once.
func (f figures) Collect(out chan<- prometheus.Metric) {
	p := f.d.picture(false)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(readyFigure, truth(p.Ready))
	gauge(leaderFigure, truth(p.Engine.Leads))
	gauge(blindFigure, truth(p.Blind))
	gauge(owedFigure, float64(p.Ledger.Owed))
	gauge(bytesFigure, float64(p.Ledger.Bytes))
	gauge(twiceFigure, float64(len(p.Twice)))
	out <- prometheus.MustNewConstMetric(unkeptFigure, prometheus.CounterValue, float64(p.Ledger.Unkept))
	out <- prometheus.MustNewConstMetric(v6Figure, prometheus.CounterValue, float64(f.d.strangeV6.Load()))
	gauge(settledFigure, float64(p.Settled.Number))
	gauge(refusedFigure, float64(len(p.Settled.Problems)))
	for _, w := range p.Prefixes {
		for state, n := range map[string]int{"size": w.Size, "used": w.Used, "resting": w.Resting, "reserved": w.Reserved, "given": w.Given} {
			gauge(prefixFigure, float64(n), w.Subnet.String(), w.Name, state)
		}
		gauge(prefixFull, truth(w.Fullness() > warnAbove), w.Subnet.String(), w.Name)
	}
	for _, s := range p.Shares {
		labels := []string{s.Space, s.Subnet.String(), s.Project, s.Environment, string(s.Key)}
		for state, n := range map[string]int{"used": s.Used, "leased": s.Leased, "resting": s.Resting, "lost": s.Lost, "unconfirmed": s.Unconfirmed, "reserved": s.Reserved, "free": s.Free()} {
			gauge(addressesFigure, float64(n), append(labels, state)...)
		}
		gauge(sizeFigure, float64(s.Size), labels...)
		gauge(fullFigure, truth(s.Fullness() > warnAbove), labels...)
		gauge(blocksFigure, float64(len(s.Blocks)), labels...)
		gauge(networksFigure, float64(s.Networks), labels...)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
