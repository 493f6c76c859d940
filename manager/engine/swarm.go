package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/plan"
	"github.com/rolling-swarm/rolling/manager/spec"
	"github.com/rolling-swarm/rolling/manager/store"
)

// Ready says whether store and Swarm answer.
func (e *Engine) Ready(ctx context.Context) error {
	_, err := e.options.Cluster.Nodes(ctx)
	return errors.Join(err, e.options.Store.View(func(store.Tx) error { return nil }))
}

// Nodes lists the Swarm's nodes by name.
func (e *Engine) Nodes(ctx context.Context) ([]Node, error) {
	nodes, err := e.options.Cluster.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	tasks, err := e.options.Cluster.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	carries := byNode(tasks)
	views := []Node{}
	for _, n := range nodes {
		v := Node{ID: n.ID, Name: n.Description.Hostname, Role: string(n.Spec.Role), State: string(n.Status.State), Availability: string(n.Spec.Availability),
			Address: n.Status.Addr, Engine: n.Description.Engine.EngineVersion, Tasks: carries[n.ID].running}
		v.Leader = n.ManagerStatus != nil && n.ManagerStatus.Leader
		views = append(views, v)
	}
	slices.SortFunc(views, func(a, b Node) int { return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID)) })
	return views, nil
}

// Addresses lists by address who has which one on Rolling's networks: tasks, containers of docker run, and services'
// virtual addresses.
func (e *Engine) Addresses(ctx context.Context, o AddressesOf) ([]Address, error) {
	if o.Environment != "" && o.Project == "" {
		return nil, refusal(Invalid, "addresses of environment %s: name its project too", o.Environment)
	}
	tasks, err := e.options.Cluster.Tasks(ctx)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	nodes, err := e.options.Cluster.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	observed, err := e.options.Cluster.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("addresses: %w", err)
	}
	names, services := map[string]string{}, map[string]swarm.Service{}
	for _, n := range nodes {
		names[n.ID] = n.Description.Hostname
	}
	for _, s := range observed.Services {
		services[s.ID] = s
	}
	views := []Address{}
	for _, t := range tasks {
		if alive(t) {
			views = append(views, addressesOf(t, services[t.ServiceID], names[t.NodeID])...)
		}
	}
	views = append(views, virtual(observed)...)
	views = slices.DeleteFunc(views, func(a Address) bool {
		return o.Project != "" && a.Project != string(o.Project) || o.Environment != "" && a.Environment != string(o.Environment)
	})
	slices.SortFunc(views, func(a, b Address) int { return cmp.Or(a.Address.Compare(b.Address), strings.Compare(a.Task, b.Task)) })
	return views, nil
}

// virtual are the addresses that stand for whole services.
func virtual(o plan.Observed) []Address {
	var all []Address
	for _, s := range o.Services {
		for _, v := range s.Endpoint.VirtualIPs {
			for _, n := range o.Networks {
				if n.ID == v.NetworkID && n.Spec.DriverConfiguration.Name == contract.PluginNet && v.Addr.IsValid() {
					a := owner(s.Spec.Labels, s.Spec.Name)
					a.Address, a.Network, a.Slot, a.State, a.Since = v.Addr.Addr(), n.Spec.Name, "vip", "reserved", s.CreatedAt
					all = append(all, a)
				}
			}
		}
	}
	return all
}

// addressesOf are the addresses of one task, one a network.
func addressesOf(t swarm.Task, s swarm.Service, node string) []Address {
	var all []Address
	for _, a := range t.NetworksAttachments {
		if driverOf(a.Network) != contract.PluginNet {
			continue
		}
		labels := map[string]string{}
		if d := a.Network.Spec.DriverConfiguration; t.Spec.ContainerSpec == nil && d != nil {
			labels = d.Options // a container outside Swarm's services is the network's
		} else if t.Spec.ContainerSpec != nil {
			labels = t.Spec.ContainerSpec.Labels
		}
		for _, p := range a.Addresses {
			v := owner(merged(s.Spec.Labels, labels), s.Spec.Name)
			v.Address, v.Network, v.Node, v.Task, v.State, v.Since = p.Addr(), a.Network.Spec.Name, node, t.ID, string(t.Status.State), t.CreatedAt
			if c := t.Status.ContainerStatus; c != nil {
				v.container = c.ContainerID
			}
			switch {
			case t.Slot != 0:
				v.Slot = strconv.Itoa(t.Slot)
			case t.ServiceID != "": // one a node
				v.Slot = strings.ReplaceAll(node, ".", "_")
			}
			all = append(all, v)
		}
	}
	return all
}

func merged(under, over map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{under, over} {
		for key, v := range m {
			all[key] = v
		}
	}
	return all
}

// owner says whose something is by its labels. Without them the stack's name is the project, and the environment is none.
func owner(labels map[string]string, service string) Address {
	a := Address{Project: labels[contract.Project], Environment: labels[contract.Environment], Service: labels[contract.Service], full: service}
	stack := labels[spec.StackNamespace]
	if a.Project == "" {
		a.Project, a.Environment = stack, "none"
	}
	if a.Service == "" {
		a.Service = strings.TrimPrefix(service, stack+"_")
	}
	return a
}
