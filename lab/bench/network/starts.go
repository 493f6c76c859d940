package network

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

// starts takes turns at starting a service of one task on our network and on overlay, from Swarm's own timestamps:
// service created until task running.
func (b *bench) starts(ctx context.Context) ([]figure.Figure, error) {
	took := map[string][]time.Duration{}
	var services []string
	for round := range b.set.Starts {
		order := []string{ours, overlay}
		if round%2 == 1 {
			order = []string{overlay, ours}
		}
		for _, network := range order {
			name := fmt.Sprintf("bench-start-%s-%d", network, round)
			if err := b.Start(ctx, site.Service{Name: name, Network: "bench-" + network, Replicas: 1, Node: b.client}); err != nil {
				return nil, err
			}
			tasks, created, err := b.Running(ctx, name, 1, runWithin)
			if err != nil {
				return nil, err
			}
			services = append(services, name)
			took[network] = append(took[network], tasks[0].Since.Sub(created))
		}
	}
	if err := b.Remove(ctx, services...); err != nil {
		return nil, err
	}
	f, err := figure.Paired("net.start", "ms", figure.Milliseconds(took[ours]), overlay, figure.Milliseconds(took[overlay]),
		"service created to its one task running, Swarm's timestamps, the network at work on the node")
	return []figure.Figure{f}, err
}

// none is a container without a network: what a start costs before any driver has its share.
const none = "none"

// shares takes turns at starting a container with no network, with ours and with overlay, by the engine's own call. What
// a start takes above one without a network is the driver's share: allocation by the leader, the driver's calls, the
// interface in the container.
func (b *bench) shares(ctx context.Context) ([]figure.Figure, error) {
	took := map[string][]float64{}
	all := []string{none, ours, overlay}
	for round := range b.set.Starts {
		for k := range all {
			name := all[(k+round)%len(all)]
			d, err := b.startOnce(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("start a container on network %s: %w", name, err)
			}
			took[name] = append(took[name], float64(d)/float64(time.Millisecond))
		}
	}
	whole, err := figure.Paired("net.start_container", "ms", took[ours], overlay, took[overlay], "the engine's call that starts a container, docker run's kind, the network at work on the node")
	if err != nil {
		return nil, err
	}
	bare := figure.Median(took[none])
	// Of the medians: a difference of two noisy starts may be nothing, or less.
	share := figure.Beside("net.start_share", "ms", whole.Ours-bare, overlay, *whole.Peer-bare, b.set.Starts,
		fmt.Sprintf("median of the same above the median of a start without a network, %.0f ms", bare))
	return []figure.Figure{whole, share}, nil
}

// startOnce times one start on the client's node, and removes the container.
func (b *bench) startOnce(ctx context.Context, on string) (took time.Duration, err error) {
	err = b.With(b.client, func(c *client.Client) error {
		create := client.ContainerCreateOptions{
			Config:     &container.Config{Image: lab.ShellImage, Cmd: []string{"sleep", "1000000"}},
			HostConfig: &container.HostConfig{NetworkMode: none},
		}
		if on != none {
			name := "bench-" + on
			create.HostConfig.NetworkMode = container.NetworkMode(name)
			create.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{name: {}}}
		}
		made, err := c.ContainerCreate(ctx, create)
		if err != nil {
			return err
		}
		begun := time.Now()
		_, err = c.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
		took = time.Since(begun)
		if _, removed := c.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true}); err == nil {
			err = removed
		}
		return err
	})
	return took, err
}
