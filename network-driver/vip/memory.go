package vip

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Seen is one look at the engine.
type Seen struct {
	Services map[topology.NetworkID][]Service // of the networks that it answered for; a failed answer is not in it
	Fit      map[topology.EndpointID]bool     // of containers that run here: well, or paused, starting or unhealthy; nil: it did not say
	// Silent: the engine does not answer. Nothing else is said then.
	Silent bool
	// Young: the engine answers again after a silence. What it knows of other nodes comes back one by one.
	Young bool
}

// holdFor: gossip is whole again within seconds of an engine's start.
const holdFor = 15 * time.Second

// key is one service in one network.
type key struct {
	network topology.NetworkID
	name    string
}

// Memory is what Swarm said last, with what a young engine has not said again yet.
type Memory struct {
	services map[key]Service
	hold     time.Time // the engine is young until then
	fit      map[topology.EndpointID]bool
}

// NewMemory begins with what an earlier run knew.
func NewMemory(known []Service) *Memory {
	m := &Memory{services: map[key]Service{}}
	for _, s := range known {
		m.services[key{s.Network, s.Name}] = s
	}
	return m
}

// Take keeps what the engine says; asked are the networks that a container here is on: of others nothing is kept. It
// says whether anything changed.
func (m *Memory) Take(s Seen, asked []Question, now time.Time) bool {
	if s.Young {
		m.hold = now.Add(holdFor)
	}
	before := m.Services()
	wanted := map[topology.NetworkID]bool{}
	for _, q := range asked {
		wanted[q.Network] = true
	}
	next := map[key]Service{}
	for k, v := range m.services {
		if _, answered := s.Services[k.network]; wanted[k.network] && (!answered || now.Before(m.hold)) {
			next[k] = v
		}
	}
	for network, all := range s.Services {
		for _, v := range all {
			if k := (key{network, v.Name}); wanted[network] && v.VIP.Is4() {
				v.Network = network
				next[k] = merge(v, m.services[k], now.Before(m.hold))
			}
		}
	}
	m.services = next
	fit := s.Fit
	if fit == nil {
		fit = m.fit
	}
	changed := !slices.EqualFunc(before, m.Services(), same) || !maps.Equal(fit, m.fit)
	m.fit = fit
	return changed
}

// merge adds, while the engine is young, the tasks that it does not name: whoever they are, they go as soon as nobody
// announces their address.
func merge(now, before Service, young bool) Service {
	now.Tasks = slices.Clone(now.Tasks)
	named := map[netip.Addr]bool{}
	for _, t := range now.Tasks {
		named[t.Address] = true
	}
	if young && before.VIP == now.VIP {
		for i, t := range now.Tasks {
			if slices.ContainsFunc(before.Tasks, func(b Task) bool { return b.Address == t.Address && b.Endpoint == t.Endpoint && !b.Leaving }) {
				now.Tasks[i].Leaving = false // its name server knows only a part, too
			}
		}
		for _, t := range before.Tasks {
			if !named[t.Address] {
				now.Tasks = append(now.Tasks, t)
			}
		}
	}
	slices.SortFunc(now.Tasks, func(a, b Task) int { return a.Address.Compare(b.Address) })
	return now
}

func same(a, b Service) bool {
	return a.Network == b.Network && a.Name == b.Name && a.VIP == b.VIP && slices.Equal(a.Tasks, b.Tasks)
}

// Services are all that are known, sorted.
func (m *Memory) Services() []Service {
	return slices.SortedFunc(maps.Values(m.services), func(a, b Service) int {
		if c := strings.Compare(string(a.Network), string(b.Network)); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// Young says that the engine may not have said all yet.
func (m *Memory) Young(now time.Time) bool { return now.Before(m.hold) }

// Fit is what the engine said last of containers here.
func (m *Memory) Fit() map[topology.EndpointID]bool { return m.fit }
