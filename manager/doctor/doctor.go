// Package doctor judges how the network of a Swarm stands: facts of all nodes come in, findings go out, each with what is
// wrong, on which node, and what to do. It knows what a healthy network looks like. It knows no agent, no Docker, no clock
// and no text of a terminal, and it mends nothing.
package doctor

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// Picture is all that is judged. What somebody could not be asked is missing in it, and says so.
type Picture struct {
	Nodes     []Node
	Networks  []Network
	Addresses []Address
}

// Node is a node of the Swarm and what its agent told.
type Node struct {
	Name         string
	Address      string // as the Swarm knows it
	State        string // ready, down, …
	Availability string // active, pause, drain
	Silence      string // why its agent told nothing; "": it did
	Asked        time.Time
	Answered     time.Time
	Facts        wire.Network
	Routes       []wire.Route
}

// Network is one of rolling/net.
type Network struct {
	Name   string
	Subnet netip.Prefix
	MTU    int // 0: the uplink's
}

// Address is one that the Swarm's tasks imply: its task has run for so long that everybody should know of it.
type Address struct {
	Address netip.Addr
	Node    string
	Owner   string // project/environment/service.slot
}

// Severity says whether a finding is a fault.
type Severity string

// The severities.
const (
	Wrong  Severity = "wrong"  // something does not work, or will not
	Notice Severity = "notice" // worth knowing, and no fault
)

// Finding is one thing that somebody should know.
type Finding struct {
	Severity Severity `json:"severity"`
	Check    string   `json:"check"`          // which one found it: agent, plugin, forwarding, …
	Node     string   `json:"node,omitempty"` // "": the whole Swarm
	Text     string   `json:"text"`           // what is wrong
	Remedy   string   `json:"remedy"`         // what to do
}

// check looks at the whole for one kind of fault.
type check struct {
	name string
	look func(Picture) []Finding
}

func checks() []check {
	return []check{
		{"agent", agents}, {"plugin", plugins}, {"drain", drains}, {"forwarding", forwarding}, {"firewall", firewalls}, {"source", sources},
		{"mtu", mtus}, {"overlap", overlaps}, {"bgp", sessions}, {"routes", routes}, {"clock", clocks},
	}
}

// Checks are the names of what is looked at.
func Checks() []string {
	var names []string
	for _, c := range checks() {
		names = append(names, c.name)
	}
	return names
}

// Examine judges a picture. Faults come first, then by node.
func Examine(p Picture) []Finding {
	found := []Finding{}
	for _, c := range checks() {
		for _, f := range c.look(p) {
			f.Check = c.name
			f.Severity = cmp.Or(f.Severity, Wrong)
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(-strings.Compare(string(a.Severity), string(b.Severity)), strings.Compare(a.Node, b.Node))
	})
	return found
}

// told are the nodes whose agents answered.
func (p Picture) told() []Node {
	return slices.DeleteFunc(slices.Clone(p.Nodes), func(n Node) bool { return n.Silence != "" })
}

// driven are those where rolling/net answered, too.
func (p Picture) driven() []Node {
	return slices.DeleteFunc(p.told(), func(n Node) bool { return n.Facts.Driver == nil })
}

func (n Node) leaves() bool { return n.Availability == "drain" }

// most gives the value that most nodes have; of as many, the largest.
func most[T cmp.Ordered](of []T) T {
	counts := map[T]int{}
	for _, v := range of {
		counts[v]++
	}
	var best T
	for v, n := range counts {
		if n > counts[best] || n == counts[best] && v > best {
			best = v
		}
	}
	return best
}
