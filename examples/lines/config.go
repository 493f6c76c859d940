package main

import (
	"errors"
	"fmt"

	"github.com/caarlos0/env/v11"
)

// A Config is what the environment says. Every setting has a default that works.
type Config struct {
	// Lines is how many lines are written.
	Lines int `env:"LINES" envDefault:"10000"`
	// Size is how long each line is made, in bytes without its end; shorter than its number, it is not cut.
	Size int `env:"SIZE" envDefault:"100"`
	// Rate is how many lines are written a second; 0: as fast as somebody takes them.
	Rate int `env:"RATE" envDefault:"0"`
}

// ReadConfig reads the environment and reports every problem at once.
func ReadConfig() (Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return c, fmt.Errorf("settings: %w", err)
	}
	return c, c.Validate()
}

// Validate reports every setting that cannot work.
func (c Config) Validate() error {
	var problems []error
	for name, value := range map[string]int{"LINES": c.Lines, "SIZE": c.Size, "RATE": c.Rate} {
		if value < 0 {
			problems = append(problems, fmt.Errorf("%s: %d: want 0 or more", name, value))
		}
	}
	return errors.Join(problems...)
}
