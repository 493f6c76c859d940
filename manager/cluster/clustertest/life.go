package clustertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// signalAfter is how long after its decision Swarm sends the stop signal.
const signalAfter = 3200 * time.Millisecond

// step is one tick of the whole Swarm.
func (t *Toy) step() {
	for _, s := range t.services {
		t.orchestrate(s)
		t.runUpdate(s)
	}
	for _, k := range t.tasks {
		t.live(k)
	}
	t.bury()
}

// slots are what a service wants a task in: numbers, or nodes.
func (t *Toy) slots(s *service) []string {
	var all []string
	if s.Spec.Mode.Global != nil {
		for _, n := range t.nodes {
			all = append(all, n.ID)
		}
		return all
	}
	for i := range *s.Spec.Mode.Replicated.Replicas {
		all = append(all, strconv.FormatUint(i+1, 10))
	}
	return all
}

// orchestrate makes the tasks that are missing and ends those that are too many. A task that failed is made again from the
// service's spec of now, after the restart delay.
func (t *Toy) orchestrate(s *service) {
	slots := t.slots(s)
	for _, k := range t.tasks {
		if k.ServiceID == s.ID && k.DesiredState == swarm.TaskStateRunning && !slices.Contains(slots, k.slot) {
			t.stop(k, swarm.TaskStateRemove)
		}
	}
	for _, slot := range slots {
		due, failed := s.retries[slot]
		switch {
		case s.update.holds(slot):
		case failed && !t.at.Before(due):
			delete(s.retries, slot)
			t.make(s, slot)
		case !failed && len(t.meant(s, slot)) == 0:
			t.make(s, slot)
		}
	}
}

// meant gives the tasks of a slot that are meant to run: two, while a start-first update is at it or has failed.
func (t *Toy) meant(s *service, slot string) []*task {
	var all []*task
	for _, k := range t.tasks {
		if k.ServiceID == s.ID && k.slot == slot && k.DesiredState == swarm.TaskStateRunning {
			all = append(all, k)
		}
	}
	return all
}

func (t *Toy) make(s *service, slot string) *task {
	spec, err := copied(s.Spec)
	if err != nil {
		panic(err) // it came in by the same way
	}
	k := &task{slot: slot, since: t.at}
	k.ID, k.ServiceID, k.Spec = t.id("task"), s.ID, spec.TaskTemplate
	k.DesiredState = swarm.TaskStateRunning
	k.CreatedAt, k.UpdatedAt = t.at, t.at
	if n, err := strconv.Atoi(slot); err == nil {
		k.Slot = n
	} else {
		k.NodeID = slot
	}
	t.tasks = append(t.tasks, k)
	t.enter(k, swarm.TaskStateNew, "created", "")
	return k
}

func (t *Toy) enter(k *task, state swarm.TaskState, message, err string) {
	k.since, k.UpdatedAt = t.at, t.at
	k.Version = t.bump()
	container := k.Status.ContainerStatus
	k.Status = swarm.TaskStatus{Timestamp: t.at, State: state, Message: message, Err: err, ContainerStatus: container}
}

func (t *Toy) stop(k *task, desired swarm.TaskState) {
	k.DesiredState, k.Version, k.UpdatedAt = desired, t.bump(), t.at
	k.signal = t.at.Add(signalAfter)
}

// live moves a task one state on.
func (t *Toy) live(k *task) {
	p := t.programs[k.Spec.ContainerSpec.Image]
	if k.DesiredState != swarm.TaskStateRunning {
		t.die(k, p)
		return
	}
	switch k.Status.State {
	case swarm.TaskStateNew:
		if t.allocate(k) {
			t.enter(k, swarm.TaskStatePending, "pending task scheduling", "")
		}
	case swarm.TaskStatePending:
		if p.Unplaced {
			k.Status.Err = "no suitable node (scheduling constraints not satisfied on 3 nodes)"
			return
		}
		if k.NodeID == "" {
			k.NodeID = t.nodes[k.Slot%len(t.nodes)].ID
		}
		t.enter(k, swarm.TaskStateAssigned, "scheduler assigned task to node", "")
	case swarm.TaskStateAssigned:
		t.enter(k, swarm.TaskStatePreparing, "preparing", "")
	default:
		t.run(k, p, t.at.Sub(k.since))
	}
}

