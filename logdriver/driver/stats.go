package driver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type stats struct {
	calls     *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	following prometheus.Gauge
}

func newStats() *stats {
	return &stats{
		calls:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rolling_log_calls_total", Help: "Calls of the engine's, by result."}, []string{"call", "result"}),
		seconds:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "rolling_log_call_seconds", Help: "Time to the answer.", Buckets: prometheus.ExponentialBuckets(0.0001, 3, 10)}, []string{"call"}),
		following: prometheus.NewGauge(prometheus.GaugeOpts{Name: "rolling_log_readers", Help: "docker logs under way."}),
	}
}

func (s *stats) called(call string, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "refused"
	}
	s.calls.WithLabelValues(call, result).Inc()
	s.seconds.WithLabelValues(call).Observe(took.Seconds())
}

func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rolling_log_"+name, help, labels, nil)
}

var (
	readFigure      = figure("lines_read_total", "Lines read from containers since the start.")
	foundFigure     = figure("lines_found_total", "Unsent lines that an earlier process left.")
	readBytesFigure = figure("bytes_read_total", "Bytes of their text.")
	sentFigure      = figure("lines_sent_total", "Lines that Kafka acknowledged since the start.")
	unsentFigure    = figure("lines_unsent", "Lines in the spool that Kafka lacks.")
	droppedFigure   = figure("lines_dropped_total", "Lines dropped since the start, by reason.", "reason")
	dropBytesFigure = figure("bytes_dropped_total", "Bytes dropped since the start, by reason.", "reason")
	spoolFigure     = figure("spool_bytes", "What the spool takes on disk.")
	boundFigure     = figure("spool_bound_bytes", "What it may take.")
	pipesFigure     = figure("open_pipes", "Pipes that are read.")
	parkedFigure    = figure("topic_parked", "1 for each topic that takes no lines.", "topic")
	faultFigure     = figure("kafka_fault", "1 if no broker takes lines.")
	recordsFigure   = figure("kafka_records_total", "Records that Kafka acknowledged, markers and parts too.")
	outFigure       = figure("kafka_bytes_total", "Bytes of their values.")
	failedFigure    = figure("kafka_failed_total", "Records that came back; they are sent again.")
	splitFigure     = figure("kafka_split_total", "Lines that were sent in parts.")
	strayFigure     = figure("stray_frames_total", "Times that rubbish came through a pipe.")
	diskFigure      = figure("disk_troubles_total", "Times that the spool's disk refused something.")
)

// figures are read when somebody asks for them.
type figures struct{ look func() Sight }

// Describe sends nothing: which topics and reasons there are is known only when asked.
func (f figures) Describe(chan<- *prometheus.Desc) {}

// Collect looks once.
func (f figures) Collect(out chan<- prometheus.Metric) {
	s := f.look()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter(readFigure, s.Carrier.Read)
	counter(foundFigure, s.Carrier.Found)
	counter(readBytesFigure, s.Carrier.ReadBytes)
	counter(sentFigure, s.Carrier.Sent)
	gauge(unsentFigure, float64(s.Carrier.Unsent))
	for reason, n := range s.Carrier.Dropped {
		counter(droppedFigure, n, reason)
		counter(dropBytesFigure, s.Carrier.DropBytes[reason], reason)
	}
	gauge(spoolFigure, float64(s.Carrier.Disk))
	gauge(boundFigure, float64(s.Carrier.Whole))
	gauge(pipesFigure, float64(s.Carrier.Pipes))
	for topic := range s.Kafka.Parked {
		gauge(parkedFigure, 1, topic)
	}
	fault := 0.0
	if s.Kafka.Fault != "" {
		fault = 1
	}
	gauge(faultFigure, fault)
	counter(recordsFigure, s.Kafka.Records)
	counter(outFigure, s.Kafka.Bytes)
	counter(failedFigure, s.Kafka.Failed)
	counter(splitFigure, s.Kafka.Split)
	counter(strayFigure, s.Strayed)
	counter(diskFigure, s.Disk)
}
