//go:build lab

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/network"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// resident is a container of the matrix, and all ways to it.
type resident struct {
	space   lan.Space
	node    int // of the fabric; -1: a machine of the company
	project string
	open    bool
	l2      bool
	ways    []way
}

// way is an address by which a resident is asked, and its two ports: the one that a permit may name, and another.
type way struct {
	name    string
	address netip.Addr
	ports   [2]uint16
	echo    bool
}

func (r *resident) String() string {
	if r.node < 0 {
		return "outside"
	}
	name := fmt.Sprintf("%q on n%d", r.project, r.node+1)
	if r.l2 {
		name += " (l2)"
	}
	return name
}

func direct(name, address string) way {
	return way{name, netip.MustParseAddr(address), [2]uint16{8080, 9090}, true}
}

// matrix is a fabric of residents.
type matrix struct {
	*town
	residents []*resident
	outside   *resident
	extra     []string // settings of each plugin
	born      func(*resident)
}

const sixOutside = "fd00:10:98::99"

// layMatrix is a fabric with a machine of the company, to which the routes to containers are told by hand.
func layMatrix(t *testing.T, extra ...string) *matrix {
	t.Helper()
	m := &matrix{town: &town{mesh: layFabric(t, 1, 1, extra...)}, extra: extra}
	space := m.lan.Node("outside", "10.98.0.99/24")
	space.Must("ip -6 addr add " + sixOutside + "/64 dev eth0 nodad")
	m.outside = &resident{space: space, node: -1, ways: []way{direct("direct", "10.98.0.99"), direct("IPv6", sixOutside)}}
	answers(t, space)
	for i := range m.nodes {
		m.prepare(i)
	}
	return m
}

// prepare makes a node ready for its plugin.
func (m *matrix) prepare(i int) {
	m.t.Helper()
	r := m.nodes[i]
	dockersChains(r.space)
	r.space.Set("net/ipv6/conf/eth0/keep_addr_on_down", "1")
	r.space.Must("ip -6 addr add " + nodeSix(i+1) + "/64 dev eth0 nodad")
	folder := filepath.Join(r.folder, "boxes")
	if err := os.Mkdir(folder, 0o700); err != nil {
		m.t.Fatal(err)
	}
	r.extra = append(r.extra, "ROLLING_SANDBOXES="+folder)
}

func wardNetwork(j int) string       { return fmt.Sprintf("net%d0000000000000000000000", j) }
func wardAddress(j, host int) string { return fmt.Sprintf("10.210.%d.%d", j, host) }

func sixOf(address string) string {
	a := netip.MustParseAddr(address).As4()
	return fmt.Sprintf("%s%x:%x", sixPrefix, int(a[0])<<8|int(a[1]), int(a[2])<<8|int(a[3]))
}

// settle starts a node's plugin, with a network and a container of every project, each the one backend of a service, and
// for two projects another container with published ports: those never take the fast path.
func (m *matrix) settle(i int) {
	m.t.Helper()
	r := m.nodes[i]
	r.start()
	for j, ward := range wards {
		options := map[string]any{"rolling.ipv6": sixPrefix + "/96"}
		for k, v := range ward.options {
			options[k] = v
		}
		r.must("CreateNetwork", network.CreateNetworkRequest{NetworkID: wardNetwork(j), Options: map[string]any{"com.docker.network.generic": options},
			IPv4Data: []*network.IPAMData{{AddressSpace: "local", Pool: fmt.Sprintf("10.210.%d.0/24", j), Gateway: fmt.Sprintf("169.254.1.%d/32", j+1)}}}, nil)
		p := m.move(i, j, 10*i+j+1, wardAddress(j, i+1))
		vip := wardAddress(j, 91+i)
		m.outside.space.Must("ip route add " + vip + "/32 via " + nodeAddress(i+1))
		p.ways = append(p.ways, way{"VIP", netip.MustParseAddr(vip), [2]uint16{8080, 9090}, false})
		if ward.project != "orders" && ward.project != "payments" {
			continue
		}
		id := 100 + 10*i + j
		shown := m.move(i, j, id, wardAddress(j, 11+i))
		one, two := 18080+j, 19090+j
		if err := r.call("ProgramExternalConnectivity", network.ProgramExternalConnectivityRequest{NetworkID: wardNetwork(j), EndpointID: endpointID(id),
			Options: map[string]any{"com.docker.network.portmap": []map[string]any{binding(6, one, 8080), binding(17, one, 8080), binding(6, two, 9090), binding(17, two, 9090),
				binding(17, one-8080+spyPort, spyPort)}}}, nil); err != nil {
			m.t.Fatal(err)
		}
		shown.ways = []way{{"published", netip.MustParseAddr(nodeAddress(i + 1)), [2]uint16{uint16(one), uint16(two)}, false}}
	}
}

