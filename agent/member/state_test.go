package member

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// world is a Swarm that a test bends step by step.
type world struct {
	services []Service
	tasks    []Task
}

func (w world) at(seconds float64) Observation {
	return Observation{At: epoch.Add(time.Duration(seconds * float64(time.Second))), Services: slices.Clone(w.services), Tasks: slices.Clone(w.tasks), Whole: true}
}

func (w *world) service(id string) *Service {
	return &w.services[slices.IndexFunc(w.services, func(s Service) bool { return s.ID == id })]
}

func (w *world) task(id string) *Task {
	return &w.tasks[slices.IndexFunc(w.tasks, func(t Task) bool { return t.ID == id })]
}

func (w *world) drop(id string) {
	w.services = slices.DeleteFunc(w.services, func(s Service) bool { return s.ID == id })
	w.tasks = slices.DeleteFunc(w.tasks, func(t Task) bool { return t.ID == id || t.Service == id })
}

func aTask(service string, slot int) Task {
	host := netip.AddrFrom4([4]byte{10, 0, service[0], byte(slot)})
	return Task{ID: fmt.Sprintf("%s.%d", service, slot), Service: service, Slot: slot, Node: "n1", State: Running, Desired: Running,
		Release: "r1", Updated: epoch, Addresses: []Address{{"orders_app", host}}}
}

// orders has a service of three healthy tasks, in an upstream and a ServerSet.
func orders() world {
	return world{
		services: []Service{{ID: "w", Name: "orders_web", Created: epoch, Labels: map[string]string{
			"rolling.project": "orders", "rolling.environment": "production",
			"rolling.discovery.nginx": "orders:8080", "rolling.discovery.zookeeper": "/service/orders:9090"}}},
		tasks: []Task{aTask("w", 1), aTask("w", 2), aTask("w", 3)},
	}
}

