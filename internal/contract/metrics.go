package contract

import "time"

// PluginMetrics is the alias of the plugin that measures containers.
const PluginMetrics = "rolling/metrics:latest"

// MetricsPort is where the lab and the examples have rolling/metrics serve Prometheus over TCP. The setting is empty by
// default: a port that nobody asked for is nobody's.
const MetricsPort = 9324

const (
	// GraphiteRoot begins every Graphite path: rolling.<cluster>.<project>.<environment>.<service>.<slot>.<metric>.
	GraphiteRoot = "rolling"
	// MetricPrefix begins every Prometheus name of a container's figure; the Graphite path ends with what follows it.
	MetricPrefix = "rolling_container_"
)

// MetricLabels are the labels of every figure of a container in Prometheus. The task is the first 12 characters of its id.
func MetricLabels() []string {
	return []string{"cluster", "project", "environment", "service", "slot", "task", "node"}
}

// Recent is the answer of rolling/metrics to GET /recent on its socket: the last minutes of what runs on the node.
type Recent struct {
	IntervalSeconds int               `json:"intervalSeconds"`
	End             time.Time         `json:"end"` // of each list's last entry
	Containers      []RecentContainer `json:"containers"`
}

// RecentContainer is one container's, oldest first; null where there was no sample.
type RecentContainer struct {
	Container   string     `json:"container"`
	Task        string     `json:"task"` // its full id, empty outside Swarm
	CPUCores    []*float64 `json:"cpuCores"`
	MemoryBytes []*uint64  `json:"memoryBytes"` // the working set
}
