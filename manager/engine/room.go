package engine

import (
	"math"
	"net/netip"
	"slices"
	"strconv"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/project"
	"github.com/rolling-swarm/rolling/manager/rollout"
)

// holders are all that hold addresses in a Swarm, as far as its managers tell. Addresses that rest are known to the IPAM
// plugin alone, and are counted as free.
type holders struct {
	on map[string][]netip.Addr // by network id
	of map[string]int          // tasks that hold addresses and are meant to run, by service id
}

func holdersOf(o plan.Observed, tasks []swarm.Task) holders {
	h := holders{on: map[string][]netip.Addr{}, of: map[string]int{}}
	for _, t := range tasks {
		if !alive(t) {
			continue
		}
		for _, a := range t.NetworksAttachments {
			for _, p := range a.Addresses {
				h.on[a.Network.ID] = append(h.on[a.Network.ID], p.Addr())
			}
		}
		if t.DesiredState == swarm.TaskStateRunning {
			h.of[t.ServiceID]++
		}
	}
	for _, s := range o.Services {
		for _, v := range s.Endpoint.VirtualIPs {
			if v.Addr.IsValid() {
				h.on[v.NetworkID] = append(h.on[v.NetworkID], v.Addr.Addr())
			}
		}
	}
	return h
}

// alive: its container may be there, so its addresses are taken. A task on a node that is down stays so for up to a day.
func alive(t swarm.Task) bool {
	switch t.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateShutdown, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateRemove, swarm.TaskStateOrphaned:
		return false
	}
	return true
}

// free is how many addresses a network can still give; ok is false when only its IPAM driver knows.
func (h holders) free(n plan.Network, all []plan.Network) (count int, ok bool) {
	first, last, ok := bounds(n.Spec)
	if !ok {
		return 0, false
	}
	subnet := n.Spec.IPAMOptions.Configs[0].Subnet
	taken := map[netip.Addr]bool{}
	own := 0
	for _, other := range all { // networks of one subnet draw from one pool
		if c := other.Spec.IPAMOptions; c == nil || len(c.Configs) == 0 || c.Configs[0].Subnet != subnet {
			continue
		}
		taken[n.Spec.IPAMOptions.Configs[0].Gateway] = true
		for _, a := range h.on[other.ID] {
			taken[a] = true
		}
		if other.ID == n.ID {
			own = len(h.on[n.ID])
		}
	}
	count = size(first, last)
	for a := range taken {
		if a.IsValid() && !a.Less(first) && !last.Less(a) {
			count--
		}
	}
	if quota, err := strconv.Atoi(n.Spec.IPAMOptions.Driver.Options[contract.Quota]); err == nil {
		count = min(count, quota-own)
	}
	return max(0, count), true
}

// bounds are the first and the last address that a network may give to tasks.
func bounds(n swarm.NetworkSpec) (first, last netip.Addr, ok bool) {
	i := n.IPAMOptions
	if i == nil || len(i.Configs) != 1 || !i.Configs[0].Subnet.IsValid() || !i.Configs[0].Subnet.Addr().Is4() {
		return first, last, false
	}
	subnet := i.Configs[0].Subnet
	ours := n.DriverConfiguration != nil && n.DriverConfiguration.Name == contract.PluginNet
	if !ours && (n.DriverConfiguration == nil || n.DriverConfiguration.Name != "overlay") {
		return first, last, false
	}
	first, last = ends(subnet)
	if !ours { // the network's own address and the broadcast one
		first, last = first.Next(), last.Prev()
	}
	within := i.Configs[0].Range
	if from, to, err := project.ParseRange(i.Driver.Options[contract.Range]); ours && err == nil {
		return from, to, true
	}
	if within.IsValid() {
		from, to := ends(within)
		if first.Less(from) {
			first = from
		}
		if to.Less(last) {
			last = to
		}
	}
	return first, last, true
}

func ends(p netip.Prefix) (first, last netip.Addr) {
	first = p.Masked().Addr()
	return first, fromNumber(number(first) | (math.MaxUint32 >> p.Bits()))
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func fromNumber(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func size(first, last netip.Addr) int {
	return max(0, int(number(last))-int(number(first))+1)
}

// roomFor asks whether one step has the addresses that it needs. taken are those that earlier steps of the plan will hold,
// by network; the step's own are added.
func roomFor(step plan.Step, o plan.Observed, h holders, taken map[string]int) rollout.Room {
	var s swarm.ServiceSpec
	now, restarts := 0, false
	switch step := step.(type) {
	case plan.CreateService:
		s = step.Spec
	case plan.UpdateService:
		s, now, restarts = step.Spec, h.of[step.ID], step.Restarts
	default:
		return rollout.Room{}
	}
	var free []rollout.Free
	for _, a := range s.TaskTemplate.Networks {
		i := slices.IndexFunc(o.Networks, func(n plan.Network) bool { return n.Spec.Name == a.Target || n.ID == a.Target })
		if i < 0 {
			continue // it is made in this very plan, and the file's own count has been looked at
		}
		if n, ok := h.free(o.Networks[i], o.Networks); ok {
			free = append(free, rollout.Free{Network: o.Networks[i].Spec.Name, Addresses: max(0, n-taken[o.Networks[i].ID])})
			taken[o.Networks[i].ID] += max(0, replicas(s)-now)
		}
	}
	return rollout.CheckRoom(s, now, restarts, free)
}

// replicas is how many tasks a spec wants; 0 when that is one a node.
func replicas(s swarm.ServiceSpec) int {
	if r := s.Mode.Replicated; r != nil && r.Replicas != nil {
		return int(*r.Replicas)
	}
	return 0
}
