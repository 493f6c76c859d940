// Package swarm reads what the Swarm runs, through the engine's socket of a manager. It knows Docker's API; it refuses to
// know what any of it means for discovery, and it writes nothing. An answer is a whole snapshot or an error.
package swarm

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/member"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// Both bound a wait for the engine. A manager that has lost its leader does not answer at all for some seconds, and a
// leader must notice that in time to be counted as none.
const (
	leaderWithin = 2 * time.Second
	answerWithin = 5 * time.Second
)

// An Engine is this node's view of the Swarm.
type Engine struct {
	api *client.Client

	mu    sync.Mutex
	node  string            // guarded by mu: this node's ID, "" while unknown
	names map[string]string // guarded by mu: host names by node ID
}

// New makes an Engine of the engine's address, such as unix:///var/run/docker.sock. It does not connect.
func New(host string) (*Engine, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	return &Engine{api: api, names: map[string]string{}}, nil
}

// Close ends idle connections.
func (e *Engine) Close() error { return e.api.Close() }

// Leading says whether this node's agent is to do what one of the Swarm has to do: that is the leader's, or, where the
// leader is drained and so has no agent, that of the manager who stands in for it. A worker, or a node that is in no Swarm,
// is neither; an error means that nobody can tell.
func (e *Engine) Leading(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderWithin)
	defer cancel()
	id, err := e.self(ctx)
	if err != nil || id == "" {
		return false, err
	}
	found, err := e.api.NodeInspect(ctx, id, client.NodeInspectOptions{})
	switch {
	case errdefs.IsUnavailable(err): // a worker's answer: "this node is not a swarm manager"
		return false, nil
	case errdefs.IsNotFound(err): // the node left the Swarm and joined another
		e.forget()
		return false, nil
	case err != nil:
		return false, fmt.Errorf("ask the engine whether node %s leads: %w", id, err)
	}
	leads := found.Node.ManagerStatus != nil && found.Node.ManagerStatus.Leader
	if drained := found.Node.Spec.Availability == swarm.NodeAvailabilityDrain; leads != drained {
		return leads, nil // a leader with an agent; or one of the others, that is about to lose its own
	}
	all, err := e.api.NodeList(ctx, client.NodeListOptions{Filters: make(client.Filters).Add("role", string(swarm.NodeRoleManager))})
	if err != nil {
		return false, fmt.Errorf("ask the engine which managers there are: %w", err)
	}
	return standIn(all.Items) == id, nil
}

// standIn is the leader, or, while that is drained, the first of the other managers that may run an agent. Where there is
// none it is the leader all the same: its agent may not have ended yet.
func standIn(managers []swarm.Node) string {
	leader, first := "", ""
	for _, n := range managers {
		m := n.ManagerStatus
		switch {
		case m == nil:
		case m.Leader && n.Spec.Availability != swarm.NodeAvailabilityDrain:
			return n.ID
		case m.Leader:
			leader = n.ID
		case m.Reachability == swarm.ReachabilityReachable && n.Status.State == swarm.NodeStateReady && n.Spec.Availability != swarm.NodeAvailabilityDrain:
			if first == "" || n.ID < first {
				first = n.ID
			}
		}
	}
	if leader == "" || first == "" {
		return leader
	}
	return first
}

// self answers this node's ID, "" if it is in no Swarm. GET /info is slow on a busy engine, so the answer is kept.
func (e *Engine) self(ctx context.Context) (string, error) {
	e.mu.Lock()
	id := e.node
	e.mu.Unlock()
	if id != "" {
		return id, nil
	}
	found, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the engine for its node's ID: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.node = found.Info.Swarm.NodeID
	return e.node, nil
}

func (e *Engine) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.node = ""
}

