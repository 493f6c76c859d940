package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// A Config is the part of a plugin's config.json that our plugins use. A key outside of it is refused: the engine would
// ignore a misspelt one in silence.
type Config struct {
	Description   string    `json:"description"`
	Documentation string    `json:"documentation"`
	Entrypoint    []string  `json:"entrypoint"`
	WorkDir       string    `json:"workdir"`
	Interface     Interface `json:"interface"`
	Network       Network   `json:"network"`
	Mounts        []Mount   `json:"mounts"`
	Env           []Env     `json:"env"`
	Linux         Linux     `json:"linux"`
}

// An Interface is the protocol that the plugin serves, and its socket's name below the engine's folder for plugins.
type Interface struct {
	Types  []string `json:"types"`
	Socket string   `json:"socket"`
}

// A Network is where the plugin's process lives: host or none.
type Network struct {
	Type string `json:"type"`
}

// A Mount is a path of the host inside the plugin.
type Mount struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Options     []string `json:"options"`
}

// An Env is a setting with its default.
type Env struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Value       string   `json:"value"`
	Settable    []string `json:"settable,omitempty"`
}

// Linux is what the plugin may do beyond an ordinary container.
type Linux struct {
	Capabilities []string `json:"capabilities"`
}

// ReadConfig reads a config.json.
func ReadConfig(text []byte) (Config, error) {
	var c Config
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(&c); err != nil {
		return c, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("more stands behind the configuration's end")
	}
	return c, nil
}

// Text is the config.json with that build stamped in.
func (c Config) Text(build string) (string, error) {
	c.Env = slices.Clone(c.Env)
	for i := range c.Env {
		if c.Env[i].Name == contract.BuildVariable {
			c.Env[i].Value = build
		}
	}
	text, err := json.MarshalIndent(c, "", "  ")
	return string(text) + "\n", err
}

// Build is the stamp.
func (c Config) Build() string {
	for _, e := range c.Env {
		if e.Name == contract.BuildVariable {
			return e.Value
		}
	}
	return ""
}

// Check reports everything in the configuration that the engine would take and that would hurt later.
func (c Config) Check(name string) error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(c.Entrypoint) == 0 || !path.IsAbs(c.Entrypoint[0]) {
		bad("entrypoint %q: want the absolute path of the plugin's program", c.Entrypoint)
	}
	if len(c.Interface.Types) == 0 {
		bad("interface.types: want at least one")
	}
	if c.Interface.Socket != name+".sock" {
		bad("interface.socket %q: want %q", c.Interface.Socket, name+".sock")
	}
	c.checkMounts(name, bad)
	c.checkEnv(bad)
	for _, capability := range c.Linux.Capabilities {
		if !strings.HasPrefix(capability, "CAP_") {
			bad("linux.capabilities: %q: want CAP_…: the engine takes no other form", capability)
		}
	}
	return errors.Join(problems...)
}

func (c Config) checkMounts(name string, bad func(string, ...any)) {
	state := path.Join(contract.StateRoot, name)
	keeps := false
	seen := map[string]bool{}
	for i, m := range c.Mounts {
		if m.Name == "" || m.Description == "" || seen[m.Name] {
			bad("mounts[%d] (%s): want a name of its own and a description: they are what a person sees who looks into the plugin", i, m.Source)
		}
		seen[m.Name] = true
		if m.Type != "bind" || !path.IsAbs(m.Source) || !path.IsAbs(m.Destination) {
			bad("mounts[%d] (%s): want a bind mount from an absolute path to an absolute path", i, m.Name)
		}
		keeps = keeps || (m.Source == state && m.Destination == state && slices.Contains(m.Options, "rw"))
	}
	if !keeps {
		bad("mounts: none is %s, writable: the plugin would forget everything at each upgrade", state)
	}
}

func (c Config) checkEnv(bad func(string, ...any)) {
	stamps := 0
	seen := map[string]bool{}
	for i, e := range c.Env {
		switch {
		case !strings.HasPrefix(e.Name, "ROLLING_"):
			bad("env[%d]: %q: want a name that begins with ROLLING_", i, e.Name)
		case e.Description == "":
			bad("env[%d] (%s): want a description", i, e.Name)
		case seen[e.Name]:
			bad("env[%d] (%s): is there twice", i, e.Name)
		case e.Name == contract.BuildVariable:
			stamps++
			if len(e.Settable) > 0 {
				bad("env[%d] (%s): must not be settable: it says which build this is", i, e.Name)
			}
		case e.Name == contract.FrameVariable:
			if len(e.Settable) > 0 {
				bad("env[%d] (%s): must not be settable: it says what the bundle is", i, e.Name)
			}
		case !slices.Equal(e.Settable, []string{"value"}):
			bad(`env[%d] (%s): want "settable": ["value"]`, i, e.Name)
		}
		seen[e.Name] = true
	}
	if stamps != 1 {
		bad("env: want %s once, got %d", contract.BuildVariable, stamps)
	}
}
