package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
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

const (
	longestRest = 60 * time.Hour
	// The kernel's limit on a unix socket's path.
	longestSocket = 107
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
	var problems []error
	bad := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %w", setting, fmt.Errorf(format, args...)))
	}
	for setting, path := range map[string]string{"ROLLING_SOCKET": c.Socket, "ROLLING_STATE": c.StatusSocket()} {
		if !filepath.IsAbs(path) || len(path) > longestSocket {
			bad(setting, "%q: want an absolute path of at most %d bytes", path, longestSocket)
		}
	}
	if c.Socket == c.StatusSocket() {
		bad("ROLLING_SOCKET", "%q is where /metrics is served: choose another folder", c.Socket)
	}
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
	if c.MetricsListen != "" {
		if _, _, err := net.SplitHostPort(c.MetricsListen); err != nil {
			bad("ROLLING_METRICS_LISTEN", "%w: want host:port, such as :9323", err)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	text := strings.ReplaceAll(errors.Join(problems...).Error(), "\n", "\n  ")
	return fmt.Errorf("settings: %d problems:\n  %s", len(problems), text)
}

// StatusSocket is where /metrics, /healthz, /readyz and /debug/state are.
func (c Config) StatusSocket() string { return filepath.Join(c.State, "ipam.sock") }
