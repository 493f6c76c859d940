package loader

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/plugin"

	"github.com/rolling-swarm/rolling/agent/bundle"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// Found is a bundle and where it lies.
type Found struct {
	bundle.Bundle
	Folder  string
	program string // of a bundle with a launcher: the program that it runs
}

// Find reads every bundle of a folder: NAME/config.json with NAME/rootfs beside it.
func Find(folder string) ([]Found, error) {
	configs, err := filepath.Glob(filepath.Join(folder, "*", "config.json"))
	if err != nil || len(configs) == 0 {
		return nil, errors.Join(err, fmt.Errorf("no bundle in %s: want NAME/config.json and NAME/rootfs", folder))
	}
	var found []Found
	var problems []error
	for _, c := range configs {
		f, err := read(filepath.Dir(c))
		if err != nil {
			problems = append(problems, fmt.Errorf("bundle %s: %w", filepath.Dir(c), err))
			continue
		}
		found = append(found, f)
	}
	return found, errors.Join(problems...)
}

func read(folder string) (Found, error) {
	text, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		return Found{}, err
	}
	var c plugin.Config
	if err := json.Unmarshal(text, &c); err != nil {
		return Found{}, fmt.Errorf("config.json: %w", err)
	}
	if s, err := os.Stat(filepath.Join(folder, "rootfs")); err != nil || !s.IsDir() {
		return Found{}, errors.New("it has no rootfs")
	}
	f := Found{Folder: folder}
	f.Alias = "rolling/" + filepath.Base(folder) + ":latest"
	f.Defaults = map[string]string{}
	for _, e := range c.Env {
		value := ""
		if e.Value != nil {
			value = *e.Value
		}
		switch {
		case e.Name == contract.BuildVariable:
			f.Build = value
		case e.Name == contract.FrameVariable:
			f.Frame = value
		case slices.Contains(e.Settable, "value"):
			f.Defaults[e.Name] = value
		}
	}
	if f.Build == "" {
		return f, fmt.Errorf("config.json has no %s", contract.BuildVariable)
	}
	if f.Frame != "" {
		if len(c.Entrypoint) == 0 {
			return f, errors.New("config.json has no entrypoint")
		}
		f.program = filepath.Join(folder, "rootfs", c.Entrypoint[len(c.Entrypoint)-1])
	}
	for _, m := range c.Mounts {
		if m.Source != nil && strings.HasPrefix(*m.Source, contract.StateRoot+"/") {
			f.Folders = append(f.Folders, *m.Source)
		}
	}
	return f, nil
}
