package vip_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

func TestAVirtualAddressIsAnnouncedBesideOthersOnlyByWhoKnowsThem(t *testing.T) {
	alone := service("web", 99, task(1))
	both := service("web", 99, task(1), task(2))
	n2 := addr(202)
	place := func(all ...int) vip.Place {
		p := vip.Place{Endpoints: []vip.Endpoint{here(1, "")}, Far: far(all...), Nodes: map[netip.Addr]netip.Addr{}}
		for a := range p.Far {
			p.Nodes[a] = n2
		}
		return p
	}
	type look struct {
		name          string
		after         time.Duration
		web           vip.Service
		place         vip.Place
		silent, young bool
		want          bool
	}
	for _, run := range [][]look{
		{
			{"a node alone announces at once", 0, alone, place(), false, false, true},
			{"and goes on when another comes", time.Second, both, place(2, 99), false, false, true},
			{"but for a silent engine, which may end its containers", time.Second, both, place(2, 99), true, false, false},
			{"and again when it answers", time.Second, both, place(2, 99), false, false, true},
			{"a silent engine does not matter where nobody else serves", time.Second, alone, place(), true, false, true},
		},
		{
			{"a process that begins announces what the one before did", 0, both, place(2, 99), false, false, true},
		},
		{
			{"before there is a container here", 0, service("web", 99, task(2)), place(2, 99), false, false, false},
			{"one that comes beside another waits for gossip", 0, alone, place(99), false, false, false},
			{"which has not told of the other after its time", 4 * time.Second, alone, place(99), false, false, false},
			{"and has now, of an engine that has just begun", time.Second, both, place(2, 99), false, true, false},
			{"and of one that has not", time.Second, both, place(2, 99), false, false, true},
		},
		{
			{"before there is a container here", 0, service("web", 99, task(2)), place(2, 99), false, false, false},
			{"who never hears of the other", 0, alone, place(99), false, true, false},
			{"waits no longer than this", 20 * time.Second, alone, place(99), false, true, true},
		},
	} {
		var w vip.Patience
		now := time.Unix(1e9, 0)
		for _, c := range run {
			now = now.Add(c.after)
			plan := vip.Make([]vip.Service{c.web}, c.place, nil)
			got := slices.Collect(maps.Keys(w.Allow(plan, c.place, !c.silent, c.young, now)))
			if (len(got) == 1) != c.want {
				t.Errorf("%s: announced %v, want %t", c.name, got, c.want)
			}
		}
	}
}
