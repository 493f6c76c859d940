// Package sample turns what the kernel says of containers into figures that can be drawn: counters that never go
// backwards, whoever restarts or takes a slot over, and the last minutes for a glance. It knows counters, slots and
// rounds. It knows no file, no engine, no clock and no database: readings and times come in, samples go out.
package sample

import (
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/exporter/naming"
)

// A Counter is one of the things that only grow.
type Counter int

// The counters; CPU and ThrottledTime are in nanoseconds, the kernel's own unit or a multiple of it.
const (
	CPU Counter = iota
	ThrottledTime
	Periods
	ThrottledPeriods
	OOMKills
	DiskRead
	DiskWritten
	DiskReads
	DiskWrites
	Received
	ReceivedPackets
	ReceiveErrors
	ReceiveDropped
	Sent
	SentPackets
	SendErrors
	SendDropped
	Restarts
	counters // how many there are
)

// Counts are the values of all counters.
type Counts [counters]uint64

// A Container is one that runs.
type Container struct {
	ID               string
	Name             naming.Name
	Created, Started time.Time
	PID              int
	Restarts         uint64 // by the engine's own policy, as it counts them
	OwnNetwork       bool   // false: its interfaces are the node's or another container's

	path, series string
}

// NewContainer names a container within the cluster.
func NewContainer(cluster, id string, name naming.Name) Container {
	return Container{ID: id, Name: name, path: name.Path(cluster), series: strings.Join(append(name.Labels(cluster), name.Task), "/")}
}

// Path is the Graphite path of its slot, without a metric.
func (c *Container) Path() string { return c.path }

// Series is the same for all containers that have the same labels in Prometheus.
func (c *Container) Series() string { return c.series }

// A Part is one disk or one interface: they come and go, so each is counted by itself.
type Part struct {
	Name   string
	Values [8]uint64 // a disk's are DiskRead to DiskWrites, an interface's Received to SendDropped
}

// DiskValues is how many values of a disk's Part count.
const DiskValues = int(DiskWrites-DiskRead) + 1

// LinkValues is the same for an interface.
const LinkValues = int(SendDropped-Received) + 1

// A Reading is what the kernel says of one container at one moment. Parts are apart from Counts, which are 0 there.
type Reading struct {
	At          time.Time
	Counts      Counts
	Disks       []Part
	Links       []Part
	Memory      uint64 // bytes, the page cache too
	WorkingSet  uint64 // without what the kernel may drop at once
	MemoryLimit uint64 // 0: none
	PIDs        uint64
}

// A Sample is what is told of a container in one round.
type Sample struct {
	Container Container
	At        time.Time // of the round, the same for all
	Own       Counts    // of the container; one that replaces another under the same labels goes on
	Slot      Counts    // of the slot on this node, over the tasks that have held it
	Newest    bool      // of the slot's: it writes the slot's Graphite path
	CPUCores  float64   // used since the last round; HasCores is false in the first
	HasCores  bool

	Memory, WorkingSet, MemoryLimit, PIDs uint64
}
