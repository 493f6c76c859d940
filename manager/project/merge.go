package project

import (
	"fmt"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/override"
	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/compose-spec/compose-go/v2/transform"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/compose-spec/compose-go/v2/validation"
	"github.com/rolling-swarm/rolling/internal/contract"
	"go.yaml.in/yaml/v4"
)

// models gives every environment its Compose model. What the rules have already named is not named again in Compose's
// words: a merge that fails counts as news only when nothing else was wrong.
func (w *walk) models(p *Project, root, x *yaml.Node) {
	base := without(root, "version", "x-rolling")
	wasGood := len(w.problems) == 0
	if _, err := compose(plainValue(base)); err != nil {
		if wasGood {
			w.say("", "%s", err)
		}
		return
	}
	for i := range p.Environments {
		env := &p.Environments[i]
		overlay := child(child(x, "environments"), string(env.Name))
		layers := []any{plainValue(base), map[string]any{}}
		for _, kind := range []string{"services", "networks"} {
			if n := child(overlay, kind); n != nil && n.Kind == yaml.MappingNode {
				remove(layers[0], kind, n)
				layers[1].(map[string]any)[kind] = plainValue(n)
			}
		}
		fullKeys(layers[0])
		fullKeys(layers[1])
		model, err := compose(layers...)
		if err != nil {
			if wasGood {
				w.say("x-rolling.environments."+string(env.Name), "%s", err)
			}
			continue
		}
		w.fill(model)
		env.Model, env.Networks = model, options(model)
		w.merged(env, x)
	}
}

// fullKeys spells the keys of networks.X.x-rolling with "rolling." before, so that layers that spell them
// differently merge.
func fullKeys(layer any) {
	networks, _ := layer.(map[string]any)["networks"].(map[string]any)
	for _, n := range networks {
		network, _ := n.(map[string]any)
		settings, ok := network["x-rolling"].(map[string]any)
		if !ok {
			continue
		}
		full := map[string]any{}
		for key, v := range settings {
			full[contract.Prefix+strings.TrimPrefix(key, contract.Prefix)] = v
		}
		network["x-rolling"] = full
	}
}

// options are the keys of networks.X.x-rolling in a merged model.
func options(model *types.Project) map[string]map[string]string {
	out := map[string]map[string]string{}
	for name, n := range model.Networks {
		settings, _ := n.Extensions["x-rolling"].(map[string]any)
		for key, v := range settings {
			if out[name] == nil {
				out[name] = map[string]string{}
			}
			out[name][key] = fmt.Sprint(v)
		}
	}
	return out
}

// remove takes out of base what the overlay resets or overrides, before the two are merged.
func remove(base any, key string, overlay *yaml.Node) {
	parent, ok := base.(map[string]any)
	if !ok {
		return
	}
	if overlay.Tag == tagReset || overlay.Tag == tagOverride {
		delete(parent, key)
		return
	}
	for k, v := range entries(overlay) {
		remove(parent[key], k, v)
	}
}

// compose merges layers by Compose's own rules and reads the result. It does what compose-go's loader does between
// reading files and resolving paths, and nothing that touches the machine.
func compose(layers ...any) (_ *types.Project, err error) {
	// The rules let only known shapes through; should one still surprise the library, the file is refused and the
	// manager lives.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("compose-go cannot read it: %v", r)
		}
	}()
	model := map[string]any{}
	for _, layer := range layers {
		m, ok := layer.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("want a mapping")
		}
		if model, err = merge(model, m); err != nil {
			return nil, err
		}
	}
	if model, err = transform.SetDefaultValues(model); err != nil {
		return nil, err
	}
	if err := validation.Validate(model); err != nil {
		return nil, err
	}
	options := &loader.Options{SkipConsistencyCheck: true, SkipResolveEnvironment: true, SkipResolveLabels: true}
	return loader.ModelToProject(model, options, types.ConfigDetails{})
}

func merge(model, layer map[string]any) (map[string]any, error) {
	model, err := override.Merge(model, layer)
	if err != nil {
		return nil, err
	}
	if model, err = override.EnforceUnicity(model); err != nil {
		return nil, err
	}
	if err := schema.Validate(model); err != nil {
		return nil, err
	}
	if model, err = transform.Canonical(model, false); err != nil {
		return nil, err
	}
	return override.EnforceUnicity(loader.OmitEmpty(model))
}

// fill puts the contents of the files that were handed over into configs and secrets.
func (w *walk) fill(model *types.Project) {
	for name, c := range model.Configs {
		if c.File != "" {
			c.Content = string(w.files[c.File])
			model.Configs[name] = c
		}
	}
	for name, s := range model.Secrets {
		if s.File != "" {
			s.Content = string(w.files[s.File])
			model.Secrets[name] = s
		}
	}
}
