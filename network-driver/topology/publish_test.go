package topology

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestWhereAPublishedPortLeads(t *testing.T) {
	four := Endpoint{ID: "a10000000000000", Address: netip.MustParseAddr("10.210.3.7")}
	both := four
	both.Address6 = netip.MustParseAddr("fd00:10:210::ad2:307")
	web := func(at string) Publication {
		p := Publication{Proto: "tcp", HostPort: 8080, Port: 80}
		if at != "" {
			p.HostIP = netip.MustParseAddr(at)
		}
		return p
	}
	for _, c := range []struct {
		name string
		e    Endpoint
		p    Publication
		want string
	}{
		{"all addresses of the node, a container with IPv4 alone", four, web(""), "8080/tcp to 10.210.3.7"},
		{"all addresses of the node, a container with both", both, web(""), "8080/tcp to 10.210.3.7, 8080/tcp to fd00:10:210::ad2:307"},
		{"all IPv4 addresses", both, web("0.0.0.0"), "0.0.0.0:8080/tcp to 10.210.3.7"},
		{"all IPv6 addresses", both, web("::"), "[::]:8080/tcp to fd00:10:210::ad2:307"},
		{"one IPv4 address", both, web("10.98.0.21"), "10.98.0.21:8080/tcp to 10.210.3.7"},
		{"one IPv6 address", both, web("fd00::21"), "[fd00::21]:8080/tcp to fd00:10:210::ad2:307"},
		{"the node alone", both, web("127.0.0.1"), "127.0.0.1:8080/tcp to 10.210.3.7"},
	} {
		var got []string
		for _, w := range DoorwaysOf(c.e, []Publication{c.p}) {
			if w.Link != "rla1000000000" {
				t.Errorf("%s: by %s", c.name, w.Link)
			}
			got = append(got, fmt.Sprintf("%s to %s", w.Publication, w.To))
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %s; want %s", c.name, text, c.want)
		}
	}
}

func TestWhatCannotBePublishedIsRefusedWithAReason(t *testing.T) {
	s := NewState()
	s.Networks["n"] = Network{ID: "n", Pool: netip.MustParsePrefix("10.210.3.0/24"), Options: Options{Project: "orders"}}
	s.Networks["l"] = Network{ID: "l", Pool: netip.MustParsePrefix("10.5.0.0/24"), Options: Options{Parent: "eth1"}}
	s.Networks["m"] = Network{ID: "m", Pool: netip.MustParsePrefix("10.5.0.0/24"), Options: Options{Parent: "eth1", Attach: Macvlan}}
	on := func(at string) []Publication {
		p := Publication{Proto: "tcp", HostPort: 8080, Port: 80}
		if at != "" {
			p.HostIP = netip.MustParseAddr(at)
		}
		return []Publication{p}
	}
	holder := func(id EndpointID, published []Publication) {
		s.Endpoints[id] = Endpoint{ID: id, Network: "n", Address: netip.MustParseAddr("10.210.3.7"), Phase: Joined, Published: published}
	}
	asker := Endpoint{ID: "b20000000000000", Network: "n", Address: netip.MustParseAddr("10.210.3.8")}
	onLAN, riding := asker, asker
	onLAN.Network, riding.Network = "l", "m"
	for _, c := range []struct {
		name   string
		e      Endpoint
		has    []Publication
		wants  []Publication
		refuse string
	}{
		{"a port that nobody has", asker, nil, on(""), ""},
		{"one that a container has", asker, on(""), on(""), "it leads to 10.210.3.7 already, the container of endpoint a10000000000 of project orders"},
		{"one that a container has on another address", asker, on("10.98.0.21"), on("10.98.0.22"), ""},
		{"one that a container has on some address, on all", asker, on("10.98.0.21"), on(""), "port 8080/tcp of the node is taken"},
		{"one that a container has on all, on some address", asker, on("0.0.0.0"), on("10.98.0.21"), "port 10.98.0.21:8080/tcp of the node is taken"},
		{"SCTP", asker, nil, []Publication{{Proto: "protocol 132", HostPort: 8080, Port: 80}}, "only tcp and udp are published"},
		{"no port of the node", asker, nil, []Publication{{Proto: "tcp", Port: 80}}, "name the host's port"},
		{"::1", asker, nil, on("::1"), "the kernel translates nothing that is asked of ::1"},
		{"a link-local address", asker, nil, on("fe80::1"), "no link-local or mapped address is published"},
		{"IPv6 for a container without", asker, nil, on("::"), "the container has no IPv6 address: give its network one (rolling.ipv6)"},
		{"a bridge on the physical network", onLAN, nil, on(""), "is of mode l2: its containers have addresses of the physical network, by which they are reached at their own ports"},
		{"a macvlan on the physical network", riding, nil, on(""), "is of mode l2"},
	} {
		holder("a10000000000000", c.has)
		err := s.CanPublish(c.e, c.wants)
		if (err == nil) != (c.refuse == "") || err != nil && !strings.Contains(err.Error(), c.refuse) {
			t.Errorf("%s: %v; want %q", c.name, err, c.refuse)
		}
	}
}
