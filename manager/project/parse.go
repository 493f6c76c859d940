package project

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Input is a project file and what goes with it.
type Input struct {
	File  string            // how the file is called in error texts
	Bytes []byte            // the file
	Files map[string][]byte // what configs.X.file and secrets.X.file name, by the path as written; see FilesNamed
	// Zone finds a time zone by name: time.LoadLocation, or a table in tests. Nil knows UTC alone.
	Zone func(string) (*time.Location, error)
}

// Parse reads a project file. An error is always a *Problems that names everything wrong at once.
func Parse(in Input) (*Project, error) {
	root, problems := tree(in.Bytes)
	if root == nil {
		return nil, &Problems{in.File, problems}
	}
	w := &walk{problems: problems, declared: declared(root), files: in.Files, zone: in.Zone}
	if w.zone == nil {
		w.zone = onlyUTC
	}
	topLevel(w, "", root)
	x := child(root, "x-rolling")
	if x == nil {
		w.say("x-rolling", "this key makes a Compose file a project file; want project and environments under it")
		x = &yaml.Node{Kind: yaml.MappingNode}
	}
	p := w.read(x)
	w.lengths(p, root)
	w.models(p, root, x)
	if w.problems = unique(w.problems); len(w.problems) > 0 {
		return nil, &Problems{in.File, w.problems}
	}
	return p, nil
}

func onlyUTC(name string) (*time.Location, error) {
	if name != "UTC" {
		return nil, errors.New("no table of time zones was given")
	}
	return time.UTC, nil
}

func topLevel(w *walk, at string, root *yaml.Node) {
	object(keys{
		"version":   nothing,
		"services":  named(nameOf(wantObject, objectPattern), service()),
		"networks":  named(nameOf(wantObject, objectPattern), orNothing(network())),
		"volumes":   named(nameOf(wantObject, objectPattern), orNothing(volume())),
		"configs":   named(nameOf(wantObject, objectPattern), fileObject("configs")),
		"secrets":   named(nameOf(wantObject, objectPattern), fileObject("secrets")),
		"x-rolling": rolling,
	}, topDrops)(w, at, root)
	if services := child(root, "services"); services == nil || services.Kind == yaml.MappingNode && len(services.Content) == 0 {
		w.say("services", "want one service at least")
	}
}

// declared collects the names that values elsewhere in the file may refer to.
func declared(root *yaml.Node) map[string][]string {
	out := map[string][]string{"networks": {defaultNetwork}}
	for _, kind := range []string{"services", "networks", "volumes", "configs", "secrets"} {
		for name := range entries(child(root, kind)) {
			out[kind] = append(out[kind], name)
		}
	}
	x := child(root, "x-rolling")
	for name := range entries(child(x, "environments")) {
		out["x-rolling.environments"] = append(out["x-rolling.environments"], name)
	}
	out["project"] = []string{scalarOf(child(x, "project"))}
	return out
}

// FilesNamed lists the files that a project file wants handed over with it. A file that cannot be read has none: Parse
// says why.
func FilesNamed(file []byte) []string {
	root, _ := tree(file)
	var names []string
	for _, kind := range []string{"configs", "secrets"} {
		for _, object := range entries(child(root, kind)) {
			if name := scalarOf(child(object, "file")); name != "" && filepath.IsLocal(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// lengths checks the names that Swarm will see, each in the environment with the longest name.
func (w *walk) lengths(p *Project, root *yaml.Node) {
	longest, grey := EnvironmentName(""), ""
	for _, e := range p.Environments {
		if len(e.Name) > len(longest) {
			longest = e.Name
		}
		if e.Rollout.Pause != PauseNever {
			grey = GreySuffix
		}
	}
	for _, name := range w.declared["services"] {
		w.serviceName("services."+name, FullName(p.Name, longest, name)+grey, name)
	}
	for env, e := range entries(child(child(root, "x-rolling"), "environments")) {
		for name := range entries(child(e, "services")) {
			if !slices.Contains(w.declared["services"], name) {
				w.serviceName("x-rolling.environments."+env+".services."+name, FullName(p.Name, EnvironmentName(env), name)+grey, name)
			}
		}
	}
	for name := range entries(child(root, "networks")) {
		w.length("networks."+name, FullName(p.Name, longest, name), MaxName)
	}
	for _, kind := range []string{"configs", "secrets"} {
		for name, object := range entries(child(root, kind)) {
			if scalarOf(child(object, "external")) != "true" {
				w.length(kind+"."+name, FullName(p.Name, longest, name)+"-"+strings.Repeat("0", HashLength), MaxObjectName)
			}
		}
	}
}

func (w *walk) serviceName(path, full, name string) {
	w.length(path, full, MaxName)
	if stem, ok := strings.CutSuffix(name, GreySuffix); ok && slices.Contains(w.declared["services"], stem) {
		w.say(path, "this name is kept for the grey service of %q", stem)
	}
}

func (w *walk) length(path, full string, most int) {
	if len(full) > most {
		w.say(path, "its name in Swarm, %q, has %d characters: want %d or fewer", full, len(full), most)
	}
}

// GreySuffix ends the name of the service that holds a new release beside the main one during a rollout with pauses.
const GreySuffix = "-grey"

// A config or secret cannot be changed in Swarm, so its name ends in a hash of its content.
const (
	HashLength    = 10
	MaxObjectName = 64 // Swarm's limit for these two kinds
)

// overlayPath is where a service or network of one environment stands in the file.
func overlayPath(x *yaml.Node, env EnvironmentName, kind, name string) string {
	if child(child(child(child(x, "environments"), string(env)), kind), name) != nil {
		return fmt.Sprintf("x-rolling.environments.%s.%s.%s", env, kind, name)
	}
	return kind + "." + name
}
