package main

import (
	"context"

	"github.com/rolling-swarm/rolling/network-driver/kernel"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// firewall looks at it for the pools that the node knows now.
func firewall(n *node.Node, watch *kernel.Watch) func(context.Context) (topology.Firewall, error) {
	return func(ctx context.Context) (topology.Firewall, error) {
		r, err := n.Report(ctx)
		if err != nil {
			return topology.Firewall{}, err
		}
		return watch.Look(r.Pools)
	}
}
