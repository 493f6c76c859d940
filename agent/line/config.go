package line

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Config is the line's part of the agent's settings; the agent's config.go reads it from the environment.
type Config struct {
	// Manager is where the manager listens: HOST or HOST:PORT, several with commas, tried in turn. The word "swarm" stands
	// for the managers of the Swarm, as the engine names them. Empty: there is no manager and no line.
	Manager []string `env:"ROLLING_MANAGER"`
	// Secret is the file with the line's key and certificates; see `rolling line init`.
	Secret string `env:"ROLLING_LINE_SECRET" envDefault:"/run/secrets/rolling-line"`
}

// Swarm in the list of addresses stands for the Swarm's managers.
const Swarm = "swarm"

// On says whether there is to be a line.
func (c Config) On() bool { return len(c.Manager) > 0 }

// Validate says what is wrong, all problems at once.
func (c Config) Validate() error {
	var problems []error
	for _, m := range c.Manager {
		if _, err := withPort(m); err != nil {
			problems = append(problems, fmt.Errorf("ROLLING_MANAGER: %w", err))
		}
	}
	if c.On() && !filepath.IsAbs(c.Secret) {
		problems = append(problems, fmt.Errorf("ROLLING_LINE_SECRET: %q: want an absolute path", c.Secret))
	}
	return errors.Join(problems...)
}

// withPort adds the usual port to an address without one.
func withPort(address string) (string, error) {
	address = strings.TrimSpace(address)
	if strings.Contains(address, "/") {
		return "", fmt.Errorf("%q: want HOST or HOST:PORT, without a scheme or a path", address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil { // no port; an IPv6 address may or may not be in brackets
		host, port = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]"), strconv.Itoa(wire.Port)
	}
	n, err := strconv.Atoi(port)
	if _, wrong := netip.ParseAddr(host); strings.Contains(host, ":") && wrong != nil {
		host = "" // a colon is of an IPv6 address or of nothing
	}
	if host == "" || err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("%q: want HOST or HOST:PORT", address)
	}
	return net.JoinHostPort(host, port), nil
}
