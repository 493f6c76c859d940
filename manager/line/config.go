package line

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

// Config is the line's part of the manager's settings; the manager's config.go reads it from the environment.
type Config struct {
	// Listen is where agents dial: HOST:PORT or :PORT. Empty: the manager has no line.
	Listen string `env:"ROLLING_LINE_LISTEN" envDefault:":7420"`
	// Secret is the file with the line's key and certificates; see `rolling line init`. A manager without it has no line.
	Secret string `env:"ROLLING_LINE_SECRET" envDefault:"/run/secrets/rolling-line"`
}

// Validate says what is wrong, all problems at once.
func (c Config) Validate() error {
	if c.Listen == "" {
		return nil
	}
	var problems []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		problems = append(problems, fmt.Errorf("ROLLING_LINE_LISTEN: %q: want HOST:PORT or :PORT", c.Listen))
	}
	if !filepath.IsAbs(c.Secret) {
		problems = append(problems, fmt.Errorf("ROLLING_LINE_SECRET: %q: want an absolute path", c.Secret))
	}
	return errors.Join(problems...)
}
