// Package spec says what Swarm should hold for one environment of a project at one release: networks, configs, secrets
// and services as Swarm's own values. It also knows the normal form of a service, in which what Swarm fills in by itself
// makes no difference.
// It knows no Swarm that answers, no ids, no clock: networks, configs and secrets are named, and who writes binds names to
// ids. The same input gives the same output, byte for byte.
package spec

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/release"
)

// StackNamespace is the label by which docker stack knows what belongs together.
const StackNamespace = "com.docker.stack.namespace"

// Desired is what Swarm should hold for one environment. Every list is sorted by name.
type Desired struct {
	Project     project.Name
	Environment project.EnvironmentName
	Release     release.ID

	Networks []swarm.NetworkSpec
	Configs  []swarm.ConfigSpec
	Secrets  []swarm.SecretSpec
	Services []swarm.ServiceSpec

	External External // what must be there already, made by somebody else
	Notes    []Note   // decisions that a person may wonder about
}

// External lists by name what the services use and the project does not make.
type External struct {
	Networks, Configs, Secrets []string
}

// Note explains one decision about one service.
type Note struct {
	Service string // short name
	Text    string
}

// Adjust is what is set from outside the project file.
type Adjust struct {
	Replicas map[project.ServiceName]uint64 // counts set by rolling scale; they go before the file's
	Rollout  string                         // the label rolling.rollout, which is left out of every comparison
	API      string                         // the Swarm's oldest engine API, as in "1.41": what it would drop is refused; "": not checked
}

// Build gives the desired objects of one environment at one release. It fails when the release lacks an image, or when
// the Swarm's engines are too old for a key.
func Build(p *project.Project, r release.Release, name project.EnvironmentName, adjust Adjust) (Desired, error) {
	env, ok := p.Environment(name)
	if !ok {
		return Desired{}, fmt.Errorf("project %s has no environment %s (%s)", p.Name, name, strings.Join(p.EnvironmentNames(), ", "))
	}
	b := &builder{project: p.Name, env: env, release: r, adjust: adjust}
	services := slices.Sorted(maps.Keys(env.Model.Services))
	var missing []error
	for _, s := range services {
		missing = append(missing, tooNew(env.Model.Services[s], adjust.API)...)
		if r.Images[project.ServiceName(s)] == "" {
			missing = append(missing, fmt.Errorf("it has no image for service %s: make a release that names one for every service", s))
		}
	}
	if len(missing) > 0 {
		return Desired{}, fmt.Errorf("release %s of %s for %s: %w", r.ID, p.Name, name, errors.Join(missing...))
	}
	d := Desired{Project: p.Name, Environment: name, Release: r.ID}
	d.Networks, d.External.Networks = b.networks()
	d.Configs, d.External.Configs = b.configs()
	d.Secrets, d.External.Secrets = b.secrets()
	for _, s := range services {
		made, notes := b.service(env.Model.Services[s])
		d.Services = append(d.Services, made)
		d.Notes = append(d.Notes, notes...)
		if env.Rollout.Pause != project.PauseNever || len(env.Rollout.Batches) > 1 {
			d.Notes = append(d.Notes, Note{s, "batches and pauses are not carried out yet: an update goes from the first task to the last"})
		}
	}
	slices.SortFunc(d.Services, func(a, b swarm.ServiceSpec) int { return cmp.Compare(a.Name, b.Name) })
	return d, nil
}

// tooNew names the keys that an older engine takes and drops without a word (seen on 20.10.24): the plan would then want
// to write them for ever.
func tooNew(s types.ServiceConfig, api string) []error {
	var problems []error
	refuse := func(uses bool, key, since string) {
		if uses && older(api, since) {
			problems = append(problems, fmt.Errorf("services.%s.%s: the Swarm has engines with API %s, which drop this key: it came with %s", s.Name, key, api, since))
		}
	}
	refuse(s.OomScoreAdj != 0, "oom_score_adj", "1.46")
	refuse(s.HealthCheck != nil && s.HealthCheck.StartInterval != nil, "healthcheck.start_interval", "1.44")
	refuse(slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Volume != nil && v.Volume.Subpath != "" }), "volumes.volume.subpath", "1.45")
	return problems
}

// older compares API versions, all of which begin with "1."; an unknown one is not older.
func older(api, than string) bool {
	a, err := strconv.Atoi(strings.TrimPrefix(api, "1."))
	b, _ := strconv.Atoi(strings.TrimPrefix(than, "1."))
	return err == nil && a < b
}

// builder holds what every converter needs to name and label things.
type builder struct {
	project project.Name
	env     project.Environment
	release release.Release
	adjust  Adjust
}

func (b *builder) full(short string) string { return project.FullName(b.project, b.env.Name, short) }

// labels are the user's own and those that say whose the object is.
func (b *builder) labels(own map[string]string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, own)
	all[StackNamespace] = project.Namespace(b.project, b.env.Name)
	all[contract.Project] = string(b.project)
	all[contract.Environment] = string(b.env.Name)
	return all
}

// sorted runs over a map by key.
func sorted[V any](m map[string]V) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
