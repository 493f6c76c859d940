package driver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	genericKey = "com.docker.network.generic"
	ipv6Key    = "com.docker.network.enable_ipv6"
)

func (d *Door) capabilities(context.Context, empty) (*network.CapabilitiesResponse, error) {
	return &network.CapabilitiesResponse{Scope: network.GlobalScope, ConnectivityScope: network.GlobalScope}, nil
}

// allocateNetwork runs on the Swarm's leader: a network is refused here, once, or never. What it returns is what each
// node's CreateNetwork is given. It answers while the state is still being read.
func (d *Door) allocateNetwork(ctx context.Context, r network.AllocateNetworkRequest) (*network.AllocateNetworkResponse, error) {
	var problems []error
	options, err := topology.ParseOptions(r.Options)
	if err != nil {
		problems = append(problems, err)
	}
	if strings.EqualFold(r.Options[ipv6Key], "true") || len(r.IPv6Data) > 0 {
		problems = append(problems, errIPv6)
	}
	pools := make([]*network.IPAMData, 0, len(r.IPv4Data))
	for i := range r.IPv4Data {
		pools = append(pools, &r.IPv4Data[i])
	}
	pool, _, err := subnet(pools, options)
	if err == nil && options.Segment().IsZero() { // an l2 network may well be the nodes' own
		err = d.node.AllowPool(ctx, pool)
	}
	if six := (topology.Network{Pool: pool, Options: options}).SixPool(); err == nil && six.IsValid() {
		err = d.node.AllowPool(ctx, six)
	}
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		d.refusals.note(r, errors.Join(problems...))
		return nil, refusal(r.NetworkID, problems)
	}
	echo := r.Options
	if echo == nil {
		echo = map[string]string{}
	}
	return &network.AllocateNetworkResponse{Options: echo}, nil
}

var errIPv6 = errors.New("IPv6 addresses are derived from the IPv4 ones: leave EnableIPv6 off, give no IPv6 subnet, and name a /96 in driver_opts rolling.ipv6")

// refusal names the network and all that is wrong with it, in lines.
func refusal(id string, problems []error) error {
	text := strings.ReplaceAll(errors.Join(problems...).Error(), "\n", "\n  ")
	return fmt.Errorf("network %s is refused:\n  %s", topology.NetworkID(id).Short(), text)
}

func (d *Door) freeNetwork(context.Context, network.FreeNetworkRequest) (empty, error) {
	return empty{}, nil // the leader keeps nothing of a network
}

func (d *Door) createNetwork(ctx context.Context, r network.CreateNetworkRequest) (empty, error) {
	var problems []error
	if r.NetworkID == "" {
		problems = append(problems, errors.New("NetworkID is empty"))
	}
	options, err := topology.ParseOptions(generic(r.Options))
	if err != nil {
		problems = append(problems, err)
	}
	if on, ok := r.Options[ipv6Key].(bool); ok && on || len(r.IPv6Data) > 0 {
		problems = append(problems, errIPv6)
	}
	pool, gateway, err := subnet(r.IPv4Data, options)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return empty{}, refusal(r.NetworkID, problems)
	}
	return empty{}, d.node.AddNetwork(ctx, topology.Network{ID: topology.NetworkID(r.NetworkID), Pool: pool, Gateway: gateway, Options: options})
}

// generic takes the driver_opts out of the engine's map; older engines send them as another kind of map.
func generic(options map[string]any) map[string]string {
	flat := map[string]string{}
	inner, _ := options[genericKey].(map[string]any)
	for k, v := range inner {
		if text, ok := v.(string); ok {
			flat[k] = text
		} else {
			flat[k] = fmt.Sprint(v)
		}
	}
	return flat
}

// errForeign: another IPAM driver's addresses are in no ledger, and its gateway is one that no link of ours has.
var errForeign = errors.New("the network does not use rolling/ipam: make it with --ipam-driver rolling/ipam:latest, and without --gateway")

// subnet reads the one IPv4 pool, and the gateway, which may come with any mask.
func subnet(data []*network.IPAMData, options topology.Options) (pool netip.Prefix, gateway netip.Addr, err error) {
	if len(data) != 1 || data[0] == nil {
		return pool, gateway, fmt.Errorf("it has %d IPv4 subnets: want exactly one (a new leader of the Swarm would mix the pools of two)", len(data))
	}
	pool, err = netip.ParsePrefix(data[0].Pool)
	if err != nil || !pool.Addr().Is4() || pool.Bits() == 0 {
		return pool, gateway, fmt.Errorf("its subnet %q is not an IPv4 prefix such as 10.210.3.0/24", data[0].Pool)
	}
	text, _, _ := strings.Cut(data[0].Gateway, "/")
	gateway, err = netip.ParseAddr(text)
	routed := options.Segment().IsZero()
	if err != nil || !gateway.Is4() || routed && !gateway.IsLinkLocalUnicast() {
		return pool, gateway, fmt.Errorf("its gateway %q is not link-local, such as 169.254.1.1: %w", data[0].Gateway, errForeign)
	}
	if err := options.CheckGateway(pool, gateway); err != nil {
		return pool, gateway, err
	}
	if other, what, reserved := contract.Reserved(pool); reserved {
		return pool, gateway, fmt.Errorf("its subnet %s overlaps %s (%s), whose addresses no container can have: choose another", pool, other, what)
	}
	return pool.Masked(), gateway, nil
}

func (d *Door) deleteNetwork(ctx context.Context, r network.DeleteNetworkRequest) (empty, error) {
	return empty{}, d.node.RemoveNetwork(ctx, topology.NetworkID(r.NetworkID))
}

// discover names only this node itself: the Swarm's members are asked of the engine, in the background.
func (d *Door) discover(context.Context, network.DiscoveryNotification) (empty, error) {
	return empty{}, nil
}
