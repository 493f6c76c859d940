package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/agent/discovery"
	"github.com/rolling-swarm/rolling/agent/line"
	"github.com/rolling-swarm/rolling/agent/loader"
)

// Config is every setting, with a default that works.
type Config struct {
	Bundles  string        `env:"ROLLING_BUNDLES" envDefault:"/bundles"`                   // folder of the plugins' bundles
	Engine   string        `env:"ROLLING_ENGINE" envDefault:"unix:///var/run/docker.sock"` // this node's engine
	State    string        `env:"ROLLING_STATE" envDefault:"/var/lib/rolling"`             // the host's /var/lib/rolling, as seen here
	LogLevel slog.Level    `env:"ROLLING_LOG_LEVEL" envDefault:"info"`                     // debug, info, warn, error
	Every    time.Duration `env:"ROLLING_CHECK_EVERY" envDefault:"10s"`                    // how often the plugins are looked at unasked

	// Settings of the plugins: NAME=VALUE NAME=VALUE.
	SetIPAM    string `env:"ROLLING_SET_IPAM"`
	SetNet     string `env:"ROLLING_SET_NET"`
	SetLog     string `env:"ROLLING_SET_LOG"`
	SetMetrics string `env:"ROLLING_SET_METRICS"`

	Discovery discovery.Config // where members are registered while this node leads the Swarm
	Line      line.Config      // to the manager
}

// A Command is what the command line asks for.
type Command string

// What the agent does.
const (
	Run    Command = "run"    // keep the node's plugins as they should be, until stopped
	Load   Command = "load"   // bring them in order once
	Health Command = "health" // ask the running agent whether it is ready
	Remove Command = "remove" // take Rolling's plugins off this node
)

const usage = `usage: agent run              keep the node's plugins as they should be, until stopped
       agent load [--bundles DIR]  bring them in order once
       agent health           ask the running agent whether it is ready
       agent remove           take the plugins off this node, and what they put on it
Settings are ROLLING_* variables.
`

// errUsage is for a command line that asks for nothing that the agent does.
var errUsage = errors.New("bad command line")

// ReadConfig reads the environment, then the command line, and names all that is wrong at once.
func ReadConfig(args []string) (Command, Config, error) {
	c, err := env.ParseAs[Config]()
	if err != nil {
		return "", c, fmt.Errorf("settings: %w", err)
	}
	if len(args) == 0 {
		return "", c, fmt.Errorf("%w: no command\n%s", errUsage, usage)
	}
	flags := flag.NewFlagSet("agent "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the caller prints our usage with the error
	command := Command(args[0])
	switch command {
	case Load, Remove:
		flags.StringVar(&c.Bundles, "bundles", c.Bundles, "")
	case Run, Health:
	default:
		return "", c, fmt.Errorf("%w: %q is no command\n%s", errUsage, args[0], usage)
	}
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 {
		return "", c, fmt.Errorf("%w: %s\n%s", errUsage, strings.Join(args, " "), usage)
	}
	return command, c, c.Validate()
}

// Validate reports all problems at once.
func (c Config) Validate() error {
	var problems []error
	if !filepath.IsAbs(c.State) {
		problems = append(problems, fmt.Errorf("ROLLING_STATE: %q: want an absolute path", c.State))
	}
	if !strings.Contains(c.Engine, "://") {
		problems = append(problems, fmt.Errorf("ROLLING_ENGINE: %q: want a URL such as unix:///var/run/docker.sock", c.Engine))
	}
	if c.Every < time.Second {
		problems = append(problems, fmt.Errorf("ROLLING_CHECK_EVERY: %s: want 1s or more", c.Every))
	}
	for plugin, text := range c.set() {
		if _, err := bundle.Asked(text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", setVariable(plugin), err))
		}
	}
	problems = append(problems, c.Discovery.Validate(), c.Line.Validate())
	return errors.Join(problems...)
}

// Socket is where the agent of this node serves its pages.
func (c Config) Socket() string { return filepath.Join(c.State, "agent", "agent.sock") }

// set is what is to be set, by plugin.
func (c Config) set() map[string]string {
	return map[string]string{"ipam": c.SetIPAM, "net": c.SetNet, "log": c.SetLog, "metrics": c.SetMetrics}
}

func setVariable(plugin string) string { return "ROLLING_SET_" + strings.ToUpper(plugin) }

// Wants puts the settings over the bundles that were found.
func (c Config) Wants(found []loader.Found) ([]bundle.Want, error) {
	texts := c.set()
	var wants []bundle.Want
	var problems []error
	for _, f := range found {
		asked, err := bundle.Asked(texts[f.Name()])
		if err == nil {
			var w bundle.Want
			if w, err = f.With(asked); err == nil {
				wants = append(wants, w)
			}
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", setVariable(f.Name()), err))
		}
	}
	return wants, errors.Join(problems...)
}
