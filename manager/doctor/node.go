package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// apart: clocks may differ by so much, besides half of the time that the question took.
const apart = 2 * time.Second

func agents(p Picture) []Finding {
	var found []Finding
	for _, n := range p.Nodes {
		switch {
		case n.State != "ready":
			found = append(found, Finding{Node: n.Name, Text: "Swarm calls the node " + n.State,
				Remedy: "look whether it has power, its cable and its engine; if it is gone for good, `docker node rm --force " + n.Name + "` lets its addresses rest a day and go"})
		case n.Silence != "" && n.leaves():
			found = append(found, Finding{Severity: Notice, Node: n.Name, Text: "the node is drained, so its agent has ended and tells nothing",
				Remedy: "`rolling node activate " + n.Name + "` brings it back"})
		case n.Silence != "":
			found = append(found, Finding{Node: n.Name, Text: "its agent tells nothing: " + n.Silence,
				Remedy: "look at `docker service ps rolling_agent`, and whether the node reaches this manager on TCP 7420"})
		case n.Facts.Host.Fault != "":
			found = append(found, Finding{Node: n.Name, Text: "its agent could not read all: " + n.Facts.Host.Fault,
				Remedy: "the agent's service needs the host's network: see examples/rolling/rolling-stack.yml"})
		}
	}
	return found
}

func plugins(p Picture) []Finding {
	var found []Finding
	builds := map[string][]string{}
	for _, n := range p.told() {
		for _, x := range n.Facts.Plugins {
			builds[x.Alias] = append(builds[x.Alias], x.Build)
		}
	}
	for _, n := range p.told() {
		for _, alias := range slices.Sorted(maps.Keys(builds)) {
			found = append(found, pluginOn(n, alias, most(builds[alias]))...)
		}
		found = append(found, driver(n)...)
	}
	return found
}

func pluginOn(n Node, alias, build string) []Finding {
	for _, x := range n.Facts.Plugins {
		switch {
		case x.Alias != alias:
		case !x.Ready:
			why := x.Problem
			if why == "" {
				why = "the agent is at work on it"
			}
			return []Finding{{Node: n.Name, Text: alias + " is not as it should be: " + why,
				Remedy: "the agent goes on trying; look at `docker plugin ls` on the node and at `docker service logs rolling_agent`"}}
		case x.Build != build:
			return []Finding{{Node: n.Name, Text: fmt.Sprintf("%s is of build %s, on most nodes of %s", alias, x.Build, build),
				Remedy: "an upgrade is under way, or was broken off: deploy Rolling's stack again and look at `docker service ps rolling_agent`"}}
		default:
			return nil
		}
	}
	return []Finding{{Node: n.Name, Text: alias + " is missing, which other nodes have", Remedy: "bring the node's agent to the release of the others"}}
}

// driver is what rolling/net itself complains of.
func driver(n Node) []Finding {
	d := n.Facts.Driver
	switch {
	case d == nil:
		return []Finding{{Node: n.Name, Text: "rolling/net does not answer: " + n.Facts.Silence,
			Remedy: "containers keep their network; new ones get none: `docker plugin ls` on the node, then `docker plugin disable -f rolling/net:latest`: the agent enables it again"}}
	case !d.Ready:
		return []Finding{{Node: n.Name, Text: "rolling/net serves no call: " + d.Refused, Remedy: "do as it says; it goes on by itself"}}
	}
	var found []Finding
	for _, step := range slices.Sorted(maps.Keys(d.Problems)) {
		found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("rolling/net cannot do its step %q: %s", step, strings.ReplaceAll(d.Problems[step], "\n", "; ")),
			Remedy: "do as it says; the step is tried again every few seconds"})
	}
	if !d.Settled {
		found = append(found, Finding{Severity: Notice, Node: n.Name, Text: "rolling/net does not know all of the fabric's routes yet", Remedy: "wait some seconds after a start; else look at its BGP sessions"})
	}
	return found
}

func drains(p Picture) []Finding {
	var found []Finding
	for _, n := range p.driven() {
		switch marked := n.Facts.Driver.Drained; {
		case marked && !n.leaves():
			found = append(found, Finding{Node: n.Name, Text: "its routes are marked for a shutdown, though the node is " + n.Availability,
				Remedy: "`rolling node activate " + n.Name + "` takes the mark off, `rolling node drain " + n.Name + "` goes on with the drain"})
		case !marked && n.leaves():
			found = append(found, Finding{Severity: Notice, Node: n.Name, Text: "the node is drained, and its routes are not marked", Remedy: "`rolling node drain " + n.Name + "` marks them"})
		}
	}
	return found
}

func clocks(p Picture) []Finding {
	var found []Finding
	for _, n := range p.told() {
		took := n.Answered.Sub(n.Asked)
		off := n.Facts.Now.Sub(n.Asked.Add(took / 2))
		if off.Abs() > apart+took/2 {
			found = append(found, Finding{Node: n.Name, Text: fmt.Sprintf("its clock is %s away from the manager's", off.Round(100*time.Millisecond)),
				Remedy: "keep all clocks by NTP (chrony, systemd-timesyncd): certificates, logs and rests of addresses go by them"})
		}
	}
	return found
}