// run moves a task on that is on its node, and has been in its state for so long.
func (t *Toy) run(k *task, p Program, in time.Duration) {
	switch k.Status.State {
	case swarm.TaskStatePreparing:
		if p.Absent {
			t.enter(k, swarm.TaskStateRejected, "preparing", "No such image: "+k.Spec.ContainerSpec.Image)
			t.restart(k)
			return
		}
		k.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: "container-of-" + k.ID, PID: 1000}
		t.enter(k, swarm.TaskStateStarting, "starting", "")
	case swarm.TaskStateStarting:
		switch {
		case p.Unhealthy && in >= 2*time.Second: // stands for interval × retries
			t.end(k, 0, swarm.TaskStateComplete, "")
		case !p.Unhealthy && in >= p.Start:
			t.enter(k, swarm.TaskStateRunning, "started", "")
		}
	case swarm.TaskStateRunning:
		switch {
		case p.Exits == nil || in < p.After:
		case *p.Exits == 0:
			t.end(k, 0, swarm.TaskStateComplete, "")
		default:
			t.end(k, *p.Exits, swarm.TaskStateFailed, fmt.Sprintf("task: non-zero exit (%d)", *p.Exits))
		}
	}
}

func (t *Toy) end(k *task, code int, state swarm.TaskState, err string) {
	if c := k.Status.ContainerStatus; c != nil {
		k.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: c.ContainerID, ExitCode: code}
	}
	t.enter(k, state, "finished", err)
	t.restart(k)
}

// restart takes a task that ended by itself out of the wanted ones; orchestrate makes the next when the delay is over.
func (t *Toy) restart(k *task) {
	k.DesiredState, k.stopped = swarm.TaskStateShutdown, true
	for _, s := range t.services {
		if s.ID == k.ServiceID {
			s.retries[k.slot] = t.at.Add(*k.Spec.RestartPolicy.Delay)
		}
	}
}

// die ends a task that is not wanted any more.
func (t *Toy) die(k *task, p Program) {
	switch k.Status.State {
	case swarm.TaskStateComplete, swarm.TaskStateFailed, swarm.TaskStateRejected, swarm.TaskStateShutdown:
		k.stopped = true
		return
	case swarm.TaskStateStarting, swarm.TaskStateRunning:
		if t.at.Before(k.signal) {
			return
		}
		grace := *k.Spec.ContainerSpec.StopGracePeriod
		if t.at.Before(k.signal.Add(min(grace, p.Stop))) {
			return
		}
		code := 143
		if p.Stop > grace {
			code = 137
		}
		k.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: k.Status.ContainerStatus.ContainerID, ExitCode: code}
	}
	t.enter(k, swarm.TaskStateShutdown, "shutdown", "")
	k.stopped = true
}

// bury forgets what was to be removed, and all but the last few of each slot.
func (t *Toy) bury() {
	kept := map[string]int{}
	for i := len(t.tasks) - 1; i >= 0; i-- {
		k := t.tasks[i]
		if !k.stopped {
			continue
		}
		kept[k.ServiceID+k.slot]++
		gone := !slices.ContainsFunc(t.services, func(s *service) bool { return s.ID == k.ServiceID })
		if gone || k.DesiredState == swarm.TaskStateRemove || kept[k.ServiceID+k.slot] > 5 {
			t.tasks = slices.Delete(t.tasks, i, i+1)
		}
	}
}

// allocate finds an address on each network; without one on each a task stays new, and nobody is told.
func (t *Toy) allocate(k *task) bool {
	var all []swarm.NetworkAttachment
	for _, n := range k.Spec.Networks {
		i := slices.IndexFunc(t.networks, func(x *netw) bool { return x.ID == n.Target })
		if i < 0 || t.at.Before(t.networks[i].whole) {
			return false
		}
		has := t.networks[i]
		at, ok := t.free(has)
		if !ok {
			return false
		}
		a := swarm.NetworkAttachment{Addresses: []netip.Prefix{at}}
		a.Network.ID, a.Network.Spec.Name = has.ID, has.Name
		a.Network.Spec.DriverConfiguration = &swarm.Driver{Name: has.Driver, Options: has.Options}
		a.Network.DriverState = swarm.Driver{Name: has.Driver}
		all = append(all, a)
	}
	k.NetworksAttachments = all
	return true
}

func (t *Toy) free(n *netw) (netip.Prefix, bool) {
	if len(n.IPAM.Config) == 0 {
		return netip.Prefix{}, false
	}
	subnet := n.IPAM.Config[0].Subnet
	used := map[netip.Addr]bool{n.IPAM.Config[0].Gateway: true}
	for _, k := range t.tasks {
		for _, a := range k.NetworksAttachments {
			if !k.stopped && subnet.Contains(a.Addresses[0].Addr()) {
				used[a.Addresses[0].Addr()] = true
			}
		}
	}
	bits := subnet.Bits()
	if n.Driver == contract.PluginNet {
		bits = 32
	}
	for a := subnet.Addr(); subnet.Contains(a); a = a.Next() {
		if !used[a] {
			return netip.PrefixFrom(a, bits), true
		}
	}
	return netip.Prefix{}, false
}

// dirty says that a task is not of the service's template of now.
func dirty(s *service, k *task) bool {
	want, err := json.Marshal(s.Spec.TaskTemplate)
	has, err2 := json.Marshal(k.Spec)
	return err != nil || err2 != nil || !bytes.Equal(want, has)
}
