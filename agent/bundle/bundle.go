// Package bundle decides what has to be done with a node's plugins: it compares the bundle that the agent carries and
// the settings that are asked for with what is installed, and says the steps between the two. It knows builds, settings
// and the order of steps. It refuses to know the engine, files, and time beyond a count of failures.
//
// A plugin whose program a launcher runs (launched.go) is changed beside the engine.
//
// Its invariants: steps done and decided again are none; from wherever steps were cut off, deciding again leads to the
// same end; a plugin that is as it should be is never touched, since containers hang on it.
package bundle

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// A Bundle is what the agent carries of one plugin.
type Bundle struct {
	Alias    string            // rolling/net:latest
	Build    string            // the bundle's own digest
	Defaults map[string]string // every setting that may be set
	Folders  []string          // folders of the host that must be there before the plugin starts
	Frame    string            // "" if the engine runs the program itself, else see launched.go
}

// Name is the short name: net.
func (b Bundle) Name() string {
	name, _, _ := strings.Cut(path.Base(b.Alias), ":")
	return name
}

// A Want is a bundle with the settings asked for.
type Want struct {
	Bundle
	Values map[string]string // every setting
}

// Asked reads settings as a stack file gives them: NAME=VALUE, with spaces between; so no value holds a space.
func Asked(text string) (map[string]string, error) {
	asked := map[string]string{}
	var problems []error
	for field := range strings.FieldsSeq(text) {
		name, value, ok := strings.Cut(field, "=")
		switch _, twice := asked[name]; {
		case !ok || name == "":
			problems = append(problems, fmt.Errorf("%q: want NAME=VALUE", field))
		case twice:
			problems = append(problems, fmt.Errorf("%s: is there twice", name))
		default:
			asked[name] = value
		}
	}
	return asked, errors.Join(problems...)
}

// With puts the settings asked for over the defaults. A name that the plugin does not have is refused: set on the
// engine, it would keep the plugin from being set at all.
func (b Bundle) With(asked map[string]string) (Want, error) {
	w := Want{b, maps.Clone(b.Defaults)}
	if w.Values == nil {
		w.Values = map[string]string{}
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if _, known := b.Defaults[name]; !known {
			problems = append(problems, b.unknown(name))
			continue
		}
		w.Values[name] = asked[name]
	}
	return w, errors.Join(problems...)
}

func (b Bundle) unknown(name string) error {
	known := slices.Sorted(maps.Keys(b.Defaults))
	if near := contract.Nearest(name, known); near != "" {
		return fmt.Errorf("%s has no setting %s; did you mean %s?", b.Alias, name, near)
	}
	return fmt.Errorf("%s has no setting %s: want one of %s", b.Alias, name, strings.Join(known, ", "))
}

// Installed is what the engine says of the plugin with that alias.
type Installed struct {
	Present bool              `json:"present"`
	Enabled bool              `json:"enabled"`
	Build   string            `json:"build"` // "" for one that is not ours; with a frame, of the program that runs
	Values  map[string]string `json:"-"`
	Frame   string            `json:"frame,omitempty"`
}

// A Verb is a kind of step.
type Verb string

// The steps.
const (
	Rehearse Verb = "rehearse" // create under another name and remove: what cannot be created must cost no plugin that works
	Create   Verb = "create"
	Set      Verb = "set"
	Enable   Verb = "enable"
	Disable  Verb = "disable" // by force: networks use the plugin
	Remove   Verb = "remove"  // by force as well
	Retire   Verb = "retire"  // disable and remove, unless a container uses it: then ErrInUse
	Lay      Verb = "lay"     // put the program and its settings where the launcher takes them up
	Await    Verb = "await"   // wait until the launcher runs what was laid
)

// A Step is what to do next and why.
type Step struct {
	Verb     Verb
	Settings []string // NAME=VALUE, of Set
	Cause    string
}

func (s Step) String() string {
	words := append([]string{string(s.Verb)}, s.Settings...)
	return strings.Join(words, " ") + " (" + s.Cause + ")"
}

// Steps says how the plugin becomes what is wanted; none if it is.
//
// Another build is never laid in by the engine's own upgrade: that keeps the settings of the old build, with neither the
// defaults of new settings nor new mounts, and needs a registry. Disabling and removing by force leaves containers,
// links and routes alone, and the new plugin is registered under the same alias for the networks that are there.
func Steps(w Want, have Installed) []Step {
	if w.Frame != "" {
		return launched(w, have)
	}
	switch {
	case !have.Present:
		return append([]Step{{Verb: Create, Cause: "not installed"}}, w.started(w.Defaults, "not installed")...)
	case have.Build != w.Build:
		cause := "build " + Short(have.Build) + " is installed, " + Short(w.Build) + " is wanted"
		steps := append([]Step{{Verb: Rehearse, Cause: cause}}, disabled(have, cause)...)
		steps = append(steps, Step{Verb: Remove, Cause: cause}, Step{Verb: Create, Cause: cause})
		return append(steps, w.started(w.Defaults, cause)...)
	}
	if changes := differences(have.Values, w.Values); len(changes) > 0 {
		cause := "settings differ"
		return append(disabled(have, cause), w.started(have.Values, cause)...)
	}
	if !have.Enabled {
		return []Step{{Verb: Enable, Cause: "disabled"}}
	}
	return nil
}

func disabled(have Installed, cause string) []Step {
	if !have.Enabled {
		return nil
	}
	return []Step{{Verb: Disable, Cause: cause}}
}

// started are the last steps: the settings that the plugin does not have yet, and its start.
func (w Want) started(from map[string]string, cause string) []Step {
	var steps []Step
	if changes := differences(from, w.Values); len(changes) > 0 {
		steps = append(steps, Step{Verb: Set, Settings: changes, Cause: cause})
	}
	return append(steps, Step{Verb: Enable, Cause: cause})
}

func differences(have, want map[string]string) []string {
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if value, there := have[name]; !there || value != want[name] {
			changes = append(changes, name+"="+want[name])
		}
	}
	return changes
}

// Short is a build as people read it.
func Short(build string) string {
	if build == "" {
		return "unknown"
	}
	_, digest, found := strings.Cut(build, ":")
	if !found {
		digest = build
	}
	return digest[:min(12, len(digest))]
}

const (
	firstPause = 5 * time.Second
	longest    = 5 * time.Minute
)

// Pause is how long to wait after so many failures in a row: what the engine has just refused, it will hardly take a
// second later, and each try of a creation sends the whole bundle.
func Pause(failures int) time.Duration {
	pause := firstPause
	for ; failures > 1 && pause < longest; failures-- {
		pause *= 2
	}
	return min(pause, longest)
}
