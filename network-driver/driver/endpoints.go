package driver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// inContainer is how interfaces are called inside: eth0, eth1, …
	inContainer = "eth"
	// connected is the protocol's word for a route without a next hop.
	connected = 1
)

func (d *Door) createEndpoint(ctx context.Context, r network.CreateEndpointRequest) (*network.CreateEndpointResponse, error) {
	e, err := endpoint(r)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", topology.EndpointID(r.EndpointID).Short(), err)
	}
	mac, six, err := d.node.AddEndpoint(ctx, e)
	if err != nil {
		return nil, err
	}
	// What the request brought must be empty in the answer.
	answer := &network.CreateEndpointResponse{Interface: &network.EndpointInterface{}}
	if e.MAC == "" {
		answer.Interface.MacAddress = mac
	}
	if six.IsValid() {
		answer.Interface.AddressIPv6 = netip.PrefixFrom(six, six.BitLen()).String()
	}
	return answer, nil
}

func endpoint(r network.CreateEndpointRequest) (topology.Endpoint, error) {
	e := topology.Endpoint{ID: topology.EndpointID(r.EndpointID), Network: topology.NetworkID(r.NetworkID)}
	if !hexadecimal(r.EndpointID) || r.NetworkID == "" {
		return e, errors.New("the request names no endpoint and network as the engine does")
	}
	if r.Interface == nil || r.Interface.Address == "" {
		return e, fmt.Errorf("the request brings no IPv4 address: %w", errForeign)
	}
	if r.Interface.AddressIPv6 != "" {
		return e, fmt.Errorf("address %s: %w", r.Interface.AddressIPv6, errIPv6)
	}
	p, err := netip.ParsePrefix(r.Interface.Address)
	if err != nil || !p.Addr().Is4() {
		return e, fmt.Errorf("address %q is not IPv4 with a prefix length, such as 10.210.3.7/32", r.Interface.Address)
	}
	e.Address, e.Bits = p.Addr(), p.Bits()
	if r.Interface.MacAddress != "" {
		mac, err := net.ParseMAC(r.Interface.MacAddress)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
			return e, fmt.Errorf("MAC %q is not that of one interface, such as 02:42:0a:d2:03:07", r.Interface.MacAddress)
		}
		e.MAC = mac.String()
	}
	return e, nil
}

// hexadecimal: an id becomes part of an interface's name and of its alias.
func hexadecimal(id string) bool {
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(id) >= 12 && len(id) <= 64
}

func (d *Door) deleteEndpoint(ctx context.Context, r network.DeleteEndpointRequest) (empty, error) {
	return empty{}, d.node.RemoveEndpoint(ctx, topology.NetworkID(r.NetworkID), topology.EndpointID(r.EndpointID))
}

func (d *Door) endpointInfo(ctx context.Context, r network.InfoRequest) (*network.InfoResponse, error) {
	e, err := d.node.Endpoint(ctx, topology.NetworkID(r.NetworkID), topology.EndpointID(r.EndpointID))
	if err != nil {
		return nil, err
	}
	seen := map[string]string{
		"address": e.Address.String(), "mac": e.MAC, "interface": topology.HostEnd(e.ID), "phase": string(e.Phase), "mtu": strconv.Itoa(e.MTU),
	}
	if e.Address6.IsValid() {
		seen["address6"] = e.Address6.String()
	}
	return &network.InfoResponse{Value: seen}, nil
}

// join gives the container one interface, and a default route by the network's own link-local gateway: networks of one
// container must not share it. On an l2 network the gateway is the site's router. DisableGatewayService keeps Docker's
// own gateway bridge out of the container.
func (d *Door) join(ctx context.Context, r network.JoinRequest) (*network.JoinResponse, error) {
	l, err := d.node.Join(ctx, topology.NetworkID(r.NetworkID), topology.EndpointID(r.EndpointID), r.SandboxKey)
	if err != nil {
		return nil, err
	}
	answer := &network.JoinResponse{
		InterfaceName:         network.InterfaceName{SrcName: l.Peer, DstPrefix: inContainer},
		Gateway:               l.Gateway.String(),
		DisableGatewayService: true,
	}
	if l.Segment.IsZero() {
		answer.StaticRoutes = []*network.StaticRoute{{Destination: netip.PrefixFrom(l.Gateway, 32).String(), RouteType: connected}}
	}
	if l.Address6.IsValid() {
		answer.GatewayIPv6 = l.Gateway6.String()
		answer.StaticRoutes = append(answer.StaticRoutes, &network.StaticRoute{Destination: netip.PrefixFrom(l.Gateway6, 128).String(), RouteType: connected})
	}
	return answer, nil
}

func (d *Door) leave(ctx context.Context, r network.LeaveRequest) (empty, error) {
	return empty{}, d.node.Leave(ctx, topology.NetworkID(r.NetworkID), topology.EndpointID(r.EndpointID))
}
