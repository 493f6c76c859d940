package project

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a project file.
type Problem struct {
	Path string `json:"path,omitempty"` // where, in the file's own keys: services.web.deploy.replicas, services.web.ports[0]
	Text string `json:"text"`           // what is wrong, why, and what to do
}

func (p Problem) String() string {
	if p.Path == "" {
		return p.Text
	}
	return p.Path + ": " + p.Text
}

// Problems is everything that is wrong with one project file, in the file's order. It is never empty as an error.
type Problems struct {
	File string
	List []Problem
}

func (p *Problems) Error() string {
	var b strings.Builder
	noun := "problems"
	if len(p.List) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "%s: %d %s, nothing changed", p.File, len(p.List), noun)
	for _, q := range p.List {
		b.WriteString("\n  ")
		b.WriteString(q.String())
	}
	return b.String()
}

// unique drops a problem said twice, as happens when a service is wrong in every environment in the same way.
func unique(list []Problem) []Problem {
	seen := map[Problem]bool{}
	var out []Problem
	for _, p := range list {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}
