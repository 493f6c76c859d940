package doctor_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
	"github.com/rolling-swarm/rolling/manager/doctor"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// sound is a Swarm of three nodes without a fault, one container on each.
func sound() *doctor.Picture {
	p := &doctor.Picture{Networks: []doctor.Network{{Name: "app", Subnet: netip.MustParsePrefix("10.210.3.0/24")}}}
	for i := 1; i <= 3; i++ {
		p.Addresses = append(p.Addresses, doctor.Address{Address: container(i), Node: fmt.Sprintf("n%d", i), Owner: fmt.Sprintf("orders/test/web.%d", i)})
	}
	for i := 1; i <= 3; i++ {
		d := &wire.Driver{
			Ready: true, Settled: true, Self: node(i), MTU: 1500, Uplinks: []string{"eth0"}, Pools: []netip.Prefix{p.Networks[0].Subnet}, Held: 2,
			Endpoints: []wire.Endpoint{{Address: container(i), MTU: 1500}}, Firewall: &wire.Firewall{Policy: "DROP", Open: true},
		}
		n := doctor.Node{Name: fmt.Sprintf("n%d", i), Address: node(i).String(), State: "ready", Availability: "active", Asked: noon, Answered: noon.Add(100 * time.Millisecond)}
		for j := 1; j <= 3; j++ {
			r := wire.Route{Prefix: netip.PrefixFrom(container(j), 32), NextHop: node(j), Origin: wire.Learnt}
			if i == j {
				r.Origin = wire.Local
			} else {
				d.Neighbours = append(d.Neighbours, wire.Neighbour{Address: node(j), State: wire.Established})
			}
			n.Routes = append(n.Routes, r)
		}
		d.Neighbours = append(d.Neighbours, wire.Neighbour{Address: netip.MustParseAddr("10.99.0.1"), Router: true, State: wire.Established})
		n.Facts = wire.Network{
			Now: noon.Add(50 * time.Millisecond), Driver: d,
			Host: wire.Host{Forwarding: true, Links: []wire.Link{
				{Name: "lo", MTU: 65536, Up: true, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}},
				{Name: "eth0", MTU: 1500, Up: true, Addresses: []netip.Prefix{netip.PrefixFrom(node(i), 24)}, Source: 1},
				{Name: "docker0", MTU: 1500, Addresses: []netip.Prefix{netip.MustParsePrefix("172.17.0.1/16")}},
			}, Routes: []wire.HostRoute{
				{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.99.0.1"), Link: "eth0"},
				{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("10.99.0.2"), Link: "eth0"},
				{Prefix: netip.MustParsePrefix("10.99.0.0/24"), Link: "eth0"},
			}},
			Plugins: []wire.Plugin{{Alias: "rolling/ipam:latest", Build: "i1", Ready: true}, {Alias: "rolling/net:latest", Build: "b1", Ready: true}},
		}
		p.Nodes = append(p.Nodes, n)
	}
	return p
}

func container(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("10.210.3.%d", i)) }
func node(i int) netip.Addr      { return netip.MustParseAddr(fmt.Sprintf("10.99.0.2%d", i)) }

