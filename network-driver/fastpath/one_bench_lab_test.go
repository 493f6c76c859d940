//go:build lab

package fastpath

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// BenchmarkOneContainer is what a container's coming and its going cost the fast path, beside so many others: when only
// its link is looked at, and when everything is.
func BenchmarkOneContainer(b *testing.B) {
	for _, w := range []Wish{BPF, NFT} {
		for _, others := range []int{10, 500} {
			h := newHost(b, lan.NewLAN(b), "n1", "10.98.0.21", w)
			for i := range others {
				h.plug(fmt.Sprintf("%04x", i), fmt.Sprintf("10.210.%d.%d", i/250, i%250+1))
			}
			h.set()
			for _, c := range []struct {
				name  string
				whole bool
			}{{"its link", false}, {"everything", true}} {
				b.Run(fmt.Sprintf("%s/%d others/%s", w, others, c.name), func(b *testing.B) {
					for range b.N {
						b.StopTimer()
						l := h.plug("ffff", "10.210.9.9")
						b.StartTimer()
						h.say(c.whole, l)
						b.StopTimer()
						if err := h.wires.Unplug(l); err != nil {
							b.Fatal(err)
						}
						h.want.Legs = h.want.Legs[:others]
						b.StartTimer()
						h.say(c.whole, l)
					}
				})
			}
		}
	}
}

// plug is a container without a namespace.
func (h *host) plug(id, addr string) (link string) {
	h.t.Helper()
	l := kerneltest.Link(id, addr)
	if err := h.wires.Plug(l); err != nil {
		h.t.Fatal(err)
	}
	h.want.Legs = append(h.want.Legs, topology.Leg{Name: l.Name, Address: l.Address, MAC: l.MAC, MTU: 1500, Group: topology.Everyone, Sources: []netip.Addr{l.Address}})
	return l.Name
}

// say is set, of one link or of everything.
func (h *host) say(whole bool, link string) {
	h.t.Helper()
	f := h.want
	if !whole {
		f.Touched = []string{link}
	}
	if err := h.path.Set(f); err != nil {
		h.t.Fatal(err)
	}
}