// text shows a state as a test compares it.
func text(s State) string {
	set := s.Set()
	var lines []string
	for _, u := range slices.Sorted(maps.Keys(set.Upstreams)) {
		line := u + " ="
		for _, p := range set.Upstreams[u] {
			line += fmt.Sprintf(" %s:%d*%d", p.Host, p.Port, p.Weight)
		}
		lines = append(lines, line)
	}
	for _, p := range slices.Sorted(maps.Keys(set.Paths)) {
		line := p + " ="
		for _, i := range set.Paths[p] {
			line += fmt.Sprintf(" %s:%d", i.Host, i.Port)
			if i.Shard != nil {
				line += fmt.Sprintf("#%d", *i.Shard)
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const allThree = "orders = 10.0.119.1:8080*10 10.0.119.2:8080*10 10.0.119.3:8080*10\n" +
	"/service/orders = 10.0.119.1:9090#0 10.0.119.2:9090#1 10.0.119.3:9090#2"

const twoOfThree = "orders = 10.0.119.1:8080*10 10.0.119.2:8080*10\n/service/orders = 10.0.119.1:9090#0 10.0.119.2:9090#1"

const nobody = "orders =\n/service/orders ="

func TestNext(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(w *world) // between the first observation and the one at +1 s
		want    string
		kept    string // part of a reason
		problem string // part of a problem
	}{
		{name: "healthy tasks are members", change: func(w *world) {}, want: allThree},
		{name: "a task that is not yet healthy is no member", change: func(w *world) { w.task("w.3").State = "starting" }, want: twoOfThree},
		{name: "a task that was told to stop leaves while it still runs", change: func(w *world) { w.task("w.3").Desired = "shutdown" }, want: twoOfThree},
		{name: "a task that was told to go leaves while it still runs", change: func(w *world) { w.task("w.3").Desired = "remove" }, want: twoOfThree},
		{name: "a failed task leaves", change: func(w *world) { w.task("w.3").State = "failed"; w.task("w.3").Desired = "shutdown" }, want: twoOfThree},
		{name: "a task that is gone leaves while others stand", change: func(w *world) { w.drop("w.3") }, want: twoOfThree},
		{name: "a scale to 0 empties", change: func(w *world) {
			w.service("w").Stopped = true
			for i := range w.tasks {
				w.tasks[i].Desired = "remove"
			}
		}, want: nobody},
		{name: "a removed service goes when its tasks are told to go", change: func(w *world) {
			w.services = nil
			for i := range w.tasks {
				w.tasks[i].Desired = "remove"
			}
		}, want: ""},
		{name: "a service whose tasks are all unknown keeps its members", change: func(w *world) { w.tasks = nil }, want: allThree, kept: "knows no task"},
		{name: "a service that vanished without a trace keeps its members", change: func(w *world) { *w = world{} }, want: allThree, kept: "vanished"},
		{name: "a list of services that lacks one whose tasks are meant to run is not believed", change: func(w *world) { w.services = nil }, want: allThree, kept: "vanished"},
		{name: "the last members stay while they run", change: func(w *world) {
			for i := range w.tasks {
				w.tasks[i].Desired, w.tasks[i].Updated = "shutdown", epoch.Add(time.Second)
			}
			w.tasks[2].State = "shutdown"
		}, want: twoOfThree, kept: "told to stop"},
		{name: "a member on a node that died long ago does not stay as the last", change: func(w *world) {
			for i := range w.tasks {
				w.tasks[i].Desired, w.tasks[i].Updated = "shutdown", epoch.Add(-time.Minute)
			}
		}, want: nobody},
		{name: "a service that crashed as a whole has nobody", change: func(w *world) {
			for i := range w.tasks {
				w.tasks[i].State, w.tasks[i].Desired = "failed", "shutdown"
			}
		}, want: nobody},
		{name: "a bad label leaves the last good registration", change: func(w *world) { w.service("w").Labels["rolling.discovery.nginx"] = "orders" },
			want: allThree, problem: "there is no port"},
		{name: "under a bad label members still leave", change: func(w *world) {
			w.service("w").Labels["rolling.discovery.weight"] = "x"
			w.task("w.3").State = "failed"
		}, want: twoOfThree, problem: "whole number"},
		{name: "a service that drops its labels is no longer registered", change: func(w *world) { w.service("w").Labels = nil }, want: ""},
		{name: "a new port is taken at once", change: func(w *world) { w.service("w").Labels["rolling.discovery.nginx"] = "orders:81" },
			want: strings.ReplaceAll(allThree, ":8080", ":81")},
		{name: "a grey service shares the upstream by weight", change: func(w *world) {
			w.services = append(w.services, Service{ID: "g", Name: "orders_web-grey", Created: epoch.Add(time.Hour), Labels: map[string]string{
				"rolling.project": "orders", "rolling.discovery.nginx": "orders:8080", "rolling.discovery.weight": "1"}})
			w.tasks = append(w.tasks, aTask("g", 1))
		}, want: strings.Replace(allThree, "orders =", "orders = 10.0.103.1:8080*1", 1)},
		{name: "another project does not get into an upstream, not even an older one", change: func(w *world) {
			w.services = append(w.services, Service{ID: "x", Name: "pay_web", Created: epoch.Add(-time.Hour), Labels: map[string]string{
				"rolling.project": "pay", "rolling.discovery.nginx": "orders:8080"}})
			w.tasks = append(w.tasks, aTask("x", 1))
		}, want: allThree, problem: "belongs to the project orders"},
		{name: "a project may be renamed", change: func(w *world) { w.service("w").Labels["rolling.project"] = "shop" }, want: allThree},
		{name: "a task of a global service has no shard", change: func(w *world) { w.tasks = []Task{aTask("w", 0)} },
			want: "orders = 10.0.119.0:8080*10\n/service/orders = 10.0.119.0:9090"},
		{name: "a task without an address is no member", change: func(w *world) { w.task("w.3").Addresses = nil }, want: twoOfThree, problem: "add one to the service"},
		{name: "a task on two networks needs a label", change: func(w *world) {
			w.task("w.3").Addresses = append(w.task("w.3").Addresses, Address{"orders_back", netip.MustParseAddr("10.9.9.9")})
		}, want: twoOfThree, problem: "several networks"},
		{name: "a label picks the network by its short name", change: func(w *world) {
			w.service("w").Labels["rolling.discovery.network"] = "back"
			for i := range w.tasks {
				w.tasks[i].Addresses = append(w.tasks[i].Addresses, Address{"orders_back", netip.AddrFrom4([4]byte{10, 9, 9, byte(i)})})
			}
		}, want: "orders = 10.9.9.0:8080*10 10.9.9.1:8080*10 10.9.9.2:8080*10\n/service/orders = 10.9.9.0:9090#0 10.9.9.1:9090#1 10.9.9.2:9090#2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := orders()
			s := State{}.Next(w.at(0))
			if text(s) != allThree {
				t.Fatalf("at first:\n%s", text(s))
			}
			c.change(&w)
			s = s.Next(w.at(1))
			if text(s) != c.want {
				t.Errorf("got\n%s\nwant\n%s", text(s), c.want)
			}
			if got := fmt.Sprint(s.Kept()); (c.kept == "") != (len(s.Kept()) == 0) || !strings.Contains(got, c.kept) {
				t.Errorf("kept %s, want %q", got, c.kept)
			}
			if got := fmt.Sprint(s.Problems()); (c.problem == "") != (len(s.Problems()) == 0) || !strings.Contains(got, c.problem) {
				t.Errorf("problems %s, want %q", got, c.problem)
			}
		})
	}
}

func TestAVanishedServiceIsBelievedAfterAWhile(t *testing.T) {
	w := orders()
	s := State{}.Next(w.at(0))
	for _, at := range []float64{1, 5, 10.9} {
		if s = s.Next(world{}.at(at)); text(s) != allThree {
			t.Fatalf("after %v s: %s", at, text(s))
		}
	}
	if s = s.Next(world{}.at(11)); text(s) != "" || len(s.Kept()) > 0 {
		t.Errorf("10 s after the first miss: %s, kept %v", text(s), s.Kept())
	}
}

func TestAServiceThatComesBackStartsToVanishAnew(t *testing.T) {
	w := orders()
	s := State{}.Next(w.at(0)).Next(world{}.at(1)).Next(w.at(9)).Next(world{}.at(10)).Next(world{}.at(15))
	if text(s) != allThree {
		t.Errorf("5 s after it was last seen: %s", text(s))
	}
}

func TestABadLabelAfterAChangeOfLeaderFallsBackToTheSpecBefore(t *testing.T) {
	w := orders()
	w.service("w").Previous = maps.Clone(w.service("w").Labels)
	w.service("w").Labels["rolling.discovery.zookeeper"] = "orders"
	if s := (State{}).Next(w.at(0)); text(s) != allThree || len(s.Problems()) != 1 {
		t.Errorf("got %s and %v", text(s), s.Problems())
	}
}

func TestDoubts(t *testing.T) {
	w := orders()
	s := State{}.Next(w.at(0))
	partial := func(change func(w *world)) Observation {
		w := orders()
		change(&w)
		o := w.at(1)
		o.Whole = false
		return o
	}
	for _, c := range []struct {
		name   string
		change func(w *world)
		want   bool
	}{
		{"all members still serve", func(w *world) {}, false},
		{"a newcomer explains itself", func(w *world) { w.tasks = append(w.tasks, aTask("w", 4)) }, false},
		{"a member is missing", func(w *world) { w.drop("w.2") }, true},
		{"a member no longer runs", func(w *world) { w.task("w.2").State = "failed" }, true},
		{"a service is missing", func(w *world) { w.services = nil }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := partial(c.change)
			if s.Doubts(o) != c.want {
				t.Errorf("doubts: %v, want %v", !c.want, c.want)
			}
			if c.want && text(s.Next(o)) != allThree {
				t.Errorf("a doubtful observation was believed: %s", text(s.Next(o)))
			}
		})
	}
	if !(State{}).Doubts(partial(func(*world) {})) {
		t.Error("the first observation must be whole")
	}
}

func TestChangedIsTheTimeOfTheTaskBehindTheDifference(t *testing.T) {
	w := orders()
	w.task("w.3").State = "starting"
	s := State{}.Next(w.at(0))
	w.task("w.3").State, w.task("w.3").Updated = Running, epoch.Add(1500*time.Millisecond)
	w.task("w.2").Updated = epoch.Add(1900 * time.Millisecond)
	s = s.Next(w.at(2))
	if want := epoch.Add(1500 * time.Millisecond); !s.Changed().Equal(want) {
		t.Errorf("got %v, want %v", s.Changed(), want)
	}
	if s = s.Next(w.at(3)); !s.Changed().IsZero() {
		t.Errorf("nothing changed, got %v", s.Changed())
	}
}

func TestInstancesSayWhoseTheyAre(t *testing.T) {
	w := orders()
	i := State{}.Next(w.at(0)).Set().Paths["/service/orders"][0]
	want := map[string]string{"rolling.project": "orders", "rolling.environment": "production", "rolling.service": "orders_web", "rolling.slot": "1", "rolling.release": "r1"}
	if !maps.Equal(i.Metadata, want) {
		t.Errorf("got %v, want %v", i.Metadata, want)
	}
}
