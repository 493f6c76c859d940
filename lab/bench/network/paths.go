package network

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
)

const (
	port      = 7999
	published = 17999 // of the container on Docker's bridge
	warmup    = 5
	// local marks the paths between two containers of one node.
	local = "-local"
	// uplink is a lab's node's.
	uplink        = "eth0"
	macvlanSubnet = "10.94.0.0/24" // on the nodes' own wire
)

// place makes what the paths lead between, on networks that Swarm has not, and gives all paths.
func (b *bench) place(ctx context.Context) ([]pair.Mode, error) {
	modes, err := b.routedModes(ctx)
	if err != nil {
		return nil, err
	}
	for _, make := range []func(context.Context) ([]pair.Mode, error){
		func(ctx context.Context) ([]pair.Mode, error) { return b.taskModes(ctx, overlay) }, b.bridgeModes, b.macvlanModes,
	} {
		more, err := make(ctx)
		if err != nil {
			return nil, err
		}
		modes = append(modes, more...)
	}
	return modes, nil
}

// near is the service of the second task on the client's node.
func (b *bench) near(network string) string { return "bench-" + network + "-near" }

// routedModes are the host's own path and ours.
func (b *bench) routedModes(ctx context.Context) ([]pair.Mode, error) {
	direct, err := b.hostMode()
	if err != nil {
		return nil, err
	}
	modes, err := b.taskModes(ctx, ours)
	return append([]pair.Mode{direct}, modes...), err
}

func (b *bench) hostMode() (pair.Mode, error) {
	from, err := b.Lab.NetworkPath(b.client)
	if err != nil {
		return pair.Mode{}, err
	}
	to, err := b.Lab.NetworkPath(b.server)
	if err != nil {
		return pair.Mode{}, err
	}
	at := join(b.Lab.Address(b.server).String(), port)
	return pair.Mode{Name: host, Client: from, Server: to, Listen: at, Dial: at}, nil
}

// taskModes go from the idle task of the client's node to that of the other, and to its neighbour on the same node.
func (b *bench) taskModes(ctx context.Context, network string) ([]pair.Mode, error) {
	from, err := b.idleTask(ctx, network, b.client)
	if err != nil {
		return nil, err
	}
	to, err := b.idleTask(ctx, network, b.server)
	if err != nil {
		return nil, err
	}
	near, _, err := b.Running(ctx, b.near(network), 1, runWithin)
	if err != nil {
		return nil, err
	}
	far, err := b.mode(network, from.Container, b.server, to.Container, to.Address.String()) //nolint:contextcheck // it has a time limit of its own
	if err != nil {
		return nil, err
	}
	here, err := b.mode(network+local, from.Container, b.client, near[0].Container, near[0].Address.String()) //nolint:contextcheck // the same
	return []pair.Mode{far, here}, err
}

// mode goes from a container of the client's node to one of another, or the same.
func (b *bench) mode(name, from, node, to, address string) (m pair.Mode, err error) {
	m = pair.Mode{Name: name, Listen: join(address, port), Dial: join(address, port)}
	if m.Client, err = b.Lab.ContainerNetwork(b.client, from); err != nil {
		return m, err
	}
	m.Server, err = b.Lab.ContainerNetwork(node, to)
	return m, err
}

// bridgeModes go from a container on Docker's default bridge to a port that the other node publishes, and to a neighbour
// on the same bridge.
func (b *bench) bridgeModes(ctx context.Context) ([]pair.Mode, error) {
	at := b.Lab.Address(b.server).String()
	to := fmt.Sprintf("%s:%d:%d", at, published, port)
	ids := map[string]string{}
	for _, c := range []struct {
		name, node string
		more       []string
	}{{"bench-bridge", b.client, nil}, {"bench-bridge-near", b.client, nil}, {"bench-bridge-far", b.server, []string{"-p", to, "-p", to + "/udp"}}} {
		id, err := b.run(ctx, c.node, c.name, c.more...)
		if err != nil {
			return nil, err
		}
		ids[c.name] = id
	}
	address, err := b.Lab.Docker(ctx, b.client, "inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", ids["bench-bridge-near"])
	if err != nil {
		return nil, err
	}
	far, err := b.mode(bridge, ids["bench-bridge"], b.server, ids["bench-bridge-far"], "0.0.0.0") //nolint:contextcheck // it has a time limit of its own
	if err != nil {
		return nil, err
	}
	far.Dial = join(at, published)
	here, err := b.mode(bridge+local, ids["bench-bridge"], b.client, ids["bench-bridge-near"], strings.TrimSpace(address)) //nolint:contextcheck // the same
	return []pair.Mode{far, here}, err
}

// macvlanModes lead over the nodes' own wire, past everything that a node could check.
func (b *bench) macvlanModes(ctx context.Context) ([]pair.Mode, error) {
	for _, node := range []string{b.client, b.server} {
		if _, err := b.Lab.Docker(ctx, node, "network", "create", "-d", "macvlan", "--subnet", macvlanSubnet, "-o", "parent="+uplink, "bench-"+macvlan); err != nil {
			return nil, err
		}
	}
	var ids []string
	addresses := []string{"10.94.0.11", "10.94.0.12", "10.94.0.13"}
	for i, node := range []string{b.client, b.client, b.server} {
		id, err := b.run(ctx, node, fmt.Sprintf("bench-macvlan-%d", i), "--network", "bench-"+macvlan, "--ip", addresses[i])
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	far, err := b.mode(macvlan, ids[0], b.server, ids[2], addresses[2]) //nolint:contextcheck // it has a time limit of its own
	if err != nil {
		return nil, err
	}
	here, err := b.mode(macvlan+local, ids[0], b.client, ids[1], addresses[1]) //nolint:contextcheck // the same
	return []pair.Mode{far, here}, err
}

// run starts a container that sleeps.
func (b *bench) run(ctx context.Context, node, name string, more ...string) (id string, err error) {
	args := append([]string{"run", "-d", "--pull", "never", "--stop-signal", "SIGKILL", "--name", name}, more...)
	id, err = b.Lab.Docker(ctx, node, append(args, lab.ShellImage, "sleep", "1000000")...)
	return strings.TrimSpace(id), err
}

func join(host string, port int) string { return host + ":" + strconv.Itoa(port) }
