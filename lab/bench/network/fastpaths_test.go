package network

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

func TestFastPathFiguresStandBesideTheHost(t *testing.T) {
	var text strings.Builder
	for _, path := range []string{"plain", "plain-local", "nft", "nft-local", "bpf", "bpf-local"} {
		for _, cpus := range []string{"2cpu", "1cpu"} {
			fmt.Fprintf(&text, "BenchmarkPath/%s/%s-2 \t 1 \t 19.5 Gbit/s \t 20.0 host-Gbit/s \t 60.0 rtt-us \t 1.20 rtt÷host \t 0.96 ÷host\n", path, cpus)
		}
	}
	lines, err := gotest.Parse(strings.NewReader(text.String()), 2)
	if err != nil {
		t.Fatal(err)
	}
	figures, err := fastPathFigures(lines)
	if err != nil || len(figures) != 24 {
		t.Fatalf("%d figures, %v; want 24", len(figures), err)
	}
	seen := map[string]bool{}
	for _, f := range figures {
		if err := f.Check(); err != nil {
			t.Error(err)
		}
		seen[f.Name] = true
		if f.Name == "net.throughput.bpf.1cpu" && (*f.Ratio != 0.96 || *f.Peer != 20) {
			t.Errorf("%+v", f)
		}
	}
	if !seen["net.throughput.bpf.1cpu"] || !seen["net.rtt_p50.nft-local"] {
		t.Errorf("names are %v", seen)
	}
	if _, err := fastPathFigures(lines[1:]); err == nil || !strings.Contains(err.Error(), "Path/plain/2cpu") {
		t.Errorf("a path that is missing: %v", err)
	}
}
