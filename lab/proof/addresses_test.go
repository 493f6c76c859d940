package proof

import (
	"net/netip"
	"strings"
	"testing"
)

func agreeing() View {
	a, b := netip.MustParseAddr("10.210.3.0"), netip.MustParseAddr("10.210.3.1")
	n1, n2 := netip.MustParseAddr("10.99.0.21"), netip.MustParseAddr("10.99.0.22")
	return View{
		Containers: []Container{
			{Node: "n1", ID: "c1", Task: "t1", Engine: []netip.Addr{a}, Kernel: []netip.Addr{a}},
			{Node: "n2", ID: "c2", Task: "t2", Engine: []netip.Addr{b}, Kernel: []netip.Addr{b}},
		},
		Tasks:  []Task{{ID: "t1", Node: "n1", Addresses: []netip.Addr{a}}, {ID: "t2", Node: "n2", Addresses: []netip.Addr{b}}},
		Ledger: []netip.Addr{a, b},
		Routes: map[netip.Prefix][]netip.Addr{netip.PrefixFrom(a, 32): {n1}, netip.PrefixFrom(b, 32): {n2}},
		Nodes:  map[string]netip.Addr{"n1": n1, "n2": n2},
	}
}

func TestDisagreementsNamesEachPlantedContradiction(t *testing.T) {
	a := netip.MustParseAddr("10.210.3.0")
	for _, c := range []struct {
		name  string
		plant func(v *View)
		want  string
	}{
		{"nothing when all agree", func(*View) {}, ""},
		{"a duplicate", func(v *View) {
			v.Containers[1].Engine, v.Containers[1].Kernel, v.Tasks[1].Addresses = []netip.Addr{a}, []netip.Addr{a}, []netip.Addr{a}
		}, "two owners"},
		{"a kernel that differs", func(v *View) { v.Containers[0].Kernel = nil }, "the kernel []"},
		{"a task that differs", func(v *View) { v.Tasks[0].Addresses = []netip.Addr{netip.MustParseAddr("10.210.3.9")} }, "Swarm's task t1"},
		{"a lease that the ledger lacks", func(v *View) { v.Ledger = v.Ledger[1:] }, "not in the ledger"},
		{"a lease that nobody has", func(v *View) { v.Ledger = append(v.Ledger, netip.MustParseAddr("10.210.3.8")) }, "holds 10.210.3.8, which no container"},
		{"nothing of a lease whose task is on a dead node", func(v *View) {
			gone := netip.MustParseAddr("10.210.3.8")
			v.Ledger, v.Known = append(v.Ledger, gone), append(v.Known, gone)
		}, ""},
		{"a task without a container", func(v *View) { v.Containers = v.Containers[1:] }, "no container of it"},
		{"a missing route", func(v *View) { delete(v.Routes, netip.PrefixFrom(a, 32)) }, "no route to 10.210.3.0"},
		{"a route to the wrong node", func(v *View) { v.Routes[netip.PrefixFrom(a, 32)] = []netip.Addr{v.Nodes["n2"]} }, "want 10.99.0.21"},
		{"a surplus route", func(v *View) { v.Routes[netip.MustParsePrefix("10.210.3.7/32")] = []netip.Addr{v.Nodes["n2"]} }, "no container owns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := agreeing()
			c.plant(&v)
			got := strings.Join(Disagreements(v), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("Disagreements said %q, want something with %q", got, c.want)
			}
		})
	}
}
