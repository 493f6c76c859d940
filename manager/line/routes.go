package line

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// A Picture is what one node has.
type Picture struct {
	Node   string // host name
	Routes []wire.Route
}

// Announced is an address, where it is, and who has not heard of it.
type Announced struct {
	Prefix      netip.Prefix
	NextHop     netip.Addr
	Node        string
	Project     string
	Environment string
	Since       time.Time // its container got it; zero: nobody knows
	MissingOn   []string
}

// heard is that a node has learnt of a prefix.
type heard struct {
	node string
	via  netip.Addr
}

// Announcements puts the nodes' pictures together, sorted by prefix. A prefix that a node has learnt and no node that was
// asked announces is in it too, without a node: it comes from a router of the site, or from a node that has no line, or it
// is stale.
func Announcements(pictures []Picture) []Announced {
	own, learnt := map[netip.Prefix][]string{}, map[netip.Prefix][]heard{}
	var nodes []string
	for _, p := range pictures {
		nodes = append(nodes, p.Node)
		for _, r := range p.Routes {
			if r.Origin == wire.Local {
				own[r.Prefix] = append(own[r.Prefix], p.Node)
			} else {
				learnt[r.Prefix] = append(learnt[r.Prefix], heard{p.Node, r.NextHop})
			}
		}
	}
	slices.Sort(nodes)
	var all []Announced
	for _, p := range pictures {
		for _, r := range p.Routes {
			if r.Origin == wire.Local {
				all = append(all, announced(p.Node, r, nodes, own[r.Prefix], learnt[r.Prefix]))
			}
		}
	}
	for prefix, by := range learnt {
		if len(own[prefix]) == 0 {
			all = append(all, strays(prefix, nodes, by)...)
		}
	}
	slices.SortFunc(all, func(a, b Announced) int {
		if c := a.Prefix.Compare(b.Prefix); c != 0 {
			return c
		}
		return strings.Compare(a.Node+" "+a.NextHop.String(), b.Node+" "+b.NextHop.String())
	})
	return all
}

// announced is a node's own route. Whoever has the prefix itself need not have heard of it.
func announced(node string, r wire.Route, nodes, own []string, by []heard) Announced {
	a := Announced{Prefix: r.Prefix, NextHop: r.NextHop, Node: node, Project: r.Project, Environment: r.Environment, Since: r.Since}
	if !a.NextHop.IsValid() && len(by) > 0 {
		a.NextHop = by[0].via // the kernel does not tell a node its own address; its neighbours know it
	}
	for _, n := range nodes {
		if !slices.Contains(own, n) && !slices.Contains(by, heard{n, a.NextHop}) {
			a.MissingOn = append(a.MissingOn, n)
		}
	}
	return a
}

// strays are what is known of a prefix that nobody announces, one for each next hop.
func strays(prefix netip.Prefix, nodes []string, by []heard) []Announced {
	var all []Announced
	for i, h := range by {
		if slices.IndexFunc(by, func(o heard) bool { return o.via == h.via }) == i {
			all = append(all, announced("", wire.Route{Prefix: prefix, NextHop: h.via}, nodes, nil, by))
		}
	}
	return all
}
