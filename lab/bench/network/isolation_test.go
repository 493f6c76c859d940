package network

import (
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/lab/bench/gotest"
)

func TestIsolationsFiguresAreReadFromTheBenchmarks(t *testing.T) {
	const out = `BenchmarkIsolation/plain-0-2 1 10.0 Gbit/s 10.0 off-Gbit/s 1.0 rtt÷off 1.0 ÷off
BenchmarkIsolation/plain-10-2 1 9.9 Gbit/s 10.0 off-Gbit/s 1.0 rtt÷off 0.991 ÷off
BenchmarkIsolation/plain-1000-2 1 9.8 Gbit/s 10.0 off-Gbit/s 1.0 rtt÷off 0.981 ÷off
BenchmarkIsolation/bpf-10-2 1 12.0 Gbit/s 12.0 off-Gbit/s 1.0 rtt÷off 1.001 ÷off
BenchmarkIsolation/bpf-1000-2 1 12.0 Gbit/s 12.0 off-Gbit/s 1.0 rtt÷off 1.002 ÷off
BenchmarkPolicy/change-2 20 30000000 ns/op
`
	lines, err := gotest.Parse(strings.NewReader(out), 2)
	if err != nil {
		t.Fatal(err)
	}
	figures, err := isolationFigures(lines)
	if err != nil || len(figures) != 4 || figures[0].Name != "net.isolation" || *figures[0].Ratio != 0.981 {
		t.Errorf("got %+v, %v", figures, err)
	}
	policy, err := policyFigures(lines)
	if err != nil || len(policy) != 1 || policy[0].Ours != 80 {
		t.Errorf("got %+v, %v", policy, err)
	}
	if _, err := isolationFigures(lines[:1]); err == nil {
		t.Error("a missing line is not said")
	}
}
