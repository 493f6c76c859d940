package lab

import (
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/caarlos0/env/v11"
)

// Config is what the environment says about every lab of this machine.
type Config struct {
	// Name is the lab that a command means when it names none.
	Name string `env:"LAB_NAME" envDefault:"lab"`
	// Engine is that of a new lab for which nobody says another: forky, trixie, bookworm or mixed.
	Engine string `env:"LAB_SUITE" envDefault:"forky"`
	// Cache may be kept between runs: root file systems of engines, and locks.
	Cache string `env:"ROLLING_CACHE" envDefault:"/var/cache/rolling"`
	// Path and Terminal go with a command that is run on a node or on the router.
	Path     string `env:"PATH"`
	Terminal string `env:"TERM" envDefault:"dumb"`
}

// ReadConfig reads the environment.
func ReadConfig() (Config, error) {
	var c Config
	if err := env.Parse(&c); err != nil {
		return c, fmt.Errorf("read the environment: %w", err)
	}
	if !filepath.IsAbs(c.Cache) {
		return c, fmt.Errorf("ROLLING_CACHE=%q: want an absolute path", c.Cache)
	}
	return c, nil
}

// nameShape keeps a lab's name fit for a folder, a cgroup, a namespace and, with the longest path that is made
// of it, a unix socket (108 bytes).
var nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func checkName(name string) error {
	if !nameShape.MatchString(name) {
		return fmt.Errorf("lab name %q: want 1 to 32 of a-z, 0-9 and '-', the first no '-'", name)
	}
	return nil
}
