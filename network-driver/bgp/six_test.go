package bgp

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// sixOf is the one IPv6 address that a speaker of these tests has.
func sixOf(i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd00:10:210::ad2:%x", i))
}

func TestIPv6GoesOverTheSessionsOfIPv4(t *testing.T) {
	port := freePort(t)
	// Two managers, who tell each other only what is their own, and two nodes. The last has a link-local address alone.
	stands := map[int]topology.Uplink{
		1: {Six: netip.MustParseAddr("fd00:10:98::1"), MTU: 1500}, 2: {Six: netip.MustParseAddr("fd00:10:98::2"), MTU: 1500},
		3: {Six: netip.MustParseAddr("fd00:10:98::3"), MTU: 1400}, 4: {Six: netip.MustParseAddr("fe80::4"), MTU: 1500},
	}
	managers := []netip.Addr{loop(1), loop(2)}
	var voices []*voice
	for i := 1; i <= len(stands); i++ {
		v := speak(t, loop(i), port, nil)
		m := topology.Membership{Self: loop(i), Manager: i <= 2, Managers: managers}
		if m.Manager {
			m.Nodes = []netip.Addr{loop(1), loop(2), loop(3), loop(4)}
		}
		v.speaker.Stand(stands[i])
		v.speaker.Announce([]fabric.Announcement{{Address: netip.AddrFrom4([4]byte{10, 210, 0, byte(i)})}, {Address: sixOf(i)}})
		v.speaker.Meet(m.Self, topology.Neighbours(m, nil, 64512, port))
		voices = append(voices, v)
	}
	hops := map[int]netip.Addr{4: netip.MustParseAddr("fe80::4").WithZone(loop(4).String())}
	for i := 1; i <= 3; i++ {
		hops[i] = stands[i].Six
	}
	eventually(t, 20*time.Second, func() error {
		for i, v := range voices {
			for j := 1; j <= len(stands); j++ {
				if got := v.via(sixOf(j)); j != i+1 && got != hops[j] {
					return fmt.Errorf("%d reaches %s by %s, want %s", i+1, sixOf(j), got, hops[j])
				}
			}
			if n := v.held(); n != 6 {
				return fmt.Errorf("%d holds %d routes, want 6: %v", i+1, n, v.learnt)
			}
		}
		return nil
	})
	for i, want := range []string{"map[127.0.77.3:1400]", "map[127.0.77.3:1400]", "map[127.0.77.1:1500 127.0.77.2:1500 127.0.77.4:1500]", "map[127.0.77.3:1400]"} {
		if got := fmt.Sprint(voices[i].speaker.Standing().MTUs); got != want {
			t.Errorf("%d knows of other MTUs: %s, want %s", i+1, got, want)
		}
	}

	voices[2].speaker.Stand(topology.Uplink{Six: netip.MustParseAddr("fd00:10:98::33"), MTU: 1500}) // it got another address
	eventually(t, 10*time.Second, func() error {
		if got := voices[3].via(sixOf(3)); got != netip.MustParseAddr("fd00:10:98::33") || len(voices[3].speaker.Standing().MTUs) > 0 {
			return fmt.Errorf("by %s, %v", got, voices[3].speaker.Standing().MTUs)
		}
		return nil
	})
	voices[2].speaker.Stand(topology.Uplink{MTU: 1500}) // and lost it
	eventually(t, 10*time.Second, func() error {
		if got := voices[3].via(sixOf(3)); got.IsValid() {
			return fmt.Errorf("still by %s", got)
		}
		return nil
	})
}

func TestPoolsOfTheSettingsBoundIPv6Too(t *testing.T) {
	port := freePort(t)
	four := netip.MustParsePrefix("10.210.0.0/16")
	for _, c := range []struct {
		name  string
		pools []netip.Prefix
		want  netip.Addr
	}{
		{"with none of IPv6", []netip.Prefix{four}, netip.Addr{}},
		{"with that of IPv6", []netip.Prefix{four, netip.MustParsePrefix("fd00:10:210::/96")}, netip.MustParseAddr("fd00:10:98::2")},
	} {
		t.Run(c.name, func(t *testing.T) {
			var voices []*voice
			for i := 1; i <= 2; i++ {
				v := speak(t, loop(i), port, func(s *Settings) { s.Pools = c.pools })
				m := topology.Membership{Self: loop(i), Manager: true, Managers: []netip.Addr{loop(1), loop(2)}}
				v.speaker.Stand(topology.Uplink{Six: netip.MustParseAddr(fmt.Sprintf("fd00:10:98::%d", i)), MTU: 1500})
				v.speaker.Announce([]fabric.Announcement{{Address: netip.AddrFrom4([4]byte{10, 210, 0, byte(i)})}, {Address: sixOf(i)}})
				v.speaker.Meet(m.Self, topology.Neighbours(m, nil, 64512, port))
				voices = append(voices, v)
			}
			eventually(t, 20*time.Second, func() error {
				if s := voices[0].sessions(t); len(s) != 1 || !s[0].Heard || !voices[0].via(netip.MustParseAddr("10.210.0.2")).IsValid() {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			if got := voices[0].via(sixOf(2)); got != c.want {
				t.Errorf("the route goes by %s, want %s", got, c.want)
			}
			if got := voices[0].speaker.Standing().Outside; (got > 0) == c.want.IsValid() {
				t.Errorf("%d addresses lie outside", got)
			}
			for _, v := range voices {
				v.stop()
			}
		})
	}
}
