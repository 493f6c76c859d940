package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// version is set when the image is built: go build -ldflags "-X main.version=1.4.0".
var version = "dev"

// A Config is what the environment says. Every setting has a default that works.
type Config struct {
	// Listen is the address of the service.
	Listen string `env:"LISTEN" envDefault:":8080"`
	// Release is what answers and log lines call this program's release; empty means the version it was built with.
	Release string `env:"RELEASE"`
	// Drain is how long requests may go on after the stop signal. It is shorter than the stack's stop_grace_period.
	Drain time.Duration `env:"DRAIN" envDefault:"8s"`
	// Sick makes the health check fail for ever, to show what becomes of a release that never gets healthy.
	Sick bool `env:"SICK"`
	// PeerTimeout bounds the request that /peer makes.
	PeerTimeout time.Duration `env:"PEER_TIMEOUT" envDefault:"3s"`

	Hostname string
}

// ReadConfig reads the environment and reports every problem at once.
func ReadConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	if c.Release == "" {
		c.Release = version
	}
	if c.Hostname, err = os.Hostname(); err != nil {
		return c, fmt.Errorf("hostname: %w", err)
	}
	return c, c.Validate()
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	if !strings.Contains(c.Listen, ":") {
		problems = append(problems, fmt.Errorf("LISTEN: %q: want [ADDRESS]:PORT", c.Listen))
	}
	if c.Drain <= 0 {
		problems = append(problems, fmt.Errorf("DRAIN: %s: want more than 0", c.Drain))
	}
	if c.PeerTimeout <= 0 {
		problems = append(problems, fmt.Errorf("PEER_TIMEOUT: %s: want more than 0", c.PeerTimeout))
	}
	return errors.Join(problems...)
}
