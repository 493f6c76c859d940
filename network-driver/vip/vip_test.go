package vip_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

func addr(last int) netip.Addr { return netip.AddrFrom4([4]byte{10, 210, 3, byte(last)}) }

// task is a container with its address; its endpoint is called by it.
func task(last int) vip.Task {
	return vip.Task{Endpoint: topology.EndpointID(fmt.Sprintf("e%d", last)), Address: addr(last)}
}

func leaving(last int) vip.Task {
	t := task(last)
	t.Leaving = true
	return t
}

func service(name string, v int, tasks ...vip.Task) vip.Service {
	return vip.Service{Network: "n1", Name: name, VIP: addr(v), Tasks: tasks}
}

func here(last int, box string) vip.Endpoint {
	return vip.Endpoint{ID: topology.EndpointID(fmt.Sprintf("e%d", last)), Network: "n1", Address: addr(last), Box: box}
}

func far(all ...int) map[netip.Addr]bool {
	m := map[netip.Addr]bool{}
	for _, a := range all {
		m[addr(a)] = true
	}
	return m
}

// text is a plan in one line: the boxes' backends, sorted, and the node's.
func text(p vip.Plan) string {
	var words []string
	for _, box := range slices.Sorted(maps.Keys(p.Boxes)) {
		for _, b := range p.Boxes[box] {
			words = append(words, box+":"+balance(b))
		}
	}
	for _, b := range p.Node {
		words = append(words, "node:"+balance(b))
	}
	for _, a := range p.Announce {
		words = append(words, "tell:"+last(a))
	}
	return strings.Join(words, " ")
}

func last(a netip.Addr) string { return fmt.Sprint(a.As4()[3]) }

func balance(b vip.Balance) string {
	var all []string
	for _, a := range slices.SortedFunc(slices.Values(b.Backends), netip.Addr.Compare) {
		all = append(all, last(a))
	}
	return last(b.VIP) + ">" + strings.Join(all, ",")
}

func TestThePlan(t *testing.T) {
	web := service("web", 99, task(1), task(2), task(3))
	for _, c := range []struct {
		name     string
		services []vip.Service
		place    vip.Place
		fit      map[topology.EndpointID]bool
		want     string
	}{
		{"a node without containers serves nobody", []vip.Service{web}, vip.Place{Far: far(1, 2, 3)}, nil, ""},
		{"a client gets all that are announced elsewhere", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(7, "c")}, Far: far(1, 2, 3)}, nil, "c:99>1,2,3"},
		{"one whose route has gone gets no new flow", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(7, "c")}, Far: far(1, 3)}, nil, "c:99>1,3"},
		{"clients outside get those of this node alone", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(1, "a"), here(2, "b")}, Far: far(3)}, nil,
			"a:99>1,2,3 b:99>1,2,3 node:99>1,2 tell:99"},
		{"one that is not well is left out, here and for others' clients", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(1, "a"), here(7, "c")}, Far: far(2, 3)},
			map[topology.EndpointID]bool{"e1": false, "e7": true}, "a:99>2,3 c:99>2,3"},
		{"one that the engine does not speak of is taken for well", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(1, "a")}, Far: far(2, 3)},
			map[topology.EndpointID]bool{"e9": true}, "a:99>1,2,3 node:99>1 tell:99"},
		{"one that Swarm is about to stop gets no new flow", []vip.Service{service("web", 99, leaving(1), task(2))}, vip.Place{Endpoints: []vip.Endpoint{here(1, "a"), here(7, "c")}, Far: far(2)}, nil,
			"a:99>2 c:99>2"},
		{"unless all are", []vip.Service{service("web", 99, leaving(1), leaving(2))}, vip.Place{Endpoints: []vip.Endpoint{here(1, "a")}, Far: far(2)}, nil,
			"a:99>1,2 node:99>1 tell:99"},
		{"without any, clients are refused", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(7, "c")}}, nil, "c:99>"},
		{"a container without a sandbox's name is served from outside", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{here(1, "")}}, nil, "node:99>1 tell:99"},
		{"a container of another network does not know the service", []vip.Service{web}, vip.Place{Endpoints: []vip.Endpoint{{ID: "x", Network: "n2", Address: addr(50), Box: "c"}}, Far: far(1)}, nil, ""},
		{"a container of two networks knows both", []vip.Service{web, {Network: "n2", Name: "db", VIP: addr(98), Tasks: []vip.Task{task(2)}}},
			vip.Place{Endpoints: []vip.Endpoint{here(7, "c"), {ID: "x", Network: "n2", Address: addr(50), Box: "c"}}, Far: far(1, 2)}, nil, "c:98>2 c:99>1,2"},
		{"a service of two networks of one container, by one address, is served once", []vip.Service{web, {Network: "n2", Name: "web", VIP: addr(99), Tasks: web.Tasks}},
			vip.Place{Endpoints: []vip.Endpoint{here(7, "c"), {ID: "x", Network: "n2", Address: addr(50), Box: "c"}}, Far: far(1)}, nil, "c:99>1"},
	} {
		if got := text(vip.Make(c.services, c.place, c.fit)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestClientsBeginAtDifferentBackends(t *testing.T) {
	web, place := service("web", 99, task(1), task(2), task(3)), vip.Place{Far: far(1, 2, 3)}
	for i := range 60 {
		place.Endpoints = append(place.Endpoints, here(100+i, fmt.Sprintf("box%d", i)))
	}
	first := map[netip.Addr]int{}
	for _, all := range vip.Make([]vip.Service{web}, place, nil).Boxes {
		first[all[0].Backends[0]]++
	}
	for i := 1; i <= 3; i++ {
		if first[addr(i)] < 8 {
			t.Errorf("60 clients that ask once ask %v", first)
		}
	}
}

// whatever draws services, containers and routes of few addresses, so that all meets all.
func whatever(t *rapid.T) ([]vip.Service, vip.Place, map[topology.EndpointID]bool) {
	var services []vip.Service
	for i := range rapid.IntRange(0, 3).Draw(t, "services") {
		s := service(fmt.Sprintf("s%d", i), 90+i)
		for a := 1; a <= 6; a++ {
			switch rapid.IntRange(0, 3).Draw(t, "task") {
			case 0, 1:
				s.Tasks = append(s.Tasks, task(a))
			case 2:
				s.Tasks = append(s.Tasks, leaving(a))
			}
		}
		services = append(services, s)
	}
	place, fit := vip.Place{Far: map[netip.Addr]bool{}}, map[topology.EndpointID]bool{}
	for a := 1; a <= 8; a++ {
		switch rapid.IntRange(0, 2).Draw(t, "where") {
		case 0:
			place.Endpoints = append(place.Endpoints, here(a, fmt.Sprintf("box%d", rapid.IntRange(0, 4).Draw(t, "box"))))
			if rapid.Bool().Draw(t, "said") {
				fit[task(a).Endpoint] = rapid.Bool().Draw(t, "well")
			}
		case 1:
			place.Far[addr(a)] = true
		}
	}
	return services, place, fit
}

func TestPropertiesOfThePlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		services, place, fit := whatever(t)
		plan := vip.Make(services, place, fit)
		local, ill := map[netip.Addr]bool{}, map[netip.Addr]bool{}
		for _, e := range place.Endpoints {
			local[e.Address] = true
			if well, said := fit[e.ID]; said && !well {
				ill[e.Address] = true
			}
		}
		takes := map[netip.Addr]map[netip.Addr]bool{} // a service's tasks: leaving or not
		for _, s := range services {
			takes[s.VIP] = map[netip.Addr]bool{}
			for _, k := range s.Tasks {
				takes[s.VIP][k.Address] = k.Leaving
			}
		}
		check := func(where string, b vip.Balance) {
			stays, leaves := 0, 0
			for _, a := range b.Backends {
				leave, known := takes[b.VIP][a]
				if !known || ill[a] || !local[a] && !place.Far[a] {
					t.Fatalf("%s: %v goes to %v, which is nobody's to ask", where, b.VIP, a)
				}
				if leave {
					leaves++
				} else {
					stays++
				}
			}
			if stays > 0 && leaves > 0 {
				t.Fatalf("%s: %v goes to one that leaves while others stay", where, b.VIP)
			}
		}
		for box, all := range plan.Boxes {
			for _, b := range all {
				check(box, b)
			}
		}
		for i, b := range plan.Node {
			check("node", b)
			if len(b.Backends) == 0 || plan.Announce[i] != b.VIP {
				t.Fatalf("announced %v, served %v", plan.Announce, plan.Node)
			}
			for _, a := range b.Backends {
				if !local[a] {
					t.Fatalf("the node sends clients outside to %v, which is elsewhere", a)
				}
			}
		}
		slices.Reverse(services)
		slices.Reverse(place.Endpoints)
		if again := vip.Make(services, place, fit); text(again) != text(plan) {
			t.Fatalf("the order matters:\n%s\n%s", text(plan), text(again))
		}
	})
}

