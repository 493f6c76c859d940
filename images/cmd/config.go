package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Config is what the command line says.
type Config struct {
	Out     string // folder of the tars
	Plugins string // folder of the plugins' bundles
	Push    string // registry name to push the one image to, none if empty
	Names   []string
}

// ReadConfig reads the command line.
func ReadConfig(args []string, known []string) (Config, error) {
	var c Config
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.StringVar(&c.Out, "out", "build/images", "folder for the images: NAME.tar, for docker load")
	flags.StringVar(&c.Plugins, "plugins", "build/plugins", "folder with the plugins' bundles")
	flags.StringVar(&c.Push, "push", "", "push the named image to this `repository`[:tag] and print its name by digest")
	flags.Usage = func() {
		usage := "usage: images [flags] [NAME ...]\nMakes the named images, or all: " + strings.Join(known, ", ") + ".\n"
		_, _ = io.WriteString(flags.Output(), usage) // to stderr
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	c.Names = flags.Args()
	if len(c.Names) == 0 {
		c.Names = known
	}
	return c, c.Validate(known)
}

// Validate reports every problem at once.
func (c Config) Validate(known []string) error {
	var problems []error
	for _, n := range c.Names {
		if !slices.Contains(known, n) {
			problems = append(problems, fmt.Errorf("image %q is not known: want one of %s", n, strings.Join(known, ", ")))
		}
	}
	if c.Push != "" && len(c.Names) != 1 {
		problems = append(problems, fmt.Errorf("-push %s: name the one image to push", c.Push))
	}
	return errors.Join(problems...)
}
