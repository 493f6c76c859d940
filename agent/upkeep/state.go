package upkeep

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A State is how the node's plugins stand, for people and for Prometheus.
type State struct {
	Engine  string   `json:"engine"` // "ok", or why it does not answer
	Plugins []Plugin `json:"plugins"`
}

const engineOK = "ok"

// State is a copy.
func (u *Upkeep) State() State {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := State{Engine: cmp.Or(u.away, engineOK)}
	for _, alias := range slices.Sorted(maps.Keys(u.plugins)) {
		p := *u.plugins[alias]
		p.Steps = maps.Clone(p.Steps)
		s.Plugins = append(s.Plugins, p)
	}
	return s
}

// Problems say what is not as it should be; none if the node is ready.
func (s State) Problems() []string {
	if s.Engine != engineOK {
		return []string{"the engine does not answer: " + s.Engine}
	}
	var problems []string
	for _, p := range s.Plugins {
		if !p.Ready {
			problems = append(problems, fmt.Sprintf("plugin %s: %s", p.Alias, cmp.Or(p.Problem, "not as wanted yet")))
		}
	}
	return problems
}
