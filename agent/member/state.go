package member

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

const (
	// believeAfter is how long a service and all of its tasks must be missing without a trace before that is taken for
	// its removal. A real removal shows its tasks with the desired state remove for at least 3 s, unless nobody looked.
	believeAfter = 10 * time.Second

	// lastStand is how long the last members of a service stay after Swarm decided to stop them: they serve for another
	// 3 s + drain, and Swarm itself waits 60 s at most. Longer ago means a node that is dead.
	lastStand = 60 * time.Second
)

// A Kept registration is one that an observation did not confirm and that stays for the reason given.
type Kept struct {
	Service string `json:"service"`
	Members int    `json:"members"`
	Reason  string `json:"reason"`
}

// A State is everything that was decided so far. Its zero value knows nothing: the first Next needs a whole observation.
type State struct {
	services map[string]standing // by the service's ID
	problems []Problem
	kept     []Kept
	changed  time.Time
}

// standing is what one service has registered.
type standing struct {
	name    string
	created time.Time
	binding Binding
	members []endpoint // sorted by task
	missing time.Time  // since when the service is gone without a trace
}

// Problems are the mistakes found in the last observation.
func (s State) Problems() []Problem { return s.problems }

// Kept are the registrations that stay although the last observation did not confirm them.
func (s State) Kept() []Kept { return s.kept }

// Changed is when, by the leader's clock, Swarm recorded the newest change of a task that the last Next acted upon; zero
// if it acted upon none.
func (s State) Changed() time.Time { return s.changed }

// Doubts says that the observation lacks something that only a whole one can explain: a member that is no longer meant
// to run may have been stopped, have failed, or be unknown to an answer that is incomplete.
func (s State) Doubts(o Observation) bool {
	if s.services == nil {
		return !o.Whole
	}
	serving := map[string]bool{}
	for _, t := range o.Tasks {
		serving[t.ID] = t.serving()
	}
	known := map[string]bool{}
	for _, service := range o.Services {
		known[service.ID] = true
	}
	for id, st := range s.services {
		if !known[id] && !o.Whole {
			return true
		}
		for _, m := range st.members {
			if !serving[m.task] && !o.Whole {
				return true
			}
		}
	}
	return false
}

// Next decides anew after an observation; one that it doubts changes nothing. It leaves s as it is.
func (s State) Next(o Observation) State {
	if s.Doubts(o) {
		return s
	}
	n := State{services: map[string]standing{}}
	tasks := map[string][]Task{}
	for _, t := range o.Tasks {
		tasks[t.Service] = append(tasks[t.Service], t)
	}
	for _, c := range n.settle(s, o.Services) {
		st := standing{name: c.service.Name, created: c.service.Created, binding: c.binding}
		st.members = n.decide(c.last, st, c.service, tasks[c.service.ID], o)
		n.services[c.service.ID] = st
	}
	present := map[string]bool{}
	for _, service := range o.Services {
		present[service.ID] = true
	}
	for _, id := range s.ids() {
		if present[id] {
			continue
		}
		removed := slices.ContainsFunc(tasks[id], func(t Task) bool { return t.Desired == Remove })
		if st, stays := n.vanished(s.services[id], removed, o.At); stays {
			n.services[id] = st
		}
	}
	n.changed = s.newestChange(n, o)
	return n
}

// ids lists the services by age.
func (s State) ids() []string {
	ids := slices.Collect(maps.Keys(s.services))
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(s.services[a].created.Compare(s.services[b].created), cmp.Compare(a, b))
	})
	return ids
}

// decide answers who is a member of a service that exists.
func (n *State) decide(last, now standing, service Service, tasks []Task, o Observation) []endpoint {
	if service.Stopped {
		return nil
	}
	members := n.place(now, tasks, Task.serving)
	if len(members) > 0 || len(last.members) == 0 {
		return members
	}
	if len(tasks) == 0 {
		n.keep(last, len(last.members), "Swarm knows no task of it, although it was not scaled to 0")
		return last.members
	}
	stopping := n.place(now, tasks, func(t Task) bool {
		return t.State == Running && t.Desired != Running && o.At.Sub(t.Updated) < lastStand
	})
	if len(stopping) > 0 {
		n.keep(last, len(stopping), "all of its members were told to stop and no other is healthy yet: they stay while they run")
	}
	return stopping
}

