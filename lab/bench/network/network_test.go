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
	return pair.Result{Congestion: "cubic", Series: []pair.Series{
		{Name: host, Gbit: []float64{10, 20}, P50: []float64{30, 40}, P99: []float64{100, 100}},
		{Name: ours, Gbit: []float64{9, 16}, P50: []float64{36, 44}, P99: []float64{150, 130}},
		{Name: overlay, Gbit: []float64{6, 8}, P50: []float64{48, 55}, P99: []float64{200, 200}},
		{Name: bridge, Gbit: []float64{4.5, 8}, P50: []float64{50, 60}, P99: []float64{210, 220}},
	}}
}

func TestPathFiguresBearTheNamesOfTheContract(t *testing.T) {
	two, err := pathFigures(measured(), "", "two")
	if err != nil {
		t.Fatal(err)
	}
	one, err := pathFigures(measured(), ".1cpu", "one")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]figure.Figure{}
	for _, f := range append(two, one...) {
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
		"net.throughput":         {host, 0.85},
		"net.throughput.1cpu":    {host, 0.85},
		"net.throughput.overlay": {overlay, 1.75},
		"net.throughput.bridge":  {bridge, 2},
		"net.rtt_p50":            {host, 1.15},
		"net.rtt_p99":            {host, 1.4},
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

func TestPathFiguresNameThePathThatIsMissing(t *testing.T) {
	r := measured()
	r.Series = r.Series[:2]
	if _, err := pathFigures(r, "", ""); err == nil || !strings.Contains(err.Error(), overlay) {
		t.Errorf("got %v", err)
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
			if took, err := successor(t.Context(), node, router, c.arrived); err != nil || took != time.Second {
				t.Errorf("got %v, %v, want 1s", took, err)
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