// Cluster answers the Swarm's own ID, which no other Swarm has.
func (e *Engine) Cluster(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	found, err := e.api.SwarmInspect(ctx, client.SwarmInspectOptions{})
	if err != nil {
		return "", fmt.Errorf("ask the engine for the swarm's ID: %w", err)
	}
	if found.Swarm.ID == "" {
		return "", fmt.Errorf("ask the engine for the swarm's ID: the answer has none")
	}
	return found.Swarm.ID, nil
}

// Observe takes a snapshot. A whole one lists all tasks, with those that ended; else only those meant to run.
//
// Tasks are listed before services: then a service that is removed in between shows tasks without a service, which is
// what a removal looks like anyway.
func (e *Engine) Observe(ctx context.Context, whole bool) (member.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	options := client.TaskListOptions{}
	if !whole {
		options.Filters = make(client.Filters).Add("desired-state", string(swarm.TaskStateRunning))
	}
	tasks, err := e.api.TaskList(ctx, options)
	if err != nil {
		return member.Observation{}, fmt.Errorf("list the swarm's tasks: %w", err)
	}
	services, err := e.api.ServiceList(ctx, client.ServiceListOptions{})
	if err != nil {
		return member.Observation{}, fmt.Errorf("list the swarm's services: %w", err)
	}
	names, err := e.nodeNames(ctx, tasks.Items)
	if err != nil {
		return member.Observation{}, err
	}
	o := member.Observation{At: time.Now(), Whole: whole}
	for _, s := range services.Items {
		o.Services = append(o.Services, serviceOf(s))
	}
	for _, t := range tasks.Items {
		o.Tasks = append(o.Tasks, taskOf(t, names[t.NodeID]))
	}
	return o, nil
}

// nodeNames looks the nodes up again only when a task is on one that is not known yet.
func (e *Engine) nodeNames(ctx context.Context, tasks []swarm.Task) (map[string]string, error) {
	e.mu.Lock()
	names := e.names
	e.mu.Unlock()
	for _, t := range tasks {
		if _, known := names[t.NodeID]; known || t.NodeID == "" {
			continue
		}
		nodes, err := e.api.NodeList(ctx, client.NodeListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list the swarm's nodes: %w", err)
		}
		fresh := map[string]string{}
		for _, t := range tasks {
			fresh[t.NodeID] = "" // a node that was removed stays without a name
		}
		for _, n := range nodes.Items {
			fresh[n.ID] = n.Description.Hostname
		}
		e.mu.Lock()
		e.names = fresh
		e.mu.Unlock()
		return fresh, nil
	}
	return names, nil
}

func serviceOf(s swarm.Service) member.Service {
	service := member.Service{ID: s.ID, Name: s.Spec.Name, Labels: s.Spec.Labels, Created: s.CreatedAt}
	if r := s.Spec.Mode.Replicated; r != nil && r.Replicas != nil && *r.Replicas == 0 {
		service.Stopped = true
	}
	if s.PreviousSpec != nil {
		service.Previous = s.PreviousSpec.Labels
	}
	return service
}

func taskOf(t swarm.Task, node string) member.Task {
	task := member.Task{
		ID: t.ID, Service: t.ServiceID, Slot: t.Slot, Node: node,
		State: string(t.Status.State), Desired: string(t.DesiredState), Updated: t.UpdatedAt,
	}
	if t.Spec.ContainerSpec != nil {
		task.Release = t.Spec.ContainerSpec.Labels[contract.Release]
	}
	for _, a := range t.NetworksAttachments {
		if host, ok := addressOn(a); ok {
			task.Addresses = append(task.Addresses, member.Address{Network: a.Network.Spec.Name, Host: host})
		}
	}
	return task
}

func addressOn(a swarm.NetworkAttachment) (netip.Addr, bool) {
	driver := a.Network.DriverState.Name
	if driver == "" && a.Network.Spec.DriverConfiguration != nil {
		driver = a.Network.Spec.DriverConfiguration.Name
	}
	if driver != contract.PluginNet || len(a.Addresses) == 0 {
		return netip.Addr{}, false
	}
	return a.Addresses[0].Addr(), true
}