func TestQuestions(t *testing.T) {
	second := vip.Endpoint{ID: "x", Network: "n2", Address: addr(50), Box: "both"}
	got := fmt.Sprint(vip.Questions([]vip.Endpoint{here(1, "both"), here(2, "one"), here(3, ""), second}))
	if want := "[{n1 [one both]} {n2 [both]}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWhatAYoungEngineDoesNotSayYetStays(t *testing.T) {
	now := time.Unix(1000, 0)
	asked := []vip.Question{{Network: "n1"}}
	all := []vip.Service{service("db", 98, task(4)), service("web", 99, task(1), task(2), task(3))}
	m := vip.NewMemory(nil)
	take := func(young bool, services ...vip.Service) {
		m.Take(vip.Seen{Services: map[topology.NetworkID][]vip.Service{"n1": services}, Young: young}, asked, now)
	}
	known := func(step, want string) {
		t.Helper()
		var words []string
		for _, s := range m.Services() {
			word := s.Name
			for _, k := range s.Tasks {
				word += " " + last(k.Address)
				if k.Leaving {
					word += "-"
				}
			}
			words = append(words, word)
		}
		if got := strings.Join(words, "; "); got != want {
			t.Errorf("%s: %s, want %s", step, got, want)
		}
	}
	take(false, all...)
	known("at first", "db 4; web 1 2 3")
	take(true, service("web", 99, task(1)))
	known("an engine that has just started", "db 4; web 1 2 3")
	now = now.Add(5 * time.Second)
	take(false, service("web", 99, task(1), leaving(2), task(5)))
	known("a little later, with a new one", "db 4; web 1 2 3 5")
	now = now.Add(11 * time.Second)
	take(false, service("web", 99, task(1), leaving(2)))
	known("when its word is whole again", "web 1 2-")
	m.Take(vip.Seen{Services: map[topology.NetworkID][]vip.Service{}}, asked, now)
	known("a network that it did not answer for", "web 1 2-")
	if m.Take(vip.Seen{Services: map[topology.NetworkID][]vip.Service{"n1": m.Services()}}, asked, now) {
		t.Error("the same again counts as a change")
	}
	m.Take(vip.Seen{Services: map[topology.NetworkID][]vip.Service{}}, nil, now)
	known("no container here is on the network any more", "")
}
