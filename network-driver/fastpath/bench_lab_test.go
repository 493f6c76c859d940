//go:build lab && long

package fastpath

import (
	"fmt"
	"os"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
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

// dockers are rules like those that an engine lays: tracking of connections, and chains before the accept.
func dockers(h *host) {
	h.space.Must("iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE")
	h.space.Must("iptables-nft -F FORWARD")
	for _, chain := range []string{"DOCKER-USER", "ROLLING-FORWARD", "DOCKER-FORWARD"} {
		h.space.Must("iptables-nft -N " + chain)
	}
	for _, r := range []string{
		"FORWARD -j DOCKER-USER", "FORWARD -j DOCKER-FORWARD", "DOCKER-USER -j ROLLING-FORWARD",
		"ROLLING-FORWARD -s 10.210.0.0/16 -j ACCEPT", "ROLLING-FORWARD -d 10.210.0.0/16 -j ACCEPT",
	} {
		h.space.Must("iptables-nft -A " + r)
	}
}

// BenchmarkPath measures all paths in turns, in one run: the host's own, the ordinary one and both fast ones, between
// containers of two nodes and between two of one; first with an end on a CPU each, then with both on one. A line's ratios
// are medians of the rounds' ratios to the host.
func BenchmarkPath(b *testing.B) {
	job := pair.Job{Rounds: 50, Warmup: 5, Chunk: 32 << 20, Pings: 200, Congestion: "cubic"}
	mode := func(name string, from, to lan.Space, addr string) {
		at := addr + ":7999"
		job.Modes = append(job.Modes, pair.Mode{Name: name, Client: namespace.Path(from.Name), Server: namespace.Path(to.Name), Listen: at, Dial: at})
	}
	for _, w := range []Wish{Off, NFT, BPF} {
		one, two, a, other, c := site(b, w)
		dockers(one)
		dockers(two)
		if w == Off {
			mode("host", one.space, two.space, two.addr)
		}
		name := one.path.Name()
		mode(name, a.Space, other.Space, other.addr)
		mode(name+"-local", a.Space, c.Space, c.addr)
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
	b.ReportMetric(figure.Quantile(s.Gbit, 0.5), "Gbit/s")
	b.ReportMetric(figure.Quantile(host.Gbit, 0.5), "host-Gbit/s")
	b.ReportMetric(figure.Quantile(through, 0.5), "÷host")
	b.ReportMetric(figure.Quantile(through, 0.25), "÷host-q1")
	b.ReportMetric(figure.Quantile(through, 0.75), "÷host-q3")
	b.ReportMetric(figure.Quantile(s.P50, 0.5), "rtt-us")
	b.ReportMetric(figure.Quantile(trip, 0.5), "rtt÷host")
}