// services tells a node's engine of every project's virtual addresses: one a node, with the container there.
func (m *matrix) services(i, nodes int) {
	for j := range wards {
		var all []string
		for k := range nodes {
			all = append(all, fmt.Sprintf(`"web%d":{"VIP":%q,"Tasks":[{"EndpointID":%q,"EndpointIP":%q}]}`, k, wardAddress(j, 91+k), endpointID(10*k+j+1), wardAddress(j, k+1)))
		}
		m.nodes[i].engine.serve(wardNetwork(j), "{"+strings.Join(all, ",")+"}")
	}
}

// move is a container of a project that answers before it has its link.
func (m *matrix) move(i, j, id int, address string) *resident {
	m.t.Helper()
	r := m.nodes[i]
	box := lan.New(m.t, fmt.Sprintf("c%d", id))
	if err := os.Symlink(namespace.Path(box.Name), filepath.Join(r.folder, "boxes", box.Name)); err != nil {
		m.t.Fatal(err)
	}
	answers(m.t, box)
	p := &resident{space: box, node: i, project: wards[j].project, open: wards[j].project == "public"}
	if m.born != nil {
		m.born(p)
	}
	six := r.containerOf(endpointID(id), wardNetwork(j), address, box, 0)
	m.outside.space.Must("ip route add " + address + "/32 via " + nodeAddress(i+1))
	m.outside.space.Must("ip -6 route add " + six + "/128 via " + nodeSix(i+1))
	p.ways = []way{direct("direct", address), direct("IPv6", six)}
	m.residents = append(m.residents, p)
	return p
}

// known waits until each node knows whose all other nodes' addresses are, virtual ones too.
func (m *matrix) known(far int) {
	m.t.Helper()
	lan.Eventually(m.t, 40*time.Second, "all nodes know whose the others' addresses are", func() error {
		for i, r := range m.nodes {
			if s := r.state(); len(s.Routes) != far || len(s.Isolation.Unknown) != 0 || len(s.Virtual.Announce) != len(wards) {
				return fmt.Errorf("n%d: %d routes (%v), want %d, unknown %v, announced %v", i+1, len(s.Routes), s.Routes, far, s.Isolation.Unknown, s.Virtual.Announce)
			}
		}
		return nil
	})
}

// questions are all cells from one resident.
func (m *matrix) questions(from *resident, allowed func(from, to *resident, door string) bool) (all []*question) {
	for _, to := range append(m.residents, m.outside) {
		for _, w := range to.ways {
			if from == to && w.name != "VIP" || from.l2 && w.address.Is6() {
				continue
			}
			for k, door := range []string{"8080", "9090"} {
				for _, udp := range []bool{false, true} {
					if udp && k > 0 {
						continue
					}
					all = append(all, &question{what: fmt.Sprintf("%s to %s, %s, port %s, udp %t", from, to, w.name, door, udp),
						at: netip.AddrPortFrom(w.address, w.ports[k]), udp: udp, want: from == to || allowed(from, to, door)})
				}
			}
			if w.echo {
				all = append(all, &question{what: fmt.Sprintf("%s to %s, %s, an echo", from, to, w.name), at: netip.AddrPortFrom(w.address, 0), want: allowed(from, to, "")})
			}
		}
	}
	return all
}

