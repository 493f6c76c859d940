//go:build lab

package main

import (
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

const lanOther = "lan1xn9lzwgx5q1p7f2a8b4c"

// create makes a network of a project.
func (r *rig) create(id, pool, gateway string, options map[string]any) {
	r.t.Helper()
	r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: id, Options: map[string]any{"com.docker.network.generic": options},
		IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: pool, Gateway: gateway}}}, nil)
}

// physically makes the options of a project's network on the nodes' own cable.
func physically(project string) map[string]any {
	return map[string]any{"rolling.project": project, "rolling.mode": "l2", "rolling.parent": "eth0", "rolling.gateway": "10.98.0.1"}
}

// Containers on the physical network and routed ones reach each other by the site's router and by the node, and the
// verdict on their projects is the same as among routed ones, whoever asks. A published port is no way round it.
func TestRoutedContainersAndThoseOnThePhysicalNetworkMeet(t *testing.T) {
	t.Parallel()
	host, router := lanHost(t)
	router.Set("net/ipv4/ip_forward", "1")
	router.Must("ip route add 10.210.0.0/16 via 10.98.0.21")
	r := newRig(t, host)
	r.engine.swarm("10.98.0.21", member{"10.98.0.21", true})
	r.start()
	r.createNetwork(net1, "10.210.3.0/24", "169.254.1.1/24") // of orders
	r.create(netOther, "10.210.4.0/24", "169.254.1.2/32", map[string]any{"rolling.project": "payments"})
	r.create(lanNet, "10.98.0.0/24", "10.98.0.1/24", physically("orders"))
	r.create(lanOther, "10.98.0.0/24", "10.98.0.1/24", physically("payments"))
	routed, other := r.container(endpointID(1), net1, "10.210.3.7", "c1", 0), r.container(endpointID(2), netOther, "10.210.4.9", "c2", 0)
	on, err := r.attach(endpointID(3), "10.98.0.77", "c3")
	if err != nil {
		t.Fatal(err)
	}
	onOther, err := r.attachTo(lanOther, endpointID(4), "10.98.0.78", "c4")
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range []lan.Space{routed, other, on, onOther} {
		echoes(t, box, 80)
	}
	if err := r.publish(endpointID(1), binding(6, 8080, 80), binding(17, 8080, 80)); err != nil {
		t.Fatal(err)
	}
	each := func(when string) {
		t.Helper()
		expectSeen(t, when, []cell{
			{"physical to routed, of one project", on, "10.210.3.7:80", "10.98.0.77"},
			{"routed to physical, of one project", routed, "10.98.0.77:80", "10.210.3.7"},
			{"physical to routed, of the other project", onOther, "10.210.4.9:80", "10.98.0.78"},
			{"routed to physical, of the other project", other, "10.98.0.78:80", "10.210.4.9"},
			{"the node to its own on the physical network", host, "10.98.0.77:80", "10.98.0.21"},
			{"a machine of the company to the physical one", router, "10.98.0.77:80", "10.98.0.1"},
			{"physical to a published port, of one project", on, "10.98.0.21:8080", "10.98.0.77"},
		})
		expectNothing(t, when, []cell{
			{"physical to routed, of another project", onOther, "10.210.3.7:80", ""},
			{"physical to routed, the other way round", on, "10.210.4.9:80", ""},
			{"routed to physical, of another project", routed, "10.98.0.78:80", ""},
			{"routed to physical, the other way round", other, "10.98.0.77:80", ""},
			{"physical to a published port, of another project", onOther, "10.98.0.21:8080", ""},
		})
	}
	lan.Eventually(t, 10*time.Second, "the ways are open", func() error {
		_, err := client(on, "tcp4", "10.210.3.7:80")
		return err
	})
	each("at first")
	r.kill()
	each("while the plugin is dead")
}
