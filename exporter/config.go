package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/exporter/naming"
	"github.com/rolling-swarm/rolling/internal/settings"
)

// Config is every setting, with a default that works. In the plugin's config.json each is settable.
type Config struct {
	Socket         string        `env:"ROLLING_SOCKET" envDefault:"/run/docker/plugins/metrics.sock"` // where the engine calls
	State          string        `env:"ROLLING_STATE" envDefault:"/var/lib/rolling/metrics"`          // folder, mounted from the host
	Engine         string        `env:"ROLLING_ENGINE" envDefault:"unix:///run/docker.sock"`          // asked in the background which containers run
	EngineMetrics  string        `env:"ROLLING_ENGINE_METRICS" envDefault:"/run/docker/metrics.sock"` // where the engine lays its own metrics; served at /metrics/engine
	Groups         string        `env:"ROLLING_CGROUPS" envDefault:"/host/cgroup"`                    // the host's /sys/fs/cgroup
	Proc           string        `env:"ROLLING_PROC" envDefault:"/host/proc"`                         // the host's /proc
	Interval       time.Duration `env:"ROLLING_INTERVAL" envDefault:"10s"`                            // between two rounds of samples, whole seconds
	Cluster        string        `env:"ROLLING_CLUSTER" envDefault:"main"`                            // tells the sites of one Graphite apart
	Graphite       string        `env:"ROLLING_GRAPHITE"`                                             // host:port of the plaintext protocol; empty: off
	GraphiteBuffer int           `env:"ROLLING_GRAPHITE_BUFFER" envDefault:"500000"`                  // points kept while Graphite is away; beyond, the oldest are dropped
	MetricsListen  string        `env:"ROLLING_METRICS_LISTEN"`                                       // host:port for Prometheus, besides the socket in the state's folder
	LogLevel       slog.Level    `env:"ROLLING_LOG_LEVEL" envDefault:"info"`                          // debug, info, warn, error
	Build          string        `env:"ROLLING_BUILD"`                                                // digest of the bundle, shown in /debug/state
}

const (
	shortest     = time.Second
	longest      = 5 * time.Minute
	smallestRing = 1000
	largestRing  = 50_000_000
)

// readConfig reads the environment and names all that is wrong with it at once.
func readConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	return c, c.Validate()
}

// Validate reports all problems at once.
func (c Config) Validate() error {
	var problems settings.Problems
	bad := problems.Add
	problems.Sockets(c.Socket, c.StatusSocket())
	problems.Folder("ROLLING_CGROUPS", c.Groups)
	problems.Folder("ROLLING_PROC", c.Proc)
	if c.Engine == "" {
		bad("ROLLING_ENGINE", "is empty: want the engine's socket")
	}
	if c.Interval < shortest || c.Interval > longest || c.Interval%time.Second != 0 {
		bad("ROLLING_INTERVAL", "%s: want whole seconds from %s to %s", c.Interval, shortest, longest)
	}
	if c.Cluster == "" || naming.Clean(c.Cluster) != c.Cluster {
		bad("ROLLING_CLUSTER", "%q: want letters, digits, - and _: it is a piece of every Graphite path", c.Cluster)
	}
	if c.GraphiteBuffer < smallestRing || c.GraphiteBuffer > largestRing {
		bad("ROLLING_GRAPHITE_BUFFER", "%d: want %d to %d points (32 bytes each)", c.GraphiteBuffer, smallestRing, largestRing)
	}
	problems.Address("ROLLING_GRAPHITE", c.Graphite, "graphite.example:2003")
	problems.Address("ROLLING_METRICS_LISTEN", c.MetricsListen, ":9324")
	return problems.Err()
}

// StatusSocket is where /metrics, /recent, /healthz, /readyz and /debug/state are.
func (c Config) StatusSocket() string { return filepath.Join(c.State, "metrics.sock") }
