package isolation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/internal/permits"
)

// Book is all that this node knows of who is where.
type Book struct {
	Here    map[netip.Addr]Class  // containers of this node
	Far     map[netip.Addr]Number // those of other nodes, by the mark that came with the route; None: without one
	Pools   []netip.Prefix        // in which every address is a container's, known or not
	Policy  Policy
	Bridges []string // by which containers here hang on physical networks
	Outside bool     // the company's other networks may connect to every project
}

// Kind is what an address is to this node.
type Kind string

// Kinds of addresses.
const (
	Local    Kind = "a container of this node"
	Remote   Kind = "a container of another node"
	Stranger Kind = "an address of a pool that nobody vouches for"
	Company  Kind = "an address outside the pools"
)

// Party is one end of a connection.
type Party struct {
	Address netip.Addr `json:"address"`
	Kind    Kind       `json:"kind"`
	Class   Class      `json:"class,omitzero"`
}

// Who tells what an address is.
func (b Book) Who(a netip.Addr) Party {
	if c, here := b.Here[a]; here {
		if b.Policy.Trusted(c) == None {
			return Party{a, Stranger, Class{}}
		}
		return Party{a, Local, c}
	}
	if n, far := b.Far[a]; far {
		if c, ok := b.Policy.ClassOf(n); ok {
			return Party{a, Remote, c}
		}
		return Party{a, Stranger, Class{}}
	}
	for _, p := range b.inside() {
		if p.Contains(a) {
			return Party{a, Stranger, Class{}}
		}
	}
	return Party{a, Company, Class{}}
}

// inside are the pools that this node and the document know.
func (b Book) inside() []netip.Prefix { return slices.Concat(b.Pools, b.Policy.pools) }

// Without is the book where no pool holds a node of the Swarm: a range of the physical network may have been drawn too
// wide, and nodes must reach each other whatever it says.
func (b Book) Without(nodes []netip.Addr) Book {
	b.Pools = slices.DeleteFunc(b.inside(), func(p netip.Prefix) bool { return slices.ContainsFunc(nodes, p.Contains) })
	b.Policy.pools = nil
	return b
}

// Rule is what decided.
type Rule string

// The rules, in the order in which they are asked.
const (
	ToCompany  Rule = "to-company"  // only projects are kept apart
	Elsewhere  Rule = "elsewhere"   // the node that has the address decides
	NotKnown   Rule = "not-known"   // nobody vouches for the address that is asked
	NoProject  Rule = "no-project"  // the network that is asked belongs to none
	OpenToAll  Rule = "open"        // it says rolling.isolation: open
	Operator   Rule = "operator"    // ROLLING_OUTSIDE=open
	NotTrusted Rule = "not-trusted" // nobody vouches for the address that asks
	OwnProject Rule = "own-project"
	Label      Rule = "label"      // of a service: rolling.allow-from
	OtherPort  Rule = "other-port" // a label lets the project in, but not by this port
	NoEntry    Rule = "no-entry"   // no label names the project
)

// Verdict is who decided, and why.
type Verdict struct {
	Allowed bool   `json:"allowed"`
	Rule    Rule   `json:"rule"`
	Service string `json:"service,omitempty"` // whose label it is
	Why     string `json:"why"`
	From    Party  `json:"from"`
	To      Party  `json:"to"`
}

// Judge says whether the one may open a connection to the other's port. Answers to an allowed one always pass.
func (b Book) Judge(from, to netip.Addr, protocol permits.Protocol, port uint16) Verdict {
	v := Verdict{From: b.Who(from), To: b.Who(to)}
	b.judge(&v, protocol, port)
	return v
}

func (v *Verdict) say(allowed bool, rule Rule, why string) {
	v.Allowed, v.Rule, v.Why = allowed, rule, why
}

