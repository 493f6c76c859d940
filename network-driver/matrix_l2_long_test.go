//go:build lab && long

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

func lanNetwork(j int) string { return fmt.Sprintf("lan%d0000000000000000000000", j) }

func lanAddress(j, host int) string { return fmt.Sprintf("10.98.0.%d", 100+10*j+host) }

// lodge is a container of a project on the nodes' own cable, with the site's router as its gateway.
func (m *matrix) lodge(i, j int) *resident {
	m.t.Helper()
	r, id, address := m.nodes[i], 200+10*i+j, lanAddress(j, i)
	options := map[string]any{"rolling.mode": "l2", "rolling.parent": "eth0", "rolling.gateway": "10.98.0.1"}
	for k, v := range wards[j].options {
		options[k] = v
	}
	r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: lanNetwork(j), Options: map[string]any{"com.docker.network.generic": options},
		IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: "10.98.0.0/24", Gateway: "10.98.0.1/24"}}}, nil)
	box := lan.New(m.t, fmt.Sprintf("l%d", id))
	answers(m.t, box)
	r.must("CreateEndpoint", network.CreateEndpointRequest{NetworkID: lanNetwork(j), EndpointID: endpointID(id), Interface: &network.EndpointInterface{Address: address + "/24"}}, nil)
	var join network.JoinResponse
	r.must("Join", network.JoinRequest{NetworkID: lanNetwork(j), EndpointID: endpointID(id), SandboxKey: "/var/run/docker/netns/" + box.Name}, &join)
	r.space.Must("ip link set " + join.InterfaceName.SrcName + " netns " + box.Name)
	for _, line := range []string{"ip link set " + join.InterfaceName.SrcName + " name eth0", "ip addr add " + address + "/24 dev eth0", "ip link set eth0 up", "ip route add default via 10.98.0.1"} {
		box.Must(line)
	}
	p := &resident{space: box, node: i, project: wards[j].project, open: wards[j].project == "public", l2: true, ways: []way{direct("direct", address)}}
	m.residents = append(m.residents, p)
	return p
}

// layPhysical is a fabric whose containers are on the nodes' own cable, and for two projects on routed networks, too. The
// site's router knows the way to those.
func layPhysical(t *testing.T, extra ...string) *matrix {
	t.Helper()
	m := layMatrix(t, extra...)
	router := m.lan.Node("router", "10.98.0.1/24")
	router.Set("net/ipv4/ip_forward", "1")
	router.Set("net/ipv4/conf/all/send_redirects", "0")
	router.Set("net/ipv4/conf/eth0/send_redirects", "0")
	m.outside.ways = m.outside.ways[:1]
	for i, r := range m.nodes {
		r.start()
		for j, ward := range wards {
			m.lodge(i, j)
			if ward.project == "orders" || ward.project == "payments" {
				r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: wardNetwork(j), Options: map[string]any{"com.docker.network.generic": ward.options},
					IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: fmt.Sprintf("10.210.%d.0/24", j), Gateway: fmt.Sprintf("169.254.1.%d/32", j+1)}}}, nil)
				address := wardAddress(j, i+1)
				box := lan.New(t, fmt.Sprintf("c%d%d", i, j))
				answers(t, box)
				r.plug(endpointID(10*i+j+1), wardNetwork(j), address, box, 0)
				for _, s := range []lan.Space{router, m.outside.space} {
					s.Must("ip route add " + address + "/32 via " + nodeAddress(i+1))
				}
				m.residents = append(m.residents, &resident{space: box, node: i, project: ward.project, ways: []way{direct("direct", address)}})
			}
		}
	}
	lan.Eventually(t, 30*time.Second, "each node knows whose the other's addresses are", func() error {
		for i, r := range m.nodes {
			for _, p := range m.residents {
				a := p.ways[0].address.String()
				if text, err := r.page("/explain?from=" + a + "&to=" + a + ":1"); err != nil || !strings.Contains(text, `"kind":"a container of`) {
					return fmt.Errorf("n%d does not know %s: %w %s", i+1, a, err, text)
				}
			}
			if s := r.state(); len(s.Routes) != 2 || len(s.Problems) > 0 {
				return fmt.Errorf("n%d has routes %v, problems %v", i+1, s.Routes, s.Problems)
			}
		}
		return nil
	})
	return m
}

// The same on a physical network, where frames go from port to port of a bridge, between the containers there, to routed
// ones and back by the site's router, and with machines of the company beside them.
func TestTheMatrixOfPhysicalNetworks(t *testing.T) {
	t.Parallel()
	m := layPhysical(t)
	for _, n := range m.nodes {
		if out := roads(n.space); strings.Contains(out, "10.98.0.1") {
			t.Errorf("%s routes to a container of the physical network:\n%s", n.space.Name, out)
		}
	}
	m.stages()
	m.moments(false)
	m.impostors()
	if err := dial(place{space: m.nodes[1].space}, nodeAddress(1), "1790", 5*time.Second); err != nil {
		t.Errorf("nodes do not reach each other's BGP: %v", err)
	}
	m.ranged()
}

// ranged: of the addresses that are left to containers nobody is trusted of whom no node has told.
func (m *matrix) ranged() {
	m.t.Helper()
	at := lan.Space{}
	for _, r := range m.residents {
		if r.l2 && r.node == 0 && r.project == "orders" {
			at = m.outside.space
			ask1 := func() []string {
				return ask(at, []*question{{what: "a stranger of the range", at: netip.AddrPortFrom(r.ways[0].address, 8080)}})
			}
			at.Must("ip addr add 10.98.0.150/24 dev eth0")
			at.Must("ip route replace 10.98.0.100/32 dev eth0 src 10.98.0.150")
			if wrong := ask1(); len(wrong) == 0 {
				m.t.Error("before a range is known a neighbour of the company is not let in")
			}
			m.layWith(nil, netip.MustParsePrefix("10.98.0.128/25"), netip.MustParsePrefix("10.98.0.16/28"))
			if wrong := ask1(); len(wrong) > 0 {
				m.t.Errorf("a stranger in the range: %v", wrong)
			}
			if err := dial(place{space: m.nodes[1].space}, nodeAddress(1), "1790", 5*time.Second); err != nil {
				m.t.Errorf("a range that holds a node cuts it off: %v", err)
			}
		}
	}
}
