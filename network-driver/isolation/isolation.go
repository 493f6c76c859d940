// Package isolation decides who may connect to whom, and what firewall and fast path have to hold for it. It knows
// projects, the permits between them, and the addresses of containers here and elsewhere; it knows no netlink, no
// iptables, no BGP and no file. Every question has one answer: Judge gives it with its reason, and Wall says the same in
// sets and rules.
package isolation

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/rolling-swarm/rolling/internal/permits"
)

// Number is a class's mark in the fabric, and its group on the fast path.
type Number = permits.Number

const (
	// None is an address that nobody vouches for.
	None Number = 0
	// Anyone is the class of networks of no project: such a container is a machine of the company like any other.
	Anyone Number = 1
)

// Class is what isolation tells addresses apart by. The zero value is Anyone's.
type Class struct {
	Project string `json:"project,omitempty"`
	Open    bool   `json:"open,omitempty"` // everybody may connect to it; it speaks for its project
}

// openSuffix is in no name of a project.
const openSuffix = "/open"

// Number is the class's mark.
func (c Class) Number() Number {
	switch {
	case c.Project == "":
		return Anyone
	case c.Open:
		return permits.NumberOf(c.Project + openSuffix)
	}
	return permits.NumberOf(c.Project)
}

// String names the class for people.
func (c Class) String() string {
	switch {
	case c.Project == "":
		return "no project"
	case c.Open:
		return "project " + c.Project + " (open)"
	}
	return "project " + c.Project
}

func (c Class) compare(o Class) int {
	return cmp.Or(cmp.Compare(c.Project, o.Project), cmp.Compare(fmt.Sprint(c.Open), fmt.Sprint(o.Open)))
}

// everybody says that nobody is kept from connecting to the class.
func (c Class) everybody() bool { return c.Project == "" || c.Open }

// door is what a permit opens.
type door struct {
	port     uint16
	protocol permits.Protocol
}

func (d door) passes(protocol permits.Protocol, port uint16) bool {
	return d.port == 0 || d.port == port && (protocol == permits.TCP || protocol == permits.UDP) && (d.protocol == "" || d.protocol == protocol)
}

type pair struct{ from, to string }

// Policy is a document made ready for questions.
type Policy struct {
	Revision string
	Clashes  []string // what is wrong with numbers, in words
	classes  map[Number]Class
	doors    map[pair]map[door]string // by whose label
	pools    []netip.Prefix
}

// NewPolicy knows the document's projects and those of this node's own networks, which need no document to be told from
// each other. A number that two of them have is nobody's.
func NewPolicy(d permits.Document, own []Class) Policy {
	p := Policy{Revision: d.Revision, classes: map[Number]Class{}, doors: map[pair]map[door]string{}, pools: d.Pools}
	known := map[Class]bool{}
	for _, name := range d.Projects {
		known[Class{Project: name}], known[Class{Project: name, Open: true}] = true, true
	}
	for _, c := range own {
		known[c] = true
	}
	delete(known, Class{})
	clashing := map[Number]bool{}
	for _, c := range slices.SortedFunc(maps.Keys(known), Class.compare) {
		n := c.Number()
		if other, taken := p.classes[n]; taken {
			clashing[n] = true
			if c.Open && other.Open {
				continue // said of their names already
			}
			p.Clashes = append(p.Clashes, fmt.Sprintf("%s and %s have the same number %d: neither is trusted: rename one", other, c, n))
			continue
		}
		p.classes[n] = c
	}
	for n := range clashing {
		delete(p.classes, n)
	}
	p.classes[Anyone] = Class{}
	for _, t := range d.Permits {
		between := pair{t.From, t.To}
		if p.doors[between] == nil {
			p.doors[between] = map[door]string{}
		}
		p.doors[between][door{t.Port, t.Protocol}] = t.By
	}
	return p
}

// Trusted is a class's number, or None if another name has the same.
func (p Policy) Trusted(c Class) Number {
	n := c.Number()
	if p.classes[n] != c {
		return None
	}
	return n
}

// ClassOf is the class of a mark, if it is one to trust.
func (p Policy) ClassOf(n Number) (Class, bool) {
	c, ok := p.classes[n]
	return c, ok
}

// reaches says that all of one class's packets may go to another's, answers apart.
func (p Policy) reaches(from, to Class, outside bool) bool {
	if to.everybody() || from.Project == to.Project {
		return true
	}
	if from.Project == "" {
		return outside || p.has(permits.Outside, to.Project)
	}
	return p.has(from.Project, to.Project)
}

func (p Policy) has(from, to string) bool {
	_, whole := p.doors[pair{from, to}][door{}]
	return whole
}
