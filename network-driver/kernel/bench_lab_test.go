//go:build lab && long

package kernel

import (
	"fmt"
	"net/netip"
	"os"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == pair.Command {
		if err := pair.End(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// attached is a node with one container on the LAN, behind rules like an engine's.
func attached(b *testing.B, net *lan.LAN, n int, attach topology.Attach) (host, box lan.Space, address string) {
	b.Helper()
	host = net.Node(fmt.Sprintf("%s%d", attach, n), fmt.Sprintf("10.98.0.%d/24", n))
	host.Set("net/ipv4/ip_forward", "1")
	for _, rule := range []string{"-P FORWARD DROP", "-N DOCKER-USER", "-A FORWARD -j DOCKER-USER", "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"} {
		host.Must("iptables-nft " + rule)
	}
	var g *Segments
	var w *Wires
	var p *Ports
	host.Do(func() (err error) {
		if g, err = OpenSegments(nodeRun(host)); err != nil {
			return err
		}
		if w, err = OpenWires(); err != nil {
			return err
		}
		p, err = OpenPorts()
		return err
	})
	b.Cleanup(func() { g.Close(); w.Close(); _ = p.Close() })
	address = fmt.Sprintf("10.98.0.%d", 100+n)
	a := netip.MustParseAddr(address)
	e := topology.EndpointID(fmt.Sprintf("%064x", a.As4()))
	l := topology.Link{
		Name: topology.HostEnd(e), Peer: topology.ContainerEnd(e), Endpoint: e, Network: "n", Pool: netip.MustParsePrefix("10.98.0.0/24"),
		Gateway: netip.MustParseAddr("10.98.0.1"), Address: a, MAC: topology.MACOf(a), MTU: 1500, Segment: topology.Segment{Parent: "eth0", Attach: attach},
	}
	segments := []topology.Segment{l.Segment}
	gate := NewGate(nft, legacy)
	host.Do(func() error { return gate.Bridge(segments) })
	if err := g.Set(segments); err != nil {
		b.Fatal(err)
	}
	if attach == topology.Bridged {
		if err := p.Set([]topology.Port{{Name: l.Name, MAC: l.MAC, Sources: []netip.Addr{a}}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Plug(l); err != nil {
		b.Fatal(err)
	}
	box = lan.New(b, "box")
	host.Must("ip link set " + l.Peer + " netns " + box.Name)
	for _, line := range []string{"ip link set " + l.Peer + " name eth0", "ip addr add " + address + "/24 dev eth0", "ip link set eth0 up"} {
		box.Must(line)
	}
	return host, box, address
}

// BenchmarkL2 measures containers of two nodes on a physical network beside the nodes themselves, in turns: bridged, with
// the check of sources and an engine's rules, and macvlan. Ratios are medians of the rounds'.
func BenchmarkL2(b *testing.B) {
	job := pair.Job{Rounds: 50, Warmup: 5, Chunk: 32 << 20, Pings: 200, Congestion: "cubic"}
	mode := func(name string, from, to lan.Space, addr string) {
		at := addr + ":7999"
		job.Modes = append(job.Modes, pair.Mode{Name: name, Client: namespace.Path(from.Name), Server: namespace.Path(to.Name), Listen: at, Dial: at})
	}
	net := lan.NewLAN(b)
	plain, other := net.Node("h1", "10.98.0.11/24"), net.Node("h2", "10.98.0.12/24")
	mode("host", plain, other, "10.98.0.12")
	for i, attach := range []topology.Attach{topology.Bridged, topology.Macvlan} {
		_, one, _ := attached(b, net, 21+2*i, attach)
		_, two, address := attached(b, net, 22+2*i, attach)
		mode(string(attach), one, two, address)
	}
	for cpus := 2; cpus > 0; cpus-- {
		job.OneCPU = cpus == 1
		r, err := pair.Run(b.Context(), job)
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range r.Series[1:] {
			b.Run(fmt.Sprintf("%s/%dcpu", s.Name, cpus), func(b *testing.B) { tell(b, s, r.Series[0]) })
		}
	}
}

func tell(b *testing.B, s, host pair.Series) {
	var through, trip []float64
	for i := range s.Gbit {
		through, trip = append(through, s.Gbit[i]/host.Gbit[i]), append(trip, s.P50[i]/host.P50[i])
	}
	b.ReportMetric(0, "ns/op") // one op is nothing
	for unit, v := range map[string]float64{
		"Gbit/s": figure.Quantile(s.Gbit, 0.5), "host-Gbit/s": figure.Quantile(host.Gbit, 0.5), "÷host": figure.Quantile(through, 0.5),
		"rtt-us": figure.Quantile(s.P50, 0.5), "rtt÷host": figure.Quantile(trip, 0.5),
	} {
		b.ReportMetric(v, unit)
	}
}
