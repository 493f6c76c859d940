package main

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/internal/settings"
)

// Config is every setting, with a default that works. In the plugin's config.json each is settable.
type Config struct {
	Socket        string        `env:"ROLLING_SOCKET" envDefault:"/run/docker/plugins/ipam.sock"` // where the engine calls
	State         string        `env:"ROLLING_STATE" envDefault:"/var/lib/rolling/ipam"`          // folder, mounted from the host
	Engine        string        `env:"ROLLING_ENGINE" envDefault:"unix:///run/docker.sock"`       // asked in the background what is in use; a path or a URL; "none": not asked
	Plugin        string        `env:"ROLLING_PLUGIN" envDefault:"rolling/ipam:latest"`           // the name that networks give as their IPAM driver
	Rest          time.Duration `env:"ROLLING_REST" envDefault:"60s"`                             // a freed address waits so long before it is used again
	LostRest      time.Duration `env:"ROLLING_LOST_REST" envDefault:"24h"`                        // the same when its node was not ready as Swarm let it go
	MetricsListen string        `env:"ROLLING_METRICS_LISTEN"`                                    // host:port for /metrics, besides the socket in the state's folder
	LogLevel      slog.Level    `env:"ROLLING_LOG_LEVEL" envDefault:"info"`                       // debug, info, warn, error
	Build         string        `env:"ROLLING_BUILD"`                                             // digest of the bundle, shown in /debug/state
}

const longestRest = 60 * time.Hour

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
	if c.Engine == "" {
		bad("ROLLING_ENGINE", `is empty: want the engine's socket, or "none"`)
	}
	if c.Plugin == "" {
		bad("ROLLING_PLUGIN", "is empty: want the plugin's alias")
	}
	if c.Rest < 0 || c.Rest > longestRest {
		bad("ROLLING_REST", "%s: want a time from 0s to %s", c.Rest, longestRest)
	}
	if c.LostRest < c.Rest || c.LostRest > 100*24*time.Hour {
		bad("ROLLING_LOST_REST", "%s: want a time from ROLLING_REST (%s) to 2400h", c.LostRest, c.Rest)
	}
	problems.Address("ROLLING_METRICS_LISTEN", c.MetricsListen, ":9323")
	return problems.Err()
}

// StatusSocket is where /metrics, /healthz, /readyz and /debug/state are.
func (c Config) StatusSocket() string { return filepath.Join(c.State, "ipam.sock") }
