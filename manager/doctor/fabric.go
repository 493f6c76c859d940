package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// named are so many of many, for a sentence.
const named = 3

func sessions(p Picture) []Finding {
	down, names := map[string]bool{}, map[string]string{}
	for _, n := range p.Nodes {
		names[n.Address] = n.Name
		down[n.Address] = n.State != "ready"
	}
	var found []Finding
	for _, n := range p.driven() {
		d := n.Facts.Driver
		if len(d.Neighbours) == 0 && len(p.Nodes) > 1 {
			found = append(found, Finding{Node: n.Name, Text: "rolling/net knows no BGP neighbour, so it learns no routes",
				Remedy: "it asks the engine for the Swarm's managers: look at `docker info` on the node and at /debug/state of rolling/net"})
		}
		for _, x := range d.Neighbours {
			address := x.Address.String()
			if x.State == wire.Established || down[address] {
				continue
			}
			f := Finding{Node: n.Name, Text: fmt.Sprintf("no BGP session with %s (%s)%s", who(names[address], x), x.State, unheard(x)),
				Remedy: "let TCP 1790 pass between all nodes, and look whether rolling/net runs on the other one"}
			switch {
			case x.CutOff:
				f.Remedy = "it announces more prefixes than ROLLING_BGP_MAX_PREFIXES allows: find out why, or allow more"
			case x.Router:
				f.Remedy = "compare both sides' addresses, AS numbers, password and TTL security; the router has to know this node as a neighbour (docs/guide/routers.md)"
			}
			found = append(found, f)
		}
	}
	return found
}

func who(name string, x wire.Neighbour) string {
	switch {
	case x.Router:
		return "the router " + x.Address.String()
	case name != "":
		return name + " at " + x.Address.String()
	}
	return x.Address.String()
}

func unheard(x wire.Neighbour) string {
	if x.Silent {
		return ", whose kernel does not answer either"
	}
	return ""
}

// routes compares what nodes have with what the Swarm's tasks imply.
func routes(p Picture) []Finding {
	local, learnt := tables(p)
	awaited := p.awaited()
	var found []Finding
	for _, n := range p.told() {
		var mute, deaf []string
		implied := 0
		for _, a := range p.Addresses {
			text := a.Address.String() + " (" + a.Owner + " on " + a.Node + ")"
			switch {
			case awaited[a.Address]:
			case a.Node == n.Name && !local[n.Name][a.Address]:
				mute = append(mute, text)
			case a.Node != n.Name && local[a.Node][a.Address]:
				if implied++; !learnt[n.Name][a.Address] {
					deaf = append(deaf, text)
				}
			}
		}
		if len(mute) > 0 {
			found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("it does not announce %d addresses of its own containers: %s", len(mute), some(mute)),
				Remedy: "look at the problems that rolling/net names, and at its endpoints in /debug/state; a restart of the task makes its link anew"})
		}
		if len(deaf) > 0 {
			found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("it has no route to %d of %d addresses on other nodes: %s", len(deaf), implied, some(deaf)),
				Remedy: "look at its BGP sessions; if they stand, `docker plugin disable -f rolling/net:latest` on it makes it learn anew (containers keep their network)"})
		}
	}
	return append(found, waiting(p)...)
}

// tables are each node's routes, by its name: those to its own containers, and those that it learnt.
func tables(p Picture) (local, learnt map[string]map[netip.Addr]bool) {
	local, learnt = map[string]map[netip.Addr]bool{}, map[string]map[netip.Addr]bool{}
	for _, n := range p.told() {
		local[n.Name], learnt[n.Name] = map[netip.Addr]bool{}, map[netip.Addr]bool{}
		for _, r := range n.Routes {
			if r.Origin == wire.Local {
				local[n.Name][r.Prefix.Addr()] = true
			} else {
				learnt[n.Name][r.Prefix.Addr()] = true
			}
		}
	}
	return local, learnt
}

// awaited are the addresses that are announced only once their containers are healthy.
func (p Picture) awaited() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	for _, n := range p.driven() {
		for _, e := range n.Facts.Driver.Endpoints {
			all[e.Address] = all[e.Address] || e.Awaited
		}
	}
	return all
}

func waiting(p Picture) []Finding {
	var found []Finding
	for _, n := range p.driven() {
		var waits []string
		for _, e := range n.Facts.Driver.Endpoints {
			if e.Awaited {
				waits = append(waits, e.Address.String())
			}
		}
		if len(waits) > 0 {
			found = append(found, Finding{Severity: Notice, Node: n.Name, Text: fmt.Sprintf("%d containers are not healthy yet, so their addresses are not announced: %s", len(waits), some(waits)),
				Remedy: "look at their health checks: `docker inspect -f '{{json .State.Health}}' CONTAINER`"})
		}
	}
	return found
}

func some(all []string) string {
	slices.Sort(all)
	if len(all) <= named {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:named], ", ") + fmt.Sprintf(" and %d more", len(all)-named)
}
