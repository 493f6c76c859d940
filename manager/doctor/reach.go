package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// End is one end of a connection that somebody asks about.
type End struct {
	Address netip.Addr `json:"address"`
	Owner   string     `json:"owner,omitempty"`   // project/environment/service.slot
	Service string     `json:"service,omitempty"` // Swarm's full name of it, whose label opens it
	Node    string     `json:"node,omitempty"`    // "": no container of the Swarm has it
}

// View is what one node says.
type View struct {
	Node    string     `json:"node"`
	Silence string     `json:"silence,omitempty"` // why it told nothing
	Says    wire.Reach `json:"says"`
}

// Reach is whether one end may connect to the other, who decided, and what to do.
type Reach struct {
	From    End    `json:"from"`
	To      End    `json:"to"`
	Door    string `json:"door"` // PORT/PROTOCOL
	Allowed bool   `json:"allowed"`
	Certain bool   `json:"certain"` // all nodes that judge have said so
	Decider string `json:"decider"` // own project, the label of a service, the operator's default, …
	Why     string `json:"why"`
	Remedy  string `json:"remedy,omitempty"` // what opens it
	Views   []View `json:"views"`
}

// CanReach puts the nodes' views together. The node of each end judges, with the same rules: what one denies is denied.
func CanReach(from, to End, door string, views []View) Reach {
	r := Reach{From: from, To: to, Door: door, Views: views, Certain: true}
	var said []View
	for _, v := range views {
		if v.Silence != "" {
			r.Certain = false
			continue
		}
		said = append(said, v)
	}
	if len(said) == 0 {
		r.Certain, r.Decider, r.Why = false, "nobody", "no node that judges has said anything"
		r.Remedy = "bring the agents' lines back: `rolling doctor` says what is wrong with them"
		return r
	}
	at := slices.IndexFunc(said, func(v View) bool { return !v.Says.Allowed })
	r.Allowed = at < 0
	deciding := said[max(at, 0)]
	if r.Allowed { // the one who is asked has the last word
		deciding = said[len(said)-1]
	}
	r.Decider, r.Why = decider(deciding.Says), deciding.Says.Why
	if !r.Allowed {
		r.Remedy = r.remedy(deciding, said)
	}
	return r
}

// decider is who decided, in words.
func decider(s wire.Reach) string {
	switch s.Rule {
	case "own-project":
		return "own project"
	case "label":
		return "the label rolling.allow-from of service " + s.Service
	case "operator", "elsewhere":
		return "the operator's default, ROLLING_OUTSIDE=open"
	case "open":
		return "the network's rolling.isolation=open"
	case "no-project":
		return "nobody: its network belongs to no project"
	case "to-company":
		return "nobody: it is no container's address"
	case "no-entry", "other-port":
		return "isolation of project " + s.To.Class.Project + ": no label lets it in"
	case "not-trusted", "not-known":
		return "isolation: whose the address is is not known, so it is not trusted"
	}
	return "rolling/net"
}

// remedy is what opens a connection that a node denies.
func (r Reach) remedy(deciding View, said []View) string {
	if slices.ContainsFunc(said, func(v View) bool { return v.Says.Allowed }) {
		return fmt.Sprintf("node %s denies what others allow: a change of labels takes two seconds to reach all nodes; if it stays so, look at `rolling doctor` for %s, and at its policy (/debug/state of rolling/net, isolation)", deciding.Node, deciding.Node)
	}
	s := deciding.Says
	switch s.Rule {
	case "no-entry", "other-port":
		asker := s.From.Class.Project
		if asker == "" {
			asker = "@outside"
		}
		service := r.To.Service
		if service == "" {
			service = "a service of project " + s.To.Class.Project
		}
		item := asker + ":" + strings.TrimSuffix(r.Door, "/tcp")
		text := fmt.Sprintf("add %q to the label rolling.allow-from of %s, beside what stands there: in its project or stack file under deploy.labels, or at once by `docker service update --label-add rolling.allow-from=…,%s %s`", item, service, item, r.To.Service)
		if asker == "@outside" {
			text += "; or let the company's other networks into every project with ROLLING_OUTSIDE=open in ROLLING_SET_NET"
		}
		return strings.TrimSuffix(text, " ")
	case "not-trusted":
		return "no label opens this: " + unknown(s.From, r.From)
	case "not-known":
		return "no label opens this: " + unknown(s.To, r.To)
	}
	return ""
}

// unknown says why nobody may vouch for an address.
func unknown(p wire.Party, e End) string {
	if e.Node == "" {
		return fmt.Sprintf("%s lies in a pool, and no container of the Swarm has it: start its task, or see `rolling address show %s`", p.Address, p.Address)
	}
	return fmt.Sprintf("node %s has not told whose %s is, or another project has the same number: look at its BGP sessions and clashes with `rolling doctor --node %s`", e.Node, p.Address, e.Node)
}
