// Package swarm asks this node's engine what is in use: networks, tasks, virtual IPs and nodes of the Swarm, and this
// node's own containers. It knows the engine's API and translates its answers; it decides nothing, and nobody may wait
// for it in a call of the engine's, since the engine may wait for that call.
package swarm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/internal/allotment"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// Engine is one engine's API.
type Engine struct {
	api    *client.Client
	plugin string
	clock  func() time.Time
}

// New connects to nothing yet. The address is a URL (unix:///run/docker.sock) or a path; plugin is the name that
// networks give as their IPAM driver.
func New(address, plugin string, clock func() time.Time) (*Engine, error) {
	if !strings.Contains(address, "://") {
		address = "unix://" + address
	}
	api, err := client.New(client.WithHost(address))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", address, err)
	}
	return &Engine{api: api, plugin: trim(plugin), clock: clock}, nil
}

// trim takes the tag off: the scheduler forgives a missing :latest, and so do we.
func trim(plugin string) string { return strings.TrimSuffix(plugin, ":latest") }

// Leads reports whether this node is the Swarm's leader at the moment.
func (e *Engine) Leads(ctx context.Context) (bool, error) {
	self, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return false, fmt.Errorf("ask the engine who it is: %w", err)
	}
	if !self.Info.Swarm.ControlAvailable || self.Info.Swarm.NodeID == "" {
		return false, nil
	}
	node, err := e.api.NodeInspect(ctx, self.Info.Swarm.NodeID, client.NodeInspectOptions{})
	if err != nil {
		return false, fmt.Errorf("ask the Swarm who leads: %w", err)
	}
	return node.Node.ManagerStatus != nil && node.Node.ManagerStatus.Leader, nil
}

// Look asks what the Swarm holds. Nothing is left out: an answer that fails makes the whole view fail.
func (e *Engine) Look(ctx context.Context) (pool.View, error) {
	v := pool.View{Space: pool.Global, Began: e.clock()}
	nodes, err := e.api.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return v, fmt.Errorf("ask the Swarm for its nodes: %w", err)
	}
	networks, err := e.api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return v, fmt.Errorf("ask the Swarm for its networks: %w", err)
	}
	services, err := e.api.ServiceList(ctx, client.ServiceListOptions{})
	if err != nil {
		return v, fmt.Errorf("ask the Swarm for its services: %w", err)
	}
	tasks, err := e.api.TaskList(ctx, client.TaskListOptions{})
	if err != nil {
		return v, fmt.Errorf("ask the Swarm for its tasks: %w", err)
	}
	// docker run on an attachable network is a task of another runtime, left out unless it is asked for
	attachments, err := e.api.TaskList(ctx, client.TaskListOptions{Filters: client.Filters{}.Add("runtime", "attachment")})
	if err != nil {
		return v, fmt.Errorf("ask the Swarm for its attachments: %w", err)
	}
	s := survey{plugin: e.plugin, space: pool.Global}
	v.Nodes = s.nodes(nodes.Items)
	v.Networks = s.networks(networks.Items, true)
	s.services(services.Items)
	s.tasks(tasks.Items, "task")
	s.tasks(attachments.Items, "attachment")
	v.Holdings = s.holdings
	return v, nil
}

// Here asks what this node's own containers hold.
func (e *Engine) Here(ctx context.Context) (pool.View, error) {
	v := pool.View{Space: pool.Local, Began: e.clock()}
	networks, err := e.api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return v, fmt.Errorf("ask the engine for its networks: %w", err)
	}
	containers, err := e.api.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return v, fmt.Errorf("ask the engine for its containers: %w", err)
	}
	s := survey{plugin: e.plugin, space: pool.Local}
	v.Networks = s.networks(networks.Items, false)
	s.containers(containers.Items)
	v.Holdings = s.holdings
	return v, nil
}

// Close lets the connections go.
func (e *Engine) Close() error { return e.api.Close() }

// Settled are the Configs with named pools and reservations. Where no manager is to be asked, here is false.
func (e *Engine) Settled(ctx context.Context) (all []allotment.Copy, here bool, err error) {
	self, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, false, fmt.Errorf("ask the engine who it is: %w", err)
	}
	if !self.Info.Swarm.ControlAvailable {
		return nil, false, nil
	}
	got, err := e.api.ConfigList(ctx, client.ConfigListOptions{Filters: client.Filters{}.Add("name", allotment.ConfigPrefix)})
	if err != nil {
		return nil, false, fmt.Errorf("ask the Swarm for its configs %s*: %w", allotment.ConfigPrefix, err)
	}
	for _, c := range got.Items {
		if n, ours := allotment.Number(c.Spec.Name); ours {
			all = append(all, allotment.Copy{Number: n, Text: c.Spec.Data})
		}
	}
	return all, true, nil
}
