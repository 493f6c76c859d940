package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/plugins/bundle"
)

// A Config is what the command line and the environment say.
type Config struct {
	Out   string // folder of the bundles
	Cache string // folder for what is downloaded; it outlives the checkout
	Names []string
}

// ReadConfig reads the command line, and ROLLING_CACHE.
func ReadConfig(args []string) (Config, error) {
	c := Config{Cache: os.Getenv("ROLLING_CACHE")}
	if c.Cache == "" {
		c.Cache = "/var/cache/rolling"
	}
	flags := flag.NewFlagSet("bundle", flag.ContinueOnError)
	flags.StringVar(&c.Out, "out", "build/plugins", "folder for the bundles: NAME/config.json, NAME/rootfs")
	flags.StringVar(&c.Cache, "cache", c.Cache, "folder for downloads; default is ROLLING_CACHE")
	flags.Usage = func() {
		usage := "usage: bundle [flags] [NAME ...]\nMakes the bundles of the named plugins, or of all: " + strings.Join(known(), ", ") + ".\n"
		_, _ = io.WriteString(flags.Output(), usage) // to stderr
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if c.Names = flags.Args(); len(c.Names) == 0 {
		c.Names = known()
	}
	return c, c.Validate()
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	var problems []error
	for _, n := range c.Names {
		if !slices.Contains(known(), n) {
			problems = append(problems, fmt.Errorf("plugin %q is not known: want one of %s", n, strings.Join(known(), ", ")))
		}
	}
	return errors.Join(problems...)
}

func known() []string {
	var names []string
	for _, r := range bundle.Recipes() {
		names = append(names, nameOf(r))
	}
	return names
}

func nameOf(r bundle.Recipe) string {
	name, _, _ := strings.Cut(path.Base(r.Alias), ":")
	return name
}
