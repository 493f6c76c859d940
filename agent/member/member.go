// Package member decides who is registered in service discovery: which endpoints stand behind an upstream of nginx and
// in a ServerSet of ZooKeeper. It knows services' labels, Swarm's tasks, and what was decided before. It refuses to
// know Docker's API, nginx, ZooKeeper and the clock: an observation with its time comes in, a set of members goes out.
//
// Its invariant: what is registered is what is healthy, and a set is never emptied by our own fault.
package member

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// States of a task, in Swarm's words. With a health check a task is running only once it is healthy.
const (
	Running = "running"
	Remove  = "remove"
)

// An Observation is what the Swarm's leader showed at one moment.
type Observation struct {
	At       time.Time
	Services []Service
	// Tasks are all tasks that Swarm knows if Whole, else only those whose desired state is running: a list without
	// the history is several times smaller, and says enough as long as nobody leaves (see State.Doubts).
	Tasks []Task
	Whole bool
}

// A Service is what discovery needs of a Swarm service.
type Service struct {
	ID, Name string
	Labels   map[string]string
	Previous map[string]string // labels of the spec before this one, nil if Swarm kept none
	Created  time.Time
	Stopped  bool // its owner wants no task of it: scaled to 0
}

// A Task is what discovery needs of a Swarm task.
type Task struct {
	ID, Service string // Service is the service's ID
	Slot        int    // 0 for a task of a global service
	Node        string // the node's host name, "" if unknown
	State       string
	Desired     string
	Release     string // the container label rolling.release
	Updated     time.Time
	Addresses   []Address // on networks of rolling/net only
}

// An Address is a task's address on one network.
type Address struct {
	Network string // the network's name
	Host    netip.Addr
}

// serving says that requests may be sent to the task: it runs, is healthy, and was not told to stop.
func (t Task) serving() bool { return t.State == Running && t.Desired == Running }

// A Peer is a server in an upstream of nginx.
type Peer struct {
	Host   string `json:"host"`
	Port   uint16 `json:"port"`
	Weight int    `json:"weight"`
}

// An Instance is a member of a ServerSet.
type Instance struct {
	Host     string
	Port     uint16
	Shard    *int // slot-1; nil for a global service, which has no slots
	Metadata map[string]string
}

// A Set is everything that should be registered. An upstream or path with an empty list is known and has nobody.
type Set struct {
	Upstreams map[string][]Peer
	Paths     map[string][]Instance
}

// Equal says that two sets register the same.
func (s Set) Equal(o Set) bool {
	return maps.EqualFunc(s.Upstreams, o.Upstreams, slices.Equal) &&
		maps.EqualFunc(s.Paths, o.Paths, func(a, b []Instance) bool { return slices.EqualFunc(a, b, Instance.Equal) })
}

// Equal says that two instances are registered by the same record.
func (i Instance) Equal(o Instance) bool {
	sameShard := (i.Shard == nil) == (o.Shard == nil) && (i.Shard == nil || *i.Shard == *o.Shard)
	return i.Host == o.Host && i.Port == o.Port && sameShard && maps.Equal(i.Metadata, o.Metadata)
}

// endpoint is one healthy task as its service's binding registers it.
type endpoint struct {
	task    string
	slot    string
	shard   *int
	host    netip.Addr
	release string
}

func endpointOf(t Task, network string) endpoint {
	e := endpoint{task: t.ID, slot: t.Node, release: t.Release}
	if t.Slot > 0 {
		shard := t.Slot - 1
		e.slot, e.shard = strconv.Itoa(t.Slot), &shard
	}
	for _, a := range t.Addresses {
		if a.Network == network {
			e.host = a.Host
		}
	}
	return e
}

func sortPeers(p []Peer) {
	slices.SortFunc(p, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port)) })
}

func sortInstances(p []Instance) {
	slices.SortFunc(p, func(a, b Instance) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port)) })
}
