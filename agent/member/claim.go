package member

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// A claim is what one service asks for.
type claim struct {
	service Service
	last    standing
	binding Binding
}

// settle reads the labels of all services and decides which binding is in force for each; those that ask for nothing, or
// for nothing that is known to be good, are left out.
func (n *State) settle(s State, services []Service) []claim {
	var claims []claim
	for _, service := range services {
		if c, ok := n.read(s.services[service.ID], service); ok {
			claims = append(claims, c)
		}
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(a.service.Created.Compare(b.service.Created), cmp.Compare(a.service.ID, b.service.ID))
	})
	owners := ownersOf(claims)
	settled := claims[:0]
	for _, c := range claims {
		if problems := c.foreign(owners); len(problems) > 0 {
			n.problems = append(n.problems, problems...)
			c.binding = c.last.binding
		}
		if !c.binding.empty() {
			settled = append(settled, c)
		}
	}
	return settled
}

// read takes the labels of a service. Where they are wrong, the last good ones stay in force: those remembered, or after
// a change of leader those of the spec before.
func (n *State) read(last standing, service Service) (claim, bool) {
	b, problems := Bind(service.Name, service.Labels)
	if len(problems) > 0 {
		n.problems = append(n.problems, problems...)
		b = last.binding
		if b.empty() {
			if previous, wrong := Bind(service.Name, service.Previous); len(wrong) == 0 {
				b = previous
			}
		}
	}
	return claim{service: service, last: last, binding: b}, !b.empty()
}

func (b Binding) keys() []string { return []string{b.Upstream, b.Path} }

// ownersOf maps each upstream and path to the project that it belongs to: that of whoever has it already, else that of
// the oldest service. Claims come sorted by age.
func ownersOf(claims []claim) map[string]string {
	owners := map[string]string{}
	for _, held := range []bool{true, false} {
		for _, c := range claims {
			for _, key := range c.binding.keys() {
				_, taken := owners[key]
				if key != "" && !taken && slices.Contains(c.last.binding.keys(), key) == held {
					owners[key] = c.binding.Project
				}
			}
		}
	}
	return owners
}

// foreign finds an upstream or a path that belongs to another project.
func (c claim) foreign(owners map[string]string) []Problem {
	var problems []Problem
	for _, want := range []struct{ label, key, what string }{
		{contract.DiscoveryNginx, c.binding.Upstream, "upstream"}, {contract.DiscoveryZooKeeper, c.binding.Path, "path"},
	} {
		if owner := owners[want.key]; want.key != "" && owner != c.binding.Project {
			problems = append(problems, Problem{
				Service: c.service.Name, Label: want.label, Value: c.service.Labels[want.label],
				What: fmt.Sprintf("the %s %s belongs to the project %s, this service to %s: choose another name", want.what, want.key, owner, c.binding.Project),
			})
		}
	}
	return problems
}
