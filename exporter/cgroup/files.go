package cgroup

import "github.com/rolling-swarm/rolling/exporter/sample"

// workingSet is memory as docker stats shows it.
func workingSet(usage, inactive uint64) uint64 {
	if inactive > usage {
		return 0
	}
	return usage - inactive
}

// Places of a disk's values, counted from sample.DiskRead.
const (
	bytesRead = 0
	written   = int(sample.DiskWritten - sample.DiskRead)
	reads     = int(sample.DiskReads - sample.DiskRead)
	writes    = int(sample.DiskWrites - sample.DiskRead)
)

// controllerFiles are version 1's. The usage stands before memory.stat, which takes the inactive part off.
func controllerFiles() []wanted {
	return []wanted{
		{controller: "cpuacct", name: "cpuacct.usage", must: true, read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Counts[sample.CPU], _ = number(text)
		}},
		{controller: "cpu", name: "cpu.stat", read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Counts[sample.Periods], r.Counts[sample.ThrottledPeriods] = keyed(text, "nr_periods"), keyed(text, "nr_throttled")
			r.Counts[sample.ThrottledTime] = keyed(text, "throttled_time")
		}},
		{controller: "memory", name: "memory.usage_in_bytes", must: true, read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Memory, _ = number(text)
		}},
		{controller: "memory", name: "memory.stat", must: true, read: func(_ *Group, r *sample.Reading, text []byte) {
			r.WorkingSet = workingSet(r.Memory, keyed(text, "total_inactive_file"))
			r.MemoryLimit = limit(keyed(text, "hierarchical_memory_limit"))
		}},
		{controller: "memory", name: "memory.oom_control", read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Counts[sample.OOMKills] = keyed(text, "oom_kill")
		}},
		{controller: "pids", name: "pids.current", read: func(_ *Group, r *sample.Reading, text []byte) {
			r.PIDs, _ = number(text)
		}},
		{controller: "blkio", name: "blkio.throttle.io_service_bytes_recursive", or: "blkio.throttle.io_service_bytes",
			read: func(g *Group, _ *sample.Reading, text []byte) { g.disks = blkio(g.disks, text, bytesRead, written) }},
		{controller: "blkio", name: "blkio.throttle.io_serviced_recursive", or: "blkio.throttle.io_serviced",
			read: func(g *Group, _ *sample.Reading, text []byte) { g.disks = blkio(g.disks, text, reads, writes) }},
	}
}

const microsecond = 1000 // in nanoseconds

// unifiedFiles are version 2's.
func unifiedFiles() []wanted {
	return []wanted{
		{name: "cpu.stat", must: true, read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Counts[sample.CPU], r.Counts[sample.ThrottledTime] = keyed(text, "usage_usec")*microsecond, keyed(text, "throttled_usec")*microsecond
			r.Counts[sample.Periods], r.Counts[sample.ThrottledPeriods] = keyed(text, "nr_periods"), keyed(text, "nr_throttled")
		}},
		{name: "memory.current", must: true, read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Memory, _ = number(text)
		}},
		{name: "memory.stat", must: true, read: func(_ *Group, r *sample.Reading, text []byte) {
			r.WorkingSet = workingSet(r.Memory, keyed(text, "inactive_file"))
		}},
		{name: "memory.max", read: func(_ *Group, r *sample.Reading, text []byte) {
			n, _ := number(text)
			r.MemoryLimit = limit(n)
		}},
		{name: "memory.events", read: func(_ *Group, r *sample.Reading, text []byte) {
			r.Counts[sample.OOMKills] = keyed(text, "oom_kill")
		}},
		{name: "pids.current", read: func(_ *Group, r *sample.Reading, text []byte) {
			r.PIDs, _ = number(text)
		}},
		{name: "io.stat", read: func(g *Group, _ *sample.Reading, text []byte) { g.disks = iostat(g.disks, text) }},
	}
}