func (b Book) judge(v *Verdict, protocol permits.Protocol, port uint16) {
	from, to := v.From, v.To
	unowned := from.Kind == Company || from.Kind != Stranger && from.Class.Project == ""
	switch {
	case to.Kind == Company:
		v.say(true, ToCompany, "only projects are kept apart: everybody may connect to the company's other networks")
	case to.Kind == Stranger && unowned && b.Outside:
		v.say(true, Elsewhere, "the node that has the address decides: ROLLING_OUTSIDE=open")
	case to.Kind == Stranger:
		v.say(false, NotKnown, "no node that is trusted has told whose the address asked for is")
	case to.Class.Project == "":
		v.say(true, NoProject, "its network belongs to no project: everybody may connect")
	case to.Class.Open:
		v.say(true, OpenToAll, "its network says rolling.isolation: open")
	case unowned && b.Outside:
		v.say(true, Operator, "the company's other networks may connect to every project: ROLLING_OUTSIDE=open")
	case unowned:
		b.permitted(v, permits.Outside, protocol, port)
	case from.Kind == Stranger:
		v.say(false, NotTrusted, "no node that is trusted has told whose the asking address is")
	case from.Class.Project == to.Class.Project:
		v.say(true, OwnProject, "both belong to project "+to.Class.Project)
	default:
		b.permitted(v, from.Class.Project, protocol, port)
	}
}

func (b Book) permitted(v *Verdict, from string, protocol permits.Protocol, port uint16) {
	to := v.To.Class.Project
	open := b.Policy.doors[pair{from, to}]
	for _, d := range slices.SortedFunc(maps.Keys(open), compareDoors) {
		if d.passes(protocol, port) {
			v.say(true, Label, fmt.Sprintf("service %s says rolling.allow-from: %s", open[d], d.text(from)))
			v.Service = open[d]
			return
		}
	}
	if len(open) > 0 {
		v.say(false, OtherPort, fmt.Sprintf("project %s lets %s in, but not by this port", to, from))
		return
	}
	v.say(false, NoEntry, fmt.Sprintf("no service of project %s has %s in its label rolling.allow-from", to, from))
}

func compareDoors(a, b door) int {
	if a.port != b.port {
		return int(a.port) - int(b.port)
	}
	return len(a.protocol) - len(b.protocol)
}

func (d door) text(from string) string {
	switch {
	case d.port == 0:
		return from
	case d.protocol == "":
		return fmt.Sprintf("%s:%d", from, d.port)
	}
	return fmt.Sprintf("%s:%d/%s", from, d.port, d.protocol)
}

// Isolates says that some container here is not open to everybody. Without one nothing need be kept apart here.
func (b Book) Isolates() bool {
	for _, c := range b.Here {
		if !c.everybody() {
			return true
		}
	}
	return false
}

// Group is the fast path's group of an address: None is never carried.
func (b Book) Group(a netip.Addr) Number {
	if p := b.Who(a); p.Kind == Local || p.Kind == Remote {
		return b.Policy.Trusted(p.Class)
	}
	return None
}

// GroupOfMark is Group for an address of which only the mark is known.
func (b Book) GroupOfMark(n Number) Number {
	if _, ok := b.Policy.ClassOf(n); ok {
		return n
	}
	return None
}

// Pairs are the different groups of which each may send everything to the other: one that may only ask and be answered
// goes the ordinary way, where connections are known. Sorted.
func (b Book) Pairs() [][2]Number {
	here, all := map[Class]bool{}, map[Class]bool{}
	for _, c := range b.Here {
		if b.Policy.Trusted(c) != None {
			here[c], all[c] = true, true
		}
	}
	for _, n := range b.Far {
		if c, ok := b.Policy.ClassOf(n); ok {
			all[c] = true
		}
	}
	var pairs [][2]Number
	for c := range here {
		for o := range all {
			if c != o && b.Policy.reaches(c, o, b.Outside) && b.Policy.reaches(o, c, b.Outside) {
				pairs = append(pairs, [2]Number{c.Number(), o.Number()}, [2]Number{o.Number(), c.Number()})
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]Number) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(pairs)
}
