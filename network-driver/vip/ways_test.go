package vip_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// spread is a service over nodes, and what each node sees of it.
func spread(t *rapid.T) (vip.Service, map[netip.Addr][]netip.Addr) {
	web := service("web", 99)
	nodes := map[netip.Addr][]netip.Addr{}
	for i := range rapid.IntRange(1, 8).Draw(t, "containers") {
		task := task(i + 1)
		task.Leaving = rapid.IntRange(0, 3).Draw(t, "leaving") == 0
		web.Tasks = append(web.Tasks, task)
		n := addr(200 + rapid.IntRange(0, 3).Draw(t, "node"))
		nodes[n] = append(nodes[n], task.Address)
	}
	return web, nodes
}

func seenFrom(n netip.Addr, nodes map[netip.Addr][]netip.Addr) vip.Place {
	p := vip.Place{Far: map[netip.Addr]bool{}, Nodes: map[netip.Addr]netip.Addr{}}
	for m, all := range nodes {
		for _, a := range all {
			if m == n {
				p.Endpoints = append(p.Endpoints, here(int(a.As4()[3]), ""))
			} else {
				p.Far[a], p.Nodes[a] = true, m
			}
		}
	}
	return p
}

func TestAllNodesSendAFlowTheSameWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		web, nodes := spread(t)
		var first *vip.Way
		for n, own := range nodes {
			plan := vip.Make([]vip.Service{web}, seenFrom(n, nodes), nil)
			if len(plan.Ways) != 1 {
				t.Fatalf("%v has %d ways", n, len(plan.Ways))
			}
			w := plan.Ways[0]
			if first == nil {
				first = &w
			}
			if !slices.Equal(w.Ring, first.Ring) || w.Backends != first.Backends || len(w.Ring) != len(nodes) {
				t.Fatalf("%v goes round %v, another round %v", n, w.Ring, first.Ring)
			}
			if slices.SortFunc(own, netip.Addr.Compare); !slices.Equal(w.Here, own) {
				t.Fatalf("%v has %v, the way says %v", n, own, w.Here)
			}
			for i, b := range w.Backends {
				if !b.IsValid() || slices.Contains(w.Local, b) && w.Server(i) != b || len(w.Local) > 0 && !slices.Contains(w.Local, w.Server(i)) {
					t.Fatalf("slot %d of %v goes to %v, here to %v", i, w.Local, b, w.Server(i))
				}
			}
		}
	})
}

// Whoever has the flow: from any node it is found, without a node being asked twice but the first.
func TestTheRingComesByEveryNodeAndEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		web, nodes := spread(t)
		ways, whose := map[netip.Addr]vip.Way{}, map[netip.Addr]netip.Addr{}
		for n, own := range nodes {
			ways[n] = vip.Make([]vip.Service{web}, seenFrom(n, nodes), nil).Ways[0]
			for _, a := range own {
				whose[a] = n
			}
		}
		for first := range nodes {
			asked := map[netip.Addr]int{}
			n, place := first, 0
			for to := ways[n].Next(place); to < len(ways[n].Ring); to = ways[n].Next(place) {
				n, place = whose[ways[n].Ring[to]], to+1
				if asked[n]++; asked[n] > 1 {
					t.Fatalf("from %v on %v is asked again", first, n)
				}
			}
			if delete(asked, first); len(asked) != len(nodes)-1 {
				t.Fatalf("from %v on only %v are asked of %v", first, asked, nodes)
			}
		}
	})
}

func TestOnlyTheSlotsOfAContainerThatComesOrGoesMove(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "containers")
		web := service("web", 99)
		place := vip.Place{Endpoints: []vip.Endpoint{here(1, "")}, Far: map[netip.Addr]bool{}}
		for i := range n {
			web.Tasks = append(web.Tasks, task(i+1))
			place.Far[addr(i+1)] = true
		}
		all := vip.Make([]vip.Service{web}, place, nil).Ways[0].Backends
		web.Tasks = web.Tasks[:n-1]
		less := vip.Make([]vip.Service{web}, place, nil).Ways[0].Backends
		slots := map[netip.Addr]int{}
		for i := range all {
			if slots[all[i]]++; all[i] != addr(n) && all[i] != less[i] {
				t.Fatalf("slot %d moved from %v to %v when %v went", i, all[i], less[i], addr(n))
			}
		}
		for a, k := range slots {
			if k < vip.Slots/n/3 || len(slots) != n {
				t.Fatalf("%v has %d of %d slots: %v", a, k, vip.Slots, slots)
			}
		}
	})
}

func TestAContainerIsYoungForSomeMinutes(t *testing.T) {
	web := service("web", 99, task(1), task(2))
	ages, now := vip.Ages{}, time.Unix(1e9, 0)
	young := func(tasks ...vip.Endpoint) []netip.Addr {
		t.Helper()
		plan := vip.Make([]vip.Service{web}, vip.Place{Endpoints: tasks, Far: far(3)}, map[topology.EndpointID]bool{"e1": true, "e2": true})
		if ages.Mark(&plan, now); len(plan.Ways) == 0 {
			return nil
		}
		return plan.Ways[0].Young
	}
	for _, c := range []struct {
		name  string
		after time.Duration
		here  []vip.Endpoint
		want  []netip.Addr
	}{
		{"at the program's start nobody knows since when it is there", 0, []vip.Endpoint{here(1, "")}, []netip.Addr{addr(1)}},
		{"a second one comes", 2 * time.Minute, []vip.Endpoint{here(1, ""), here(2, "")}, []netip.Addr{addr(1), addr(2)}},
		{"the first one is old", 2 * time.Minute, []vip.Endpoint{here(1, ""), here(2, "")}, []netip.Addr{addr(2)}},
		{"both are", 2 * time.Minute, []vip.Endpoint{here(1, ""), here(2, "")}, nil},
		{"one goes", time.Second, []vip.Endpoint{here(1, "")}, nil},
		{"and comes again", time.Second, []vip.Endpoint{here(1, ""), here(2, "")}, []netip.Addr{addr(2)}},
	} {
		if now = now.Add(c.after); !slices.Equal(young(c.here...), c.want) {
			t.Errorf("%s: of %v not %v are young", c.name, slices.SortedFunc(maps.Keys(ages), netip.Addr.Compare), c.want)
		}
	}
}