// place makes members of the tasks that fit, and names the ones that have no address to be reached at.
func (n *State) place(now standing, tasks []Task, fits func(Task) bool) []endpoint {
	var members []endpoint
	var problem *Problem
	for _, t := range tasks {
		if !fits(t) {
			continue
		}
		network, what := chooseNetwork(now.binding, t.Addresses)
		if what != "" {
			problem = &Problem{Service: now.name, Label: contract.DiscoveryNetwork, Value: now.binding.Network, What: what}
			continue
		}
		members = append(members, endpointOf(t, network))
	}
	if problem != nil {
		n.problems = append(n.problems, *problem)
	}
	slices.SortFunc(members, func(a, b endpoint) int { return cmp.Compare(a.task, b.task) })
	return members
}

// chooseNetwork answers on which network a member is reached; a stack's networks may be named without its prefix.
func chooseNetwork(b Binding, addresses []Address) (network, what string) {
	var names []string
	for _, a := range addresses {
		if b.Network == "" || a.Network == b.Network || len(a.Network) > len(b.Network) &&
			a.Network[len(a.Network)-len(b.Network)-1:] == "_"+b.Network {
			names = append(names, a.Network)
		}
	}
	slices.Sort(names)
	switch {
	case len(names) == 1:
		return names[0], ""
	case len(names) > 1:
		return "", fmt.Sprintf("its tasks are on several networks of rolling/net (%v): name one by this label", names)
	case b.Network != "":
		return "", "a healthy task has no address on a network of rolling/net with this name"
	}
	return "", "a healthy task has no address on a network of rolling/net: add one to the service"
}

// vanished decides about a service that is no longer there. Its tasks, told to be removed, prove that somebody removed
// it; without that the answer may be incomplete, so the service has to stay away for a while first.
func (n *State) vanished(last standing, removed bool, at time.Time) (standing, bool) {
	if removed || len(last.members) == 0 {
		return standing{}, false
	}
	if last.missing.IsZero() {
		last.missing = at
	}
	if at.Sub(last.missing) >= believeAfter {
		return standing{}, false
	}
	n.keep(last, len(last.members), fmt.Sprintf("the service vanished and no task of it was told to go; taken for its removal after %s", believeAfter))
	return last, true
}

func (n *State) keep(last standing, members int, reason string) {
	n.kept = append(n.kept, Kept{Service: last.name, Members: members, Reason: reason})
}

// newestChange looks for the newest task among those that are members in only one of the two states.
func (s State) newestChange(n State, o Observation) time.Time {
	before, after := s.tasks(), n.tasks()
	var newest time.Time
	for _, t := range o.Tasks {
		if before[t.ID] != after[t.ID] && t.Updated.After(newest) {
			newest = t.Updated
		}
	}
	return newest
}

func (s State) tasks() map[string]bool {
	all := map[string]bool{}
	for _, st := range s.services {
		for _, m := range st.members {
			all[m.task] = true
		}
	}
	return all
}

// Set is what should be registered now.
func (s State) Set() Set {
	set := Set{Upstreams: map[string][]Peer{}, Paths: map[string][]Instance{}}
	for _, id := range s.ids() {
		st := s.services[id]
		b := st.binding
		if b.Upstream != "" {
			peers := set.Upstreams[b.Upstream]
			for _, m := range st.members {
				peers = append(peers, Peer{Host: m.host.String(), Port: b.UpstreamPort, Weight: b.Weight})
			}
			set.Upstreams[b.Upstream] = peers
		}
		if b.Path != "" {
			instances := set.Paths[b.Path]
			for _, m := range st.members {
				instances = append(instances, instanceOf(st, m))
			}
			set.Paths[b.Path] = instances
		}
	}
	for _, p := range set.Upstreams {
		sortPeers(p)
	}
	for _, p := range set.Paths {
		sortInstances(p)
	}
	return set
}

func instanceOf(st standing, m endpoint) Instance {
	metadata := map[string]string{
		contract.Project: st.binding.Project, contract.Environment: st.binding.Environment, contract.Service: st.name,
	}
	if m.slot != "" {
		metadata["rolling.slot"] = m.slot
	}
	if m.release != "" {
		metadata[contract.Release] = m.release
	}
	return Instance{Host: m.host.String(), Port: st.binding.PathPort, Shard: m.shard, Metadata: metadata}
}
