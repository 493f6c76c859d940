package network

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/pair"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

func measured() pair.Result {
	r := pair.Result{Congestion: "cubic"}
	for name, v := range map[string]float64{host: 10, ours: 8, overlay: 4, bridge: 2, macvlan: 16, ours + local: 12, overlay + local: 6, bridge + local: 3, macvlan + local: 24} {
		row := []float64{v, 2 * v}
		r.Series = append(r.Series, pair.Series{Name: name, Gbit: row, P50: row, P99: row, CPU: row, Many: row, Conns: row, Packets: row})
	}
	return r
}

func TestSpeedFiguresBearTheNamesOfTheContract(t *testing.T) {
	two, err := speedFigures(measured(), comparisons(""), "", "two, cubic")
	if err != nil {
		t.Fatal(err)
	}
	one, err := speedFigures(measured(), []comparison{{ours, host, ""}, {ours + local, host, ".nft" + local}}, ".1cpu", "one, cubic")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]figure.Figure{}
	for _, f := range append(two, one...) {
		if _, twice := found[f.Name]; twice {
			t.Errorf("two figures %s", f.Name)
		}
		found[f.Name] = f
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(f.Note, ", cubic") {
			t.Errorf("%s: note %q does not name the congestion control", f.Name, f.Note)
		}
	}
	for name, want := range map[string]struct {
		peer  string
		ratio float64
	}{
		"net.throughput":                {host, 0.8},
		"net.throughput.1cpu":           {host, 0.8},
		"net.throughput.overlay":        {overlay, 2},
		"net.throughput.bridge":         {bridge, 4},
		"net.throughput.macvlan":        {macvlan, 0.5},
		"net.throughput-local.overlay":  {overlay + local, 2},
		"net.throughput.nft-local.1cpu": {host, 1.2},
		"net.throughput_8":              {host, 0.8},
		"net.rtt_p50":                   {host, 0.8},
		"net.rtt_p99":                   {host, 0.8},
		"net.connections":               {host, 0.8},
		"net.udp_pps":                   {host, 0.8},
		"net.cpu_per_gbit":              {host, 0.8},
	} {
		f, ok := found[name]
		if !ok {
			t.Errorf("no figure %s", name)
			continue
		}
		if f.PeerName != want.peer || f.Ratio == nil || *f.Ratio < want.ratio-1e-9 || *f.Ratio > want.ratio+1e-9 {
			t.Errorf("%s: beside %s the ratio is %v, want %v beside %s", name, f.PeerName, *f.Ratio, want.ratio, want.peer)
		}
	}
}

func TestSpeedFiguresNameThePathThatIsMissing(t *testing.T) {
	r := measured()
	for i := range r.Series {
		if r.Series[i].Name == overlay {
			r.Series[i].Name = "another"
		}
	}
	if _, err := speedFigures(r, comparisons(""), "", ""); err == nil || !strings.Contains(err.Error(), overlay) {
		t.Errorf("got %v", err)
	}
}

func TestUsageIsReadFromStatusAndStat(t *testing.T) {
	u, err := usageOf("Name:\tnetwork-driver\nVmRSS:\t   20480 kB\nThreads:\t9\n7 (network) driver) S 1 7 7 0 -1 4194560 1 0 0 0 120 30 0 0 20 0 9 0 1 1\n")
	if err != nil || u.rss != 20 || u.cpu != 1500*time.Millisecond {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, bad := range []string{"", "VmRSS: 1 kB\n7 (x) S", "VmRSS: x kB\n7 (x) S 1 7 7 0 -1 4194560 1 0 0 0 120 30 0 0"} {
		if _, err := usageOf(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	before, after := map[string]usage{"a": {cpu: time.Second}, "b": {cpu: time.Second, rss: 3}}, map[string]usage{"a": {cpu: 2 * time.Second}, "b": {cpu: 5 * time.Second, rss: 9}}
	if busiest(after, before, 10*time.Second) != 40 || sum(after)-sum(before) != 5*time.Second || largest(after) != 9 {
		t.Errorf("%v, %v, %v", busiest(after, before, 10*time.Second), sum(after)-sum(before), largest(after))
	}
}

func TestSuccessorIsTimedAlsoWhenItWasFasterThanTheWithdrawal(t *testing.T) {
	a, other, at := netip.MustParseAddr("10.201.0.9"), netip.MustParseAddr("10.99.0.5"), time.Unix(10, 0)
	for _, c := range []struct {
		name    string
		router  []site.RouteChange
		arrived map[netip.Addr]time.Time
	}{
		{"after the withdrawal", []site.RouteChange{{Address: other, At: at}, {Address: a, Gone: true, At: at}, {Address: a, At: at.Add(time.Second)}}, nil},
		{"before the withdrawal", nil, map[netip.Addr]time.Time{a: at.Add(time.Second)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			node, router := make(chan site.RouteChange, 2), make(chan site.RouteChange, 3)
			node <- site.RouteChange{Address: other, At: at}
			node <- site.RouteChange{Address: a, At: at}
			for _, r := range c.router {
				router <- r
			}
			close(router)
			if joined, came, err := successor(t.Context(), node, router, c.arrived); err != nil || came.Sub(joined) != time.Second {
				t.Errorf("got %v and %v, %v, want 1s", joined, came, err)
			}
		})
	}
}

func TestVirtualFiguresStandBesideTheDirectWay(t *testing.T) {
	r := pair.Result{Congestion: "cubic", Series: []pair.Series{
		{Name: direct, Gbit: []float64{10, 20}, P50: []float64{30, 40}}, {Name: byVirtual, Gbit: []float64{9, 18}, P50: []float64{33, 44}},
	}}
	all, err := virtualFigures(r, ".1cpu", "one")
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	for i, want := range []struct {
		name  string
		ratio float64
	}{{"net.vip_throughput.1cpu", 0.9}, {"net.vip_rtt.1cpu", 1.1}} {
		f := all[i]
		if err := f.Check(); err != nil || f.Name != want.name || f.PeerName != direct || *f.Ratio < want.ratio-1e-9 || *f.Ratio > want.ratio+1e-9 {
			t.Errorf("%+v, %v; want %+v", f, err, want)
		}
	}
}