// expect probes every cell at the same time; a door is a port that permits may name, or none for ICMP.
func (m *matrix) expect(when string, allowed func(from, to *resident, door string) bool) {
	m.t.Helper()
	cells, wrong := m.probe(allowed)
	m.t.Logf("%s: %d cells", when, cells)
	for _, w := range wrong[:min(len(wrong), 20)] {
		m.t.Errorf("%s: %s", when, w)
	}
	if len(wrong) > 20 {
		m.t.Errorf("%s: %d more", when, len(wrong)-20)
	}
}

// serves waits until everything that is allowed answers: a virtual address is announced beside others only when they are
// known. What is not allowed must not answer meanwhile.
func (m *matrix) serves(allowed func(from, to *resident, door string) bool) {
	m.t.Helper()
	lan.Eventually(m.t, 25*time.Second, "all that is allowed answers", func() error {
		_, wrong := m.probe(allowed)
		for _, w := range wrong {
			if !strings.Contains(w, "answered false, want true") {
				m.t.Fatal(w)
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d cells do not: %s", len(wrong), wrong[0])
		}
		return nil
	})
}

// probe asks every cell, and tells how many there are and what was wrong.
func (m *matrix) probe(allowed func(from, to *resident, door string) bool) (cells int, wrong []string) {
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, from := range append(m.residents, m.outside) {
		group.Go(func() {
			all := m.questions(from, allowed)
			bad := ask(from.space, all)
			mu.Lock()
			defer mu.Unlock()
			cells, wrong = cells+len(all), append(wrong, bad...)
		})
	}
	group.Wait()
	return cells, wrong
}

// base is what is allowed without any label.
func base(from, to *resident, _ string) bool {
	return to.node < 0 || to.open || to.project == "" || from.project == to.project || from.project == ""
}

// stages walks through all that a label can say between two projects.
func (m *matrix) stages() {
	m.t.Helper()
	asks := func(from, to *resident) bool { return from.project == "payments" && to.project == "orders" }
	with := func(more func(from, to *resident, door string) bool) func(from, to *resident, door string) bool {
		return func(from, to *resident, door string) bool { return base(from, to, door) || more(from, to, door) }
	}
	m.serves(base)
	m.expect("without a policy", base)
	m.lay(map[string]string{"orders": "payments:8080"})
	m.expect("with a port open", with(func(from, to *resident, door string) bool { return asks(from, to) && door == "8080" }))
	m.lay(map[string]string{"orders": "payments"})
	m.expect("with all open one way", with(func(from, to *resident, _ string) bool { return asks(from, to) }))
	m.lay(map[string]string{"orders": "payments", "payments": "orders"})
	both := with(func(from, to *resident, _ string) bool { return asks(from, to) || asks(to, from) })
	m.expect("with all open both ways", both)
	m.write([]byte("{half a docu"))
	m.lookFor("an unreadable policy is said", func(s page) bool { return strings.Contains(s.Isolation.Trouble, "stays in force") })
	m.expect("while an unreadable one is there", both)
	m.lay(nil)
	m.expect("closed again", base)
	m.lookFor("what was denied is counted", func(s page) bool { return s.Isolation.Denied > 0 })
}

// Every project asks every other: on its own node, on another one and from outside, by IPv4, IPv6, a virtual address and a
// published port, by TCP, UDP and ICMP, on each way that packets may take, for each thing that a label may say.
func TestTheMatrixOfRoutedNetworks(t *testing.T) {
	paths(t, func(t *testing.T, path string) {
		m := layMatrix(t, "ROLLING_FASTPATH="+path)
		for i := range m.nodes {
			m.services(i, 2)
			m.settle(i)
		}
		m.known(3*len(wards) + 2*2) // both families of each, a virtual address each, and two with ports
		m.stages()
		m.moments(true)
	})
}
