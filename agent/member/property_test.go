package member

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var labelsToDraw = []map[string]string{
	nil,
	{"rolling.project": "orders", "rolling.discovery.nginx": "orders:8080"},
	{"rolling.project": "orders", "rolling.discovery.nginx": "orders:8080", "rolling.discovery.zookeeper": "/service/orders:8080"},
	{"rolling.project": "orders", "rolling.discovery.nginx": "orders"},
	{"rolling.project": "pay", "rolling.discovery.nginx": "orders:8080"},
	{"rolling.project": "pay", "rolling.discovery.nginx": "pay:80", "rolling.discovery.weight": "3"},
}

func drawWorld(t *rapid.T) world {
	var w world
	for _, id := range []string{"a", "b", "c"} {
		if !rapid.Bool().Draw(t, "exists "+id) {
			continue
		}
		w.services = append(w.services, Service{ID: id, Name: "s_" + id, Created: epoch.Add(time.Duration(id[0]) * time.Hour),
			Labels: rapid.SampledFrom(labelsToDraw).Draw(t, "labels"), Stopped: rapid.IntRange(0, 4).Draw(t, "stopped") == 0})
	}
	for _, id := range []string{"a", "b", "c"} {
		for slot := range rapid.IntRange(0, 3).Draw(t, "tasks "+id) {
			w.tasks = append(w.tasks, Task{ID: fmt.Sprintf("%s.%d", id, slot), Service: id, Slot: slot + 1,
				State:     rapid.SampledFrom([]string{"starting", Running, Running, "failed"}).Draw(t, "state"),
				Desired:   rapid.SampledFrom([]string{Running, Running, "shutdown", Remove}).Draw(t, "desired"),
				Updated:   epoch,
				Addresses: []Address{{"app", netip.AddrFrom4([4]byte{10, 0, id[0], byte(slot + 1)})}}})
		}
	}
	return w
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		for step := range rapid.IntRange(1, 12).Draw(t, "steps") {
			w := drawWorld(t)
			o := w.at(float64(step) * rapid.SampledFrom([]float64{0.5, 20}).Draw(t, "pace"))
			n := s.Next(o)
			checkEachMemberServesOrIsKept(t, n, o)
			checkNobodyEmptiesByAccident(t, s, n, o)
			if again := n.Next(o); !again.Set().Equal(n.Set()) {
				t.Fatalf("the same observation twice:\n%s\nthen\n%s", text(n), text(again))
			}
			slices.Reverse(o.Services)
			slices.Reverse(o.Tasks)
			if mirrored := s.Next(o); !mirrored.Set().Equal(n.Set()) {
				t.Fatalf("the order of an observation matters:\n%s\nthen\n%s", text(n), text(mirrored))
			}
			s = n
		}
	})
}

func checkEachMemberServesOrIsKept(t *rapid.T, n State, o Observation) {
	kept := map[string]bool{}
	for _, k := range n.Kept() {
		kept[k.Service] = true
	}
	serving := map[string]bool{}
	for _, task := range o.Tasks {
		serving[task.ID] = task.serving()
	}
	for _, st := range n.services {
		for _, m := range st.members {
			if !serving[m.task] && !kept[st.name] {
				t.Fatalf("%s is a member, serves not, and nobody says why it stays", m.task)
			}
		}
	}
	for _, task := range o.Tasks {
		st, registered := n.services[task.Service]
		stopped := slices.ContainsFunc(o.Services, func(s Service) bool { return s.ID == task.Service && s.Stopped })
		exists := slices.ContainsFunc(o.Services, func(s Service) bool { return s.ID == task.Service })
		member := slices.ContainsFunc(st.members, func(m endpoint) bool { return m.task == task.ID })
		if task.serving() && registered && exists && !stopped && !member {
			t.Fatalf("%s serves and is no member", task.ID)
		}
	}
}

func checkNobodyEmptiesByAccident(t *rapid.T, s, n State, o Observation) {
	for id, before := range s.services {
		if len(before.members) == 0 || len(n.services[id].members) > 0 {
			continue
		}
		i := slices.IndexFunc(o.Services, func(s Service) bool { return s.ID == id })
		known := slices.ContainsFunc(o.Tasks, func(task Task) bool { return task.Service == id })
		removed := slices.ContainsFunc(o.Tasks, func(task Task) bool { return task.Service == id && task.Desired == Remove })
		gone := i < 0 && (removed || !before.missing.IsZero() && o.At.Sub(before.missing) >= believeAfter)
		asked := i >= 0 && (o.Services[i].Stopped || o.Services[i].Labels == nil)
		if !gone && !asked && (i < 0 || !known) {
			t.Fatalf("%s lost all of its members, and the observation does not say why", id)
		}
	}
}
