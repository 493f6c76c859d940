package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// portMapKey carries the ports of the host that a container publishes (-p, ports: {mode: host}). The engine says it for
// the endpoint by which the container's default route goes, after Join and before the container's process starts.
const portMapKey = "com.docker.network.portmap"

// binding is the engine's word for a published port. With a range of the host's ports, the engine leaves the choice to
// the driver.
type binding struct {
	Proto       int
	Port        uint16
	HostIP      string
	HostPort    uint16
	HostPortEnd uint16
}

func (d *Door) publish(ctx context.Context, r network.ProgramExternalConnectivityRequest) (empty, error) {
	id, net := topology.EndpointID(r.EndpointID), topology.NetworkID(r.NetworkID)
	ports, err := publications(r.Options[portMapKey])
	if err != nil {
		return empty{}, fmt.Errorf("endpoint %s: %w", id.Short(), err)
	}
	return empty{}, d.node.Publish(ctx, net, id, ports)
}

func (d *Door) revoke(ctx context.Context, r network.RevokeExternalConnectivityRequest) (empty, error) {
	return empty{}, d.node.Revoke(ctx, topology.NetworkID(r.NetworkID), topology.EndpointID(r.EndpointID))
}

func publications(option any) ([]topology.Publication, error) {
	text, err := json.Marshal(option)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", portMapKey, err)
	}
	var bindings []binding
	if err := json.Unmarshal(text, &bindings); err != nil {
		return nil, fmt.Errorf("%s: %w", portMapKey, err)
	}
	var all []topology.Publication
	for _, b := range bindings {
		p := topology.Publication{Proto: protocol(b.Proto), HostPort: b.HostPort, Port: b.Port}
		if b.HostPortEnd > b.HostPort {
			return nil, fmt.Errorf("port %d of the container: %d to %d of the node: name one port: which was chosen could be told to nobody", b.Port, b.HostPort, b.HostPortEnd)
		}
		if b.HostIP != "" {
			if p.HostIP, err = netip.ParseAddr(b.HostIP); err != nil {
				return nil, fmt.Errorf("port %s: %q is not an address: %w", p, b.HostIP, err)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// protocol is IANA's number in a word.
func protocol(number int) string {
	switch number {
	case 6:
		return "tcp"
	case 17:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", number)
}
