package proof

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A View is what every witness says of addresses at one moment: the kernel and the engine of each node, Swarm's
// tasks, the ledger of the leader's IPAM plugin, and the router's BGP table.
type View struct {
	Containers []Container
	Tasks      []Task
	Known      []netip.Addr                  // addresses of all of Swarm's tasks, also of ended ones and of dead nodes
	Ledger     []netip.Addr                  // leases that the leader's plugin holds as in use
	Routes     map[netip.Prefix][]netip.Addr // the router's BGP routes with their next hops; nil: not asked
	Nodes      map[string]netip.Addr         // node → its address in the LAN
}

// A Container runs on a node; it is named by its first 12 characters.
type Container struct {
	Node, ID, Task string
	Engine         []netip.Addr // what docker inspect shows on rolling networks
	Kernel         []netip.Addr // what its interfaces have
}

// A Task is one that Swarm wants running and says is running.
type Task struct {
	ID, Node, Service string
	Addresses         []netip.Addr
	Since             time.Time // when Swarm called it running, which is healthy where there is a health check
}

// Disagreements compares the witnesses and returns one sentence a contradiction: an address with two owners, an
// engine or a kernel that differs from Swarm's task, an address in use that the ledger does not hold, a /32 that is
// missing, surplus or points to another node. An empty answer means that all of them agree.
func Disagreements(v View) []string {
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	tasks := map[string]Task{}
	for _, t := range v.Tasks {
		tasks[t.ID] = t
	}
	owner := map[netip.Addr]string{}
	seen := map[string]bool{}
	for _, c := range v.Containers {
		seen[c.Task] = true
		for _, a := range c.Engine {
			if other, taken := owner[a]; taken {
				say("address %s has two owners: container %s and container %s", a, other, c.Node+"/"+c.ID)
			}
			owner[a] = c.Node + "/" + c.ID
			if v.Ledger != nil && !slices.Contains(v.Ledger, a) {
				say("address %s of container %s/%s is not in the ledger", a, c.Node, c.ID)
			}
		}
		if !sameAddresses(c.Engine, c.Kernel) {
			say("container %s/%s: the engine says %v, the kernel %v", c.Node, c.ID, c.Engine, c.Kernel)
		}
		if t, known := tasks[c.Task]; known && !sameAddresses(c.Engine, t.Addresses) {
			say("container %s/%s: the engine says %v, Swarm's task %s %v", c.Node, c.ID, c.Engine, t.ID, t.Addresses)
		}
	}
	for _, t := range v.Tasks {
		if !seen[t.ID] {
			say("task %s runs on %s, says Swarm, but no container of it is there", t.ID, t.Node)
		}
	}
	for _, a := range v.Ledger {
		if owner[a] == "" && !slices.Contains(v.Known, a) {
			say("the ledger holds %s, which no container and no task has", a)
		}
	}
	if v.Routes != nil {
		said = append(said, routeDisagreements(v, owner)...)
	}
	slices.Sort(said)
	return said
}

func routeDisagreements(v View, owner map[netip.Addr]string) []string {
	var said []string
	for a, who := range owner {
		node, _, _ := strings.Cut(who, "/")
		hops, announced := v.Routes[netip.PrefixFrom(a, a.BitLen())]
		switch {
		case !announced:
			said = append(said, fmt.Sprintf("the router has no route to %s of container %s", a, who))
		case len(hops) != 1 || hops[0] != v.Nodes[node]:
			said = append(said, fmt.Sprintf("the router sends %s of container %s to %v, want %s", a, who, hops, v.Nodes[node]))
		}
	}
	for p, hops := range v.Routes {
		if _, known := owner[p.Addr()]; !known || !p.IsSingleIP() {
			said = append(said, fmt.Sprintf("the router has a route to %s by %v, which no container owns", p, hops))
		}
	}
	return said
}

func sameAddresses(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}
