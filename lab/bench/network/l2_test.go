package network

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

func TestL2FiguresStandBesideTheHost(t *testing.T) {
	var text strings.Builder
	for _, attach := range []string{"bridge", "macvlan"} {
		for _, cpus := range []string{"2cpu", "1cpu"} {
			fmt.Fprintf(&text, "BenchmarkL2/%s/%s-2 \t 1 \t 19.5 Gbit/s \t 20.0 host-Gbit/s \t 60.0 rtt-us \t 1.20 rtt÷host \t 0.96 ÷host\n", attach, cpus)
		}
	}
	lines, err := gotest.Parse(strings.NewReader(text.String()), 2)
	if err != nil {
		t.Fatal(err)
	}
	figures, err := l2Figures(lines)
	if err != nil || len(figures) != 8 {
		t.Fatalf("%d figures, %v; want 8", len(figures), err)
	}
	seen := map[string]bool{}
	for _, f := range figures {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		seen[f.Name] = true
		if f.Name == "net.l2" && (*f.Ratio != 0.96 || *f.Peer != 20) {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range []string{"net.l2", "net.l2.macvlan", "net.l2.1cpu", "net.l2_rtt_p50"} {
		if !seen[name] {
			t.Errorf("%s is missing: %v", name, seen)
		}
	}
	if _, err := l2Figures(lines[1:]); err == nil {
		t.Error("a missing line is not noticed")
	}
}
