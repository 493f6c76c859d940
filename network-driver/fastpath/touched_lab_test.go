//go:build lab

package fastpath

import (
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// TestOnlyTheLinkThatWasTouchedIsLookedAt and what comes of it is what a look at everything brings.
func TestOnlyTheLinkThatWasTouchedIsLookedAt(t *testing.T) {
	both(t, func(t *testing.T, w Wish) {
		one := newHost(t, lan.NewLAN(t), "n1", "10.98.0.21", w)
		a := one.run("a1", "10.210.3.7", 1500)
		one.set()
		checked := func(c box, when string) {
			t.Helper()
			before := one.packets(topology.WaySpoofed)
			c.Must("ip addr replace 10.55.0.1/32 dev lo")
			if out, err := c.Try("busybox ping -c 1 -W 1 -I 10.55.0.1 " + one.addr); err == nil || one.packets(topology.WaySpoofed) == before {
				t.Errorf("%s: a false source is answered or not counted: %s", when, out)
			}
			local := one.packets(topology.WayLocal)
			c.Must("busybox ping -c 2 -W 2 " + a.addr) // the first finds the neighbour by the ordinary way
			if one.packets(topology.WayLocal) == local {
				t.Errorf("%s: not carried: %v", when, one.path.Report())
			}
		}
		reports := func(devices, entries int, when string) {
			t.Helper()
			if r := one.path.Report(); r.Devices != devices || r.Entries != entries {
				t.Errorf("%s it sits on %d interfaces and knows %d addresses, want %d and %d", when, r.Devices, r.Entries, devices, entries)
			}
		}
		c := one.run("c3", "10.210.3.9", 1500)
		one.say(false, c.leg.Name)
		reports(3, 2, "with one more")
		checked(c, "a container that came")

		if err := one.wires.Unplug(c.leg.Name); err != nil {
			t.Fatal(err)
		}
		one.want.Legs = one.want.Legs[:1]
		c = one.run("c3", "10.210.3.9", 1500) // of the same name, and nobody said that the former went
		one.say(false, c.leg.Name)
		reports(3, 2, "with a link made anew")
		checked(c, "a link made anew")
		followed := picture(one)
		one.set()
		if whole := picture(one); whole != followed {
			t.Errorf("a look at everything changes something: %s", lan.Differences(followed, whole))
		}

		if w == NFT {
			one.space.Must("nft flush ruleset")
			one.say(false, c.leg.Name)
			reports(3, 2, "when what was not touched had gone")
		}
		if err := one.wires.Unplug(c.leg.Name); err != nil {
			t.Fatal(err)
		}
		one.want.Legs = one.want.Legs[:1]
		one.say(false, c.leg.Name)
		reports(2, 1, "with one less")
		followed = picture(one)
		one.set()
		if whole := picture(one); whole != followed {
			t.Errorf("a look at everything changes something: %s", lan.Differences(followed, whole))
		}
	})
}

// picture is what of the host the fast path makes.
func picture(h *host) string {
	var all []string
	for _, c := range []string{"nft -s list ruleset", "tc qdisc", "tc filter show dev eth0 ingress"} {
		all = append(all, h.space.Must(c))
	}
	return strings.Join(all, "\n")
}
