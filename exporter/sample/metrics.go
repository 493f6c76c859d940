package sample

// A Metric is one figure under the name that Graphite and Prometheus share: contract.MetricPrefix stands before it there,
// the slot's path here.
type Metric struct {
	Name, Help string
	Counter    bool
	value      func(s *Sample, c *Counts) float64
	absent     func(s *Sample) bool // nil: always there
}

// Metrics lists them all.
func Metrics() []Metric {
	count := func(name, help string, c Counter) Metric {
		return Metric{name, help, true, func(_ *Sample, all *Counts) float64 { return float64(all[c]) }, nil}
	}
	seconds := func(name, help string, c Counter) Metric {
		return Metric{name, help, true, func(_ *Sample, all *Counts) float64 { return float64(all[c]) / 1e9 }, nil}
	}
	gauge := func(name, help string, f func(s *Sample) float64, absent func(s *Sample) bool) Metric {
		return Metric{name, help, false, func(s *Sample, _ *Counts) float64 { return f(s) }, absent}
	}
	return []Metric{
		seconds("cpu_seconds_total", "CPU time used.", CPU),
		gauge("cpu_cores", "CPUs used on average since the last sample.", func(s *Sample) float64 { return s.CPUCores }, func(s *Sample) bool { return !s.HasCores }),
		seconds("cpu_throttled_seconds_total", "Time for which its limit held it back.", ThrottledTime),
		count("cpu_periods_total", "Periods of the CPU limit in which it ran.", Periods),
		count("cpu_throttled_periods_total", "Periods in which the limit held it back.", ThrottledPeriods),
		gauge("memory_usage_bytes", "Memory, the page cache too.", func(s *Sample) float64 { return float64(s.Memory) }, nil),
		gauge("memory_working_set_bytes", "Memory without the page cache that can be dropped at once, as docker stats shows it.", func(s *Sample) float64 { return float64(s.WorkingSet) }, nil),
		gauge("memory_limit_bytes", "Its limit of memory, where it has one.", func(s *Sample) float64 { return float64(s.MemoryLimit) }, func(s *Sample) bool { return s.MemoryLimit == 0 }),
		count("oom_kills_total", "Processes killed for want of memory.", OOMKills),
		gauge("pids", "Processes and threads.", func(s *Sample) float64 { return float64(s.PIDs) }, nil),
		count("disk_read_bytes_total", "Bytes read from disks.", DiskRead),
		count("disk_written_bytes_total", "Bytes written to disks.", DiskWritten),
		count("disk_reads_total", "Reads from disks.", DiskReads),
		count("disk_writes_total", "Writes to disks.", DiskWrites),
		count("network_receive_bytes_total", "Bytes received on its interfaces, without the loopback.", Received),
		count("network_receive_packets_total", "Packets received.", ReceivedPackets),
		count("network_receive_errors_total", "Packets received broken.", ReceiveErrors),
		count("network_receive_dropped_total", "Packets received and dropped.", ReceiveDropped),
		count("network_transmit_bytes_total", "Bytes sent.", Sent),
		count("network_transmit_packets_total", "Packets sent.", SentPackets),
		count("network_transmit_errors_total", "Packets that could not be sent.", SendErrors),
		count("network_transmit_dropped_total", "Packets dropped before they were sent.", SendDropped),
		count("restarts_total", "Starts after the first one.", Restarts),
		gauge("start_time_seconds", "When it started, in seconds since 1970.", func(s *Sample) float64 { return float64(s.Container.Started.UnixMilli()) / 1000 },
			func(s *Sample) bool { return s.Container.Started.IsZero() }),
	}
}

// OfContainer is the figure as Prometheus has it.
func (m Metric) OfContainer(s *Sample) (float64, bool) { return m.of(s, &s.Own) }

// OfSlot is the figure as Graphite has it.
func (m Metric) OfSlot(s *Sample) (float64, bool) { return m.of(s, &s.Slot) }

func (m Metric) of(s *Sample, c *Counts) (float64, bool) {
	if m.absent != nil && m.absent(s) {
		return 0, false
	}
	return m.value(s, c), true
}
