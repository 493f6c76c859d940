package engine

import (
	"net/netip"
	"testing"

	"github.com/moby/moby/api/types/swarm"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/plan"
)

func TestFreeAddresses(t *testing.T) {
	net := func(id, driver, subnet, gateway string, options map[string]string) plan.Network {
		c := swarm.IPAMConfig{Subnet: netip.MustParsePrefix(subnet)}
		if gateway != "" {
			c.Gateway = netip.MustParseAddr(gateway)
		}
		return plan.Network{ID: id, Spec: swarm.NetworkSpec{Annotations: swarm.Annotations{Name: id}, DriverConfiguration: &swarm.Driver{Name: driver},
			IPAMOptions: &swarm.IPAMOptions{Driver: swarm.Driver{Options: options}, Configs: []swarm.IPAMConfig{c}}}}
	}
	within := net("n", contract.PluginNet, "10.1.0.0/24", "169.254.1.1", nil)
	within.Spec.IPAMOptions.Configs[0].Range = netip.MustParsePrefix("10.1.0.16/29")
	six := net("n", contract.PluginNet, "fd00::/64", "", nil)
	for _, c := range []struct {
		name    string
		network plan.Network
		others  []plan.Network
		held    map[string][]string
		want    int // -1: only its driver knows
	}{
		{"a routed pool uses every address", net("n", contract.PluginNet, "10.1.0.0/29", "169.254.1.1", nil), nil, nil, 8},
		{"what is held is taken, each address once", net("n", contract.PluginNet, "10.1.0.0/29", "169.254.1.1", nil), nil,
			map[string][]string{"n": {"10.1.0.1", "10.1.0.2", "10.1.0.2"}}, 6},
		{"a gateway inside is taken", net("n", contract.PluginNet, "10.1.0.0/29", "10.1.0.1", nil), nil, nil, 7},
		{"another network of that subnet draws from the same pool", net("n", contract.PluginNet, "10.1.0.0/29", "169.254.1.1", nil),
			[]plan.Network{net("m", contract.PluginNet, "10.1.0.0/29", "169.254.1.2", nil)}, map[string][]string{"m": {"10.1.0.1"}, "n": {"10.1.0.0"}}, 6},
		{"another subnet does not", net("n", contract.PluginNet, "10.1.0.0/29", "169.254.1.1", nil),
			[]plan.Network{net("m", contract.PluginNet, "10.2.0.0/29", "169.254.1.2", nil)}, map[string][]string{"m": {"10.1.0.1"}}, 8},
		{"a range is all that there is", net("n", contract.PluginNet, "10.1.0.0/24", "169.254.1.1", map[string]string{contract.Range: "10.1.0.10-10.1.0.12"}), nil,
			map[string][]string{"n": {"10.1.0.10", "10.1.0.99"}}, 2},
		{"Docker's own range too", within, nil, map[string][]string{"n": {"10.1.0.16"}}, 7},
		{"a quota counts the network's own", net("n", contract.PluginNet, "10.1.0.0/24", "169.254.1.1", map[string]string{contract.Quota: "4"}), nil,
			map[string][]string{"n": {"10.1.0.1"}}, 3},
		{"more than the quota is none left", net("n", contract.PluginNet, "10.1.0.0/24", "169.254.1.1", map[string]string{contract.Quota: "1"}), nil,
			map[string][]string{"n": {"10.1.0.1", "10.1.0.2"}}, 0},
		{"an overlay keeps its first and last address, and its gateway", net("n", "overlay", "10.1.0.0/29", "10.1.0.1", nil), nil, nil, 5},
		{"what another driver does is its own", net("n", "weave", "10.1.0.0/29", "10.1.0.1", nil), nil, nil, -1},
		{"IPv6 is not counted", six, nil, nil, -1},
		{"the whole of IPv4 can be counted", net("n", contract.PluginNet, "0.0.0.0/0", "169.254.1.1", nil), nil, nil, 1<<32 - 1},
	} {
		h := holders{on: map[string][]netip.Addr{}}
		for id, all := range c.held {
			for _, a := range all {
				h.on[id] = append(h.on[id], netip.MustParseAddr(a))
			}
		}
		got, ok := h.free(c.network, append(c.others, c.network))
		if ok != (c.want >= 0) || ok && got != c.want {
			t.Errorf("%s: %d %v, want %d", c.name, got, ok, c.want)
		}
	}
}

func TestWhoHoldsAddresses(t *testing.T) {
	task := func(service, address string, desired, state swarm.TaskState) swarm.Task {
		k := swarm.Task{ServiceID: service, DesiredState: desired, Status: swarm.TaskStatus{State: state}}
		a := swarm.NetworkAttachment{Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
		a.Network.ID = "n"
		k.NetworksAttachments = []swarm.NetworkAttachment{a}
		return k
	}
	o := plan.Observed{Services: []swarm.Service{{ID: "s", Endpoint: swarm.Endpoint{VirtualIPs: []swarm.EndpointVirtualIP{
		{NetworkID: "n", Addr: netip.MustParsePrefix("10.0.0.9/24")}, {NetworkID: "ingress"}}}}}}
	h := holdersOf(o, []swarm.Task{
		task("s", "10.0.0.1/32", swarm.TaskStateRunning, swarm.TaskStateRunning),
		task("s", "10.0.0.2/32", swarm.TaskStateShutdown, swarm.TaskStateRunning), // it drains, or its node is down
		task("s", "10.0.0.3/32", swarm.TaskStateShutdown, swarm.TaskStateShutdown),
		task("s", "10.0.0.4/32", swarm.TaskStateRunning, swarm.TaskStateFailed),
		task("", "10.0.0.5/32", swarm.TaskStateRunning, swarm.TaskStateRunning), // docker run
	})
	if got := len(h.on["n"]); got != 4 || h.of["s"] != 1 {
		t.Errorf("%v hold addresses, %d of the service are meant to run", h.on["n"], h.of["s"])
	}
}
