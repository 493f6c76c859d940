package swarm

import (
	"net/netip"
	"strconv"
	"strings"
	"unique"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// stackLabel is what docker stack deploy puts on what it makes; without labels of ours it names the project.
const stackLabel = "com.docker.stack.namespace"

// survey gathers what a view is made of.
type survey struct {
	plugin   string
	space    pool.Space
	keys     map[string]pool.Key // by network id
	hosts    map[string]string   // node id → host name
	byID     map[string]swarm.Service
	holdings []pool.Holding
}

func (s *survey) nodes(items []swarm.Node) map[string]pool.Node {
	s.hosts = map[string]string{}
	nodes := map[string]pool.Node{}
	for _, n := range items {
		s.hosts[n.ID] = n.Description.Hostname
		nodes[n.ID] = pool.Node{Name: n.Description.Hostname, Ready: n.Status.State == swarm.NodeStateReady}
	}
	return nodes
}

// networks are those whose addresses this driver gives. In the global space only the Swarm's own count.
func (s *survey) networks(items []network.Summary, global bool) []pool.Network {
	s.keys = map[string]pool.Key{}
	var found []pool.Network
	for _, n := range items {
		if trim(n.IPAM.Driver) != s.plugin || global && n.Scope != "swarm" {
			continue
		}
		for _, c := range n.IPAM.Config {
			key, ok := s.key(c.Subnet, c.IPRange, n.IPAM.Options)
			if !ok {
				continue
			}
			s.keys[n.ID] = key
			found = append(found, pool.Network{Name: n.Name, Key: key, Gateway: c.Gateway, Opaque: global && n.Driver == "overlay"})
		}
	}
	return found
}

func (s *survey) key(subnet, ipRange netip.Prefix, options map[string]string) (pool.Key, bool) {
	text := ""
	if ipRange.IsValid() {
		text = ipRange.String()
	}
	t, err := pool.ReadTerms(s.space, subnet.String(), text, false, options)
	return t.Key(), err == nil
}

func (s *survey) services(items []swarm.Service) {
	s.byID = map[string]swarm.Service{}
	for _, v := range items {
		s.byID[v.ID] = v
		for _, vip := range v.Endpoint.VirtualIPs {
			if key, ours := s.keys[vip.NetworkID]; ours && vip.Addr.IsValid() {
				owner := pool.Owner{Kind: "vip", Service: v.Spec.Name, Project: v.Spec.Labels[contract.Project], Environment: v.Spec.Labels[contract.Environment]}
				s.holdings = append(s.holdings, pool.Holding{Key: key, Addr: vip.Addr.Addr(), Owner: owner})
			}
		}
	}
}

// tasks reads what tasks hold, and what those that ended held: the Swarm remembers some of these.
func (s *survey) tasks(items []swarm.Task, kind string) {
	for _, t := range items {
		for _, a := range t.NetworksAttachments {
			key, ours := s.attached(a.Network)
			if !ours {
				continue
			}
			for _, p := range a.Addresses {
				h := pool.Holding{Key: key, Addr: p.Addr(), Owner: s.owner(t, kind)}
				if ended(t.Status.State) {
					h.Ended, h.Lost = t.Status.Timestamp, t.Status.State == swarm.TaskStateOrphaned
				}
				s.holdings = append(s.holdings, h)
			}
		}
	}
}

// attached is the share of a task's network. The task carries the network with it, so one that is gone is known too.
func (s *survey) attached(n swarm.Network) (pool.Key, bool) {
	if key, known := s.keys[n.ID]; known {
		return key, true
	}
	for _, o := range []*swarm.IPAMOptions{n.IPAMOptions, n.Spec.IPAMOptions} {
		if o == nil || trim(o.Driver.Name) != s.plugin {
			continue
		}
		for _, c := range o.Configs {
			if key, ok := s.key(c.Subnet, c.Range, o.Driver.Options); ok {
				return key, true
			}
		}
	}
	return "", false
}

// ended: Swarm's allocator lets an address go once the state is past running.
func ended(s swarm.TaskState) bool {
	switch s {
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return true
	}
	return false
}

func (s *survey) owner(t swarm.Task, kind string) pool.Owner {
	o := pool.Owner{Kind: kind, Task: short(t.ID), Node: t.NodeID}
	labels := map[string]string{}
	if v, known := s.byID[t.ServiceID]; known {
		o.Service = v.Spec.Name
		labels = v.Spec.Labels
	}
	o.Node, o.Service = once(o.Node), once(o.Service)
	if t.Slot > 0 {
		o.Slot = strconv.Itoa(t.Slot)
	} else if t.ServiceID != "" {
		o.Slot = strings.ReplaceAll(s.hosts[t.NodeID], ".", "_")
	}
	if c := t.Spec.ContainerSpec; c != nil {
		o.Project, o.Environment = first(c.Labels[contract.Project], labels[contract.Project], labels[stackLabel]), first(c.Labels[contract.Environment], labels[contract.Environment])
	}
	o.Slot, o.Project, o.Environment = once(o.Slot), once(o.Project), once(o.Environment)
	if a := t.Spec.NetworkAttachmentSpec; a != nil {
		o.Task = short(a.ContainerID)
	}
	return o
}

func (s *survey) containers(items []container.Summary) {
	for _, c := range items {
		if c.NetworkSettings == nil {
			continue
		}
		for _, e := range c.NetworkSettings.Networks {
			if e == nil || !e.IPAddress.IsValid() {
				continue
			}
			key, ours := s.keys[e.NetworkID]
			if !ours {
				continue
			}
			s.holdings = append(s.holdings, pool.Holding{Key: key, Addr: e.IPAddress, Owner: pool.Owner{Kind: "container", Task: short(c.ID), Service: c.Labels["com.docker.swarm.service.name"]}})
		}
	}
}

func short(id string) string { return strings.Clone(id[:min(len(id), 12)]) }

// once lets leases share the text that many of them carry.
func once(text string) string { return unique.Make(text).Value() }

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