func TestExamineFindsEachFaultOnItsNodeAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(p *doctor.Picture, n *doctor.Node, d *wire.Driver) // n2's
		want  []string                                                // "severity node check: words of the text"
	}{
		{"a sound Swarm", func(*doctor.Picture, *doctor.Node, *wire.Driver) {}, nil},
		{"a node without power", func(p *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.State, n.Silence, n.Facts, n.Routes = "down", "no line", wire.Network{}, nil
			p.Nodes[0].Facts.Driver.Neighbours[0].State = "active"
			p.Nodes[2].Facts.Driver.Neighbours[1].State = "active"
		}, []string{"wrong n2 agent: Swarm calls the node down"}},
		{"an agent without a line", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Silence = "its agent has no line" },
			[]string{"wrong n2 agent: tells nothing: its agent has no line"}},
		{"a node that was drained", func(p *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Availability, n.Silence = "drain", "its agent has no line"
			p.Addresses = p.Addresses[:1]
		}, []string{"notice n2 agent: the node is drained"}},
		{"an agent that cannot read", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Facts.Host = wire.Host{Fault: "list links: no"}
		}, []string{"wrong n2 agent: could not read all: list links: no"}},
		{"a plugin of another build", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Facts.Plugins[1].Build = "b0" },
			[]string{"wrong n2 plugin: rolling/net:latest is of build b0, on most nodes of b1"}},
		{"a plugin that is not as wanted", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Facts.Plugins[0].Ready, n.Facts.Plugins[0].Problem = false, "no space"
		}, []string{"wrong n2 plugin: rolling/ipam:latest is not as it should be: no space"}},
		{"a plugin that is missing", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Facts.Plugins = n.Facts.Plugins[1:] },
			[]string{"wrong n2 plugin: rolling/ipam:latest is missing"}},
		{"a network plugin that does not answer", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Facts.Driver, n.Facts.Silence = nil, "connection refused"
		}, []string{"wrong n2 plugin: rolling/net does not answer: connection refused"}},
		{"a network plugin that serves nothing", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) {
			d.Ready, d.Refused = false, "a newer one wrote it"
		},
			[]string{"wrong n2 plugin: serves no call: a newer one wrote it"}},
		{"a step that fails", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) {
			d.Problems = map[string]string{"links": "no veth"}
		}, []string{`wrong n2 plugin: cannot do its step "links": no veth`}},
		{"a plugin that has just started", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Settled = false },
			[]string{"notice n2 plugin: does not know all of the fabric's routes yet"}},
		{"a mark that was left", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Drained = true },
			[]string{"wrong n2 drain: marked for a shutdown, though the node is active"}},
		{"no forwarding", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Facts.Host.Forwarding = false },
			[]string{"wrong n2 forwarding: does not forward"}},
		{"a closed firewall", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Firewall.Open = false },
			[]string{"wrong n2 firewall: policy DROP"}},
		{"a closed firewall where no container is", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) {
			d.Firewall.Open, d.Pools = false, nil
		}, nil},
		{"an open firewall without our rules", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) {
			d.Firewall = &wire.Firewall{Policy: "ACCEPT"}
		}, nil},
		{"somebody's rule for all", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) {
			d.Firewall.Before = []string{"-A FORWARD -j REJECT --reject-with icmp-port-unreachable"}
		}, []string{"wrong n2 firewall: met before Rolling's: -A FORWARD -j REJECT"}},
		{"somebody's rule for some", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) {
			d.Firewall.Before = []string{"-A DOCKER-USER -s 192.0.2.0/24 -j DROP"}
		}, []string{"notice n2 firewall: -s 192.0.2.0/24"}},
		{"a strict source check with two ways in", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Uplinks = []string{"eth0", "eth1"} },
			[]string{"wrong n2 source: eth0 drops packets"}},
		{"a smaller MTU", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.MTU, d.Endpoints[0].MTU = 1400, 1400 },
			[]string{"wrong n2 mtu: MTU 1400, on most nodes it is 1500"}},
		{"a smaller MTU than containers have", func(p *doctor.Picture, _ *doctor.Node, _ *wire.Driver) {
			for _, n := range p.Nodes {
				n.Facts.Driver.MTU = 1450
			}
			p.Nodes[0].Facts.Driver.Endpoints, p.Nodes[2].Facts.Driver.Endpoints = nil, nil
		}, []string{"wrong n2 mtu: 1 containers have a larger MTU than the uplink's 1450"}},
		{"a network that asks for too much", func(p *doctor.Picture, _ *doctor.Node, _ *wire.Driver) { p.Networks[0].MTU = 9000 },
			[]string{"wrong n1 mtu: network app asks for MTU 9000", "wrong n2 mtu: network app", "wrong n3 mtu: network app"}},
		{"Docker's own bridge in the pool", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Facts.Host.Links[2].Addresses[0] = netip.MustParsePrefix("10.210.0.1/16")
		}, []string{"wrong n2 overlap: 10.210.3.0/24 of network app overlaps 10.210.0.0/16, the network of the node's interface docker0"}},
		{"a connected network in the pool", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Facts.Host.Routes = append(n.Facts.Host.Routes, wire.HostRoute{Prefix: netip.MustParsePrefix("10.210.3.64/26"), Link: "tun0"})
		}, []string{"wrong n2 overlap: overlaps 10.210.3.64/26, to which the node has a route of its own on tun0"}},
		{"a route to a container by a router", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Facts.Host.Routes = append(n.Facts.Host.Routes, wire.HostRoute{Prefix: netip.MustParsePrefix("10.210.3.7/32"), Via: node(9), Link: "eth0"})
		}, []string{"wrong n2 overlap: 10.210.3.7/32"}},
		{"a session with a node", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Neighbours[0].State = "active" },
			[]string{"wrong n2 bgp: no BGP session with n1 at 10.99.0.21 (active)"}},
		{"a session with a router", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Neighbours[2].State = "idle" },
			[]string{"wrong n2 bgp: with the router 10.99.0.1 (idle)"}},
		{"no neighbours", func(_ *doctor.Picture, _ *doctor.Node, d *wire.Driver) { d.Neighbours = nil },
			[]string{"wrong n2 bgp: knows no BGP neighbour"}},
		{"an address that is not announced", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) {
			n.Routes = append(n.Routes[:1:1], n.Routes[2])
		},
			[]string{"wrong n2 routes: does not announce 1 addresses of its own containers: 10.210.3.2 (orders/test/web.2 on n2)"}},
		{"a route that is missing", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Routes = n.Routes[:2] },
			[]string{"wrong n2 routes: no route to 1 of 2 addresses on other nodes: 10.210.3.3 (orders/test/web.3 on n3)"}},
		{"a container that is not healthy yet", func(p *doctor.Picture, n *doctor.Node, d *wire.Driver) {
			d.Endpoints[0].Awaited = true
			n.Routes = append(n.Routes[:1:1], n.Routes[2])
			p.Nodes[0].Routes = p.Nodes[0].Routes[:1:1]
			p.Nodes[0].Routes = append(p.Nodes[0].Routes, n.Routes[1])
		}, []string{"notice n2 routes: 1 containers are not healthy yet"}},
		{"a clock that is behind", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Facts.Now = noon.Add(-3 * time.Second) },
			[]string{"wrong n2 clock: -3.1s away"}},
		{"a clock behind a slow line", func(_ *doctor.Picture, n *doctor.Node, _ *wire.Driver) { n.Answered = noon.Add(6 * time.Second) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := sound()
			c.spoil(p, &p.Nodes[1], p.Nodes[1].Facts.Driver)
			found := doctor.Examine(*p)
			var got []string
			for _, f := range found {
				got = append(got, fmt.Sprintf("%s %s %s: %s", f.Severity, f.Node, f.Check, f.Text))
				if f.Remedy == "" {
					t.Errorf("%s: no word on what to do", f.Text)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("found %d:\n%s\nwant %d: %v", len(got), strings.Join(got, "\n"), len(c.want), c.want)
			}
			for i, want := range c.want {
				head, words, _ := strings.Cut(want, ": ")
				if !strings.HasPrefix(got[i], head+": ") || !strings.Contains(got[i], words) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestFaultsComeBeforeNotices(t *testing.T) {
	p := sound()
	p.Nodes[0].Facts.Driver.Settled = false
	p.Nodes[2].Facts.Host.Forwarding = false
	found := doctor.Examine(*p)
	if len(found) != 2 || found[0].Severity != doctor.Wrong || found[1].Severity != doctor.Notice {
		t.Errorf("got %+v", found)
	}
}

func TestCoverageCountsWhatTasksImply(t *testing.T) {
	p := sound()
	p.Nodes[0].Facts.Driver.Held = 1
	p.Nodes[0].Facts.Driver.Neighbours[0].State = "active"
	p.Nodes[1].Facts.Driver.Endpoints[0].Awaited = true // nobody is to know it yet
	p.Nodes[2].Facts.Driver = nil                       // nor what is there
	want := "[{n1 1 1 0 1 3 2 false} {n2 0 0 1 2 3 3 false}]"
	if got := fmt.Sprint(doctor.Cover(*p)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
