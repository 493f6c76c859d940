// Package allow decides which policy the Swarm's labels amount to: who says rolling.allow-from lets other projects in. It
// knows labels, networks' options and names; it knows no Docker API, no file and no node.
package allow

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/permits"
)

// Service is what a policy needs of a Swarm service.
type Service struct {
	Name   string
	Labels map[string]string
}

// Network is what it needs of a network of rolling/net.
type Network struct {
	Name    string
	Options map[string]string
	Pools   []netip.Prefix
	Range   string // the addresses that are left to containers, FIRST-LAST or a prefix, where its maker said so
}

// Problem is a mistake that a person has to mend.
type Problem struct {
	Where string `json:"where"`
	What  string `json:"what"`
}

// Policy is the document of what the Swarm runs, and what is wrong with its labels. What is wrong opens nothing.
func Policy(services []Service, networks []Network) (permits.Document, []Problem) {
	var d permits.Document
	var problems []Problem
	for _, n := range networks {
		pools, err := n.containers()
		if d.Pools = append(d.Pools, pools...); err != nil {
			problems = append(problems, Problem{"network " + n.Name, fmt.Sprintf("%s: %v", contract.Range, err)})
		}
		if six, err := netip.ParsePrefix(n.Options[contract.IPv6]); err == nil && six.Bits() > 0 { // addresses are derived in it
			d.Pools = append(d.Pools, six.Masked())
		}
		if p := n.Options[contract.Project]; p != "" {
			d.Projects = append(d.Projects, p)
		}
	}
	for _, s := range services {
		project, label := s.Labels[contract.Project], s.Labels[contract.AllowFrom]
		if project != "" && permits.IsName(project) {
			d.Projects = append(d.Projects, project)
		}
		if label == "" {
			continue
		}
		if !permits.IsName(project) {
			problems = append(problems, Problem{"service " + s.Name, fmt.Sprintf("%s without the label %s: it lets nobody in", contract.AllowFrom, contract.Project)})
			continue
		}
		all, err := permits.ParseAllowFrom(label, project, s.Name)
		if err != nil {
			problems = append(problems, Problem{"service " + s.Name, fmt.Sprintf("%s: %v", contract.AllowFrom, err)})
		}
		d.Permits = append(d.Permits, all...)
	}
	d.Projects = slices.DeleteFunc(d.Projects, func(p string) bool { return !permits.IsName(p) })
	d = d.Seal()
	return d, append(problems, clashes(d.Projects)...)
}

// clashes are names that the fabric cannot tell apart.
func clashes(projects []string) []Problem {
	names := map[permits.Number][]string{}
	for _, p := range projects {
		n := permits.NumberOf(p)
		names[n] = append(names[n], p)
	}
	var problems []Problem
	for _, n := range slices.Sorted(maps.Keys(names)) {
		if same := names[n]; len(same) > 1 {
			problems = append(problems, Problem{"projects", fmt.Sprintf("%q have the same number %d: no node trusts either: rename one", same, n)})
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int { return cmp.Compare(a.What, b.What) })
	return problems
}
