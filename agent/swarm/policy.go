package swarm

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/agent/allow"
	"github.com/rolling-swarm/rolling/internal/contract"
)

// Labels answers what a policy is made of: all services with their labels, all networks of rolling/net.
func (e *Engine) Labels(ctx context.Context) ([]allow.Service, []allow.Network, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	found, err := e.api.ServiceList(ctx, client.ServiceListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the swarm's services: %w", err)
	}
	list, err := e.api.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("driver", contract.PluginNet).Add("scope", "swarm")})
	if err != nil {
		return nil, nil, fmt.Errorf("list the swarm's networks: %w", err)
	}
	var services []allow.Service
	for _, s := range found.Items {
		services = append(services, allow.Service{Name: s.Spec.Name, Labels: s.Spec.Labels})
	}
	var networks []allow.Network
	for _, n := range list.Items {
		w := allow.Network{Name: n.Name, Options: n.Options, Range: n.IPAM.Options[contract.Range]}
		for _, c := range n.IPAM.Config {
			if c.Subnet.IsValid() && c.Subnet.Bits() > 0 {
				w.Pools = append(w.Pools, c.Subnet.Masked())
			}
		}
		networks = append(networks, w)
	}
	return services, networks, nil
}

// Place is where this node stands in the Swarm.
type Place struct {
	Self     netip.Addr
	Manager  bool
	Managers []netip.Addr // others than this node
	Nodes    []netip.Addr // all, where this node is a manager
}

// Place asks the engine. A node that is in no Swarm has no address.
func (e *Engine) Place(ctx context.Context) (Place, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	found, err := e.api.Info(ctx, client.InfoOptions{})
	if err != nil {
		return Place{}, fmt.Errorf("ask the engine for its swarm: %w", err)
	}
	s := found.Info.Swarm
	if s.LocalNodeState != swarm.LocalNodeStateActive {
		return Place{}, nil
	}
	p := Place{Manager: s.ControlAvailable}
	if p.Self, err = netip.ParseAddr(s.NodeAddr); err != nil {
		return Place{}, fmt.Errorf("the node's address in the swarm is %q: %w", s.NodeAddr, err)
	}
	for _, r := range s.RemoteManagers {
		if a, ok := hostOf(r.Addr); ok && a != p.Self {
			p.Managers = append(p.Managers, a)
		}
	}
	if !p.Manager {
		return p, nil
	}
	nodes, err := e.api.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return Place{}, fmt.Errorf("list the swarm's nodes: %w", err)
	}
	for _, n := range nodes.Items {
		if a, ok := hostOf(n.Status.Addr); ok {
			p.Nodes = append(p.Nodes, a)
		}
		if n.ManagerStatus != nil {
			if a, ok := hostOf(n.ManagerStatus.Addr); ok {
				p.Nodes = append(p.Nodes, a)
			}
		}
	}
	return p, nil
}

func hostOf(text string) (netip.Addr, bool) {
	if h, _, err := net.SplitHostPort(text); err == nil {
		text = h
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap(), err == nil && !a.IsUnspecified() && !a.IsLoopback()
}
