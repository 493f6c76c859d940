//go:build lab && long

package fastpath

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/kernel"
)

// crowd is what a node knows of so many containers, half of them its own, of twenty projects; the two that talk are of one.
func crowd(n int, here, there box) isolation.Book {
	b := isolation.Book{Here: map[netip.Addr]isolation.Class{}, Far: map[netip.Addr]isolation.Number{}, Outside: true,
		Pools: []netip.Prefix{netip.MustParsePrefix("10.210.0.0/16"), netip.MustParsePrefix("10.211.0.0/16")}}
	var d permits.Document
	for i := range n - 2 {
		c := isolation.Class{Project: fmt.Sprintf("p%02d", i%20)}
		if d.Projects = append(d.Projects, c.Project); i%2 == 0 {
			b.Here[netip.AddrFrom4([4]byte{10, 211, byte(i >> 8), byte(i)})] = c
		} else {
			b.Far[netip.AddrFrom4([4]byte{10, 211, byte(i >> 8), byte(i)})] = c.Number()
		}
	}
	own := isolation.Class{Project: "p19"} // the last of all that are asked for
	d.Projects = append(d.Projects, own.Project)
	b.Here[netip.MustParseAddr(here.addr)], b.Far[netip.MustParseAddr(there.addr)] = own, own.Number()
	b.Policy = isolation.NewPolicy(d.Seal(), nil)
	return b
}

// BenchmarkIsolation measures what it costs to keep projects apart: the same connection between two nodes without walls and
// with those of 10 and of 1,000 containers, in turns in one run. A line's ratios are medians of the rounds' ratios to the
// same path without.
func BenchmarkIsolation(b *testing.B) {
	job := pair.Job{Rounds: 50, Warmup: 5, Chunk: 32 << 20, Pings: 200, Congestion: "cubic"}
	for _, w := range []Wish{Off, BPF} {
		for _, n := range []int{0, 10, 1000} {
			one, two, a, other, _ := site(b, w)
			dockers(one)
			dockers(two)
			for _, x := range []struct {
				h           *host
				here, there box
			}{{one, a, other}, {two, other, a}} {
				if n > 0 {
					x.h.space.Do(func() error {
						wall, err := kernel.OpenWall(kernel.NewGate("/usr/sbin/iptables-nft", "/usr/sbin/iptables-legacy"))
						if err != nil {
							return err
						}
						defer wall.Close()
						return wall.Set(crowd(n, x.here, x.there).Wall(isolation.Four, nil).Eased(), isolation.Wall{}) // as it stands but for moments
					})
				}
			}
			at := other.addr + ":7999"
			job.Modes = append(job.Modes, pair.Mode{Name: fmt.Sprintf("%s-%d", one.path.Name(), n), Client: namespace.Path(a.Name), Server: namespace.Path(other.Name), Listen: at, Dial: at})
		}
	}
	r, err := pair.Run(b.Context(), job)
	if err != nil {
		b.Fatal(err)
	}
	for i, s := range r.Series {
		without := r.Series[i/3*3]
		b.Run(s.Name, func(b *testing.B) {
			var through, trip []float64
			for j := range s.Gbit {
				through, trip = append(through, s.Gbit[j]/without.Gbit[j]), append(trip, s.P50[j]/without.P50[j])
			}
			b.ReportMetric(0, "ns/op") // one op is nothing
			b.ReportMetric(figure.Quantile(s.Gbit, 0.5), "Gbit/s")
			b.ReportMetric(figure.Quantile(without.Gbit, 0.5), "off-Gbit/s")
			b.ReportMetric(figure.Quantile(through, 0.5), "÷off")
			b.ReportMetric(figure.Quantile(trip, 0.5), "rtt÷off")
		})
	}
}

// BenchmarkPolicy is a label's way on a node with 1,000 containers of twenty projects: from the document to the last set,
// opened and closed in turns, and the connections ended that are not allowed any more. What a look at the file takes comes on top, 50 ms at most.
func BenchmarkPolicy(b *testing.B) {
	one, _, a, other, _ := site(b, Off)
	one.space.Must("iptables-nft -N DOCKER-USER")
	book := crowd(1000, a, other)
	var wall *kernel.Wall
	one.space.Do(func() (err error) {
		wall, err = kernel.OpenWall(kernel.NewGate("/usr/sbin/iptables-nft", "/usr/sbin/iptables-legacy"))
		return err
	})
	defer wall.Close()
	set := func(label string) {
		one.space.Do(func() error {
			d := permits.Document{}
			for i := range 20 {
				d.Projects = append(d.Projects, fmt.Sprintf("p%02d", i))
			}
			p, err := permits.ParseAllowFrom(label, "p07", "p07_web")
			d.Permits = p
			book.Policy = isolation.NewPolicy(d.Seal(), nil)
			if err != nil {
				return err
			}
			if err := wall.Set(book.Wall(isolation.Four, nil).Eased(), isolation.Wall{}); err != nil {
				return err
			}
			_, err = wall.Cut(func(from, to netip.Addr, protocol permits.Protocol, port uint16) bool {
				return book.Judge(from, to, protocol, port).Allowed
			})
			return err
		})
	}
	b.Run("first", func(b *testing.B) {
		for range b.N {
			set("")
		}
	})
	b.Run("change", func(b *testing.B) {
		for i := range b.N {
			set([]string{"p01,p02:8080,p03:53/udp", ""}[i%2])
		}
	})
	b.Run("whole", func(b *testing.B) {
		for range b.N {
			wall.Doubt()
			set("")
		}
	})
}
