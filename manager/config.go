package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/manager/api"
	"github.com/rolling-swarm/rolling/manager/line"
)

// Config is every setting, with a default that works. The first three are for every command, the others for rolling server.
type Config struct {
	URL     string `env:"ROLLING_URL"` // where commands find the API; empty: ROLLING_SOCKET
	NoColor string `env:"NO_COLOR"`    // anything: no colours (no-color.org)
	Term    string `env:"TERM"`        // dumb: no colours

	Socket   string     `env:"ROLLING_SOCKET" envDefault:"/run/rolling/rolling.sock"`   // the API for this machine's root
	Listen   string     `env:"ROLLING_LISTEN"`                                          // the API on loopback too: 127.0.0.1:2400, with commas; every user of this machine can reach it
	Engine   string     `env:"ROLLING_ENGINE" envDefault:"unix:///var/run/docker.sock"` // of a manager of the Swarm
	State    string     `env:"ROLLING_STATE" envDefault:"/var/lib/rolling/manager"`     // folder on a local disk
	Plain    []string   `env:"ROLLING_PLAIN_REGISTRIES"`                                // HOST:PORT, with commas, that speak plain HTTP; private addresses may anyway
	LogLevel slog.Level `env:"ROLLING_LOG_LEVEL" envDefault:"info"`                     // debug, info, warn, error
	LogForm  string     `env:"ROLLING_LOG_FORMAT" envDefault:"text"`                    // text or json

	Line line.Config

	addresses []api.Address
}

// readConfig reads the environment. What rolling server alone needs is checked by Validate, so that a bad setting of the
// server's stops no other command.
func readConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	if c.URL == "" {
		c.URL = "unix://" + c.Socket
	}
	return c, nil
}

// Validate reports all problems at once, and keeps what it read.
func (c *Config) Validate() error {
	var problems []error
	bad := func(setting string, err error) { problems = append(problems, fmt.Errorf("%s: %w", setting, err)) }
	c.addresses = nil
	serveOn := func(setting, text string) {
		a, err := api.ParseAddress(text)
		if err != nil {
			bad(setting, err)
			return
		}
		c.addresses = append(c.addresses, a)
	}
	serveOn("ROLLING_SOCKET", "unix://"+c.Socket)
	for _, text := range strings.FieldsFunc(c.Listen, func(r rune) bool { return r == ',' || r == ' ' }) {
		serveOn("ROLLING_LISTEN", text)
	}
	if !strings.Contains(c.Engine, "://") {
		bad("ROLLING_ENGINE", fmt.Errorf("%q: want a URL such as unix:///var/run/docker.sock", c.Engine))
	}
	if !filepath.IsAbs(c.State) {
		bad("ROLLING_STATE", fmt.Errorf("%q: want an absolute path", c.State))
	}
	for _, r := range c.Plain {
		if r == "" || strings.Contains(r, "/") {
			bad("ROLLING_PLAIN_REGISTRIES", fmt.Errorf("%q: want HOST or HOST:PORT", r))
		}
	}
	if c.LogForm != "text" && c.LogForm != "json" {
		bad("ROLLING_LOG_FORMAT", fmt.Errorf("%q: want text or json", c.LogForm))
	}
	if err := c.Line.Validate(); err != nil {
		problems = append(problems, err)
	}
	if len(problems) == 0 {
		return nil
	}
	text := errors.Join(problems...).Error()
	if n := strings.Count(text, "\n") + 1; n > 1 {
		return fmt.Errorf("settings: %d problems:\n  %s", n, strings.ReplaceAll(text, "\n", "\n  "))
	}
	return fmt.Errorf("settings: %s", text)
}

func (c *Config) storePath() string { return filepath.Join(c.State, "manager.db") }
