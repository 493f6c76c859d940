package gotest

import (
	"reflect"
	"strings"
	"testing"
)

const output = `goos: linux
goarch: amd64
pkg: github.com/rolling-swarm/rolling/ipam-driver/pool
cpu: AMD EPYC
BenchmarkPairEmpty-2     	  123456	      9700 ns/op	    206185 decisions/s	     120 B/op	       3 allocs/op
BenchmarkDurable-2       	     500	   2410000 ns/op	         1.500e+00 x/p99
BenchmarkPairEmpty-2     	  100000	     10000 ns/op	    200000 decisions/s
BenchmarkPiece/64-bytes  	     1	   5 ns/op
BenchmarkLoud
    bench_test.go:12: a word of its own
PASS
ok  	github.com/rolling-swarm/rolling/ipam-driver/pool	4.2s
`

func TestParse(t *testing.T) {
	lines, err := Parse(strings.NewReader(output), 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 4 || lines[3].Name != "Piece/64-bytes" || lines[1].N != 500 {
		t.Fatalf("got %+v", lines)
	}
	want := map[string]float64{"ns/op": 9700, "decisions/s": 206185, "B/op": 120, "allocs/op": 3}
	if !reflect.DeepEqual(lines[0].Values, want) {
		t.Errorf("got %v, want %v", lines[0].Values, want)
	}
	got, err := Values(lines, "PairEmpty", "decisions/s")
	if err != nil || !reflect.DeepEqual(got, []float64{206185, 200000}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := Values(lines, "Durable", "x/p99"); err != nil || got[0] != 1.5 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"output without a benchmark": "PASS\nok  	x	1s\n",
		"a value without a unit":     "BenchmarkA-2 10 5 ns/op 7\n",
		"a value that is no number":  "BenchmarkA-2 10 five ns/op\n",
		"a count out of range":       "BenchmarkA-2 99999999999999999999 5 ns/op\n",
	} {
		if lines, err := Parse(strings.NewReader(text), 2); err == nil {
			t.Errorf("%s was read as %+v", name, lines)
		}
	}
}

func TestValuesNamesTheBenchmarkThatIsGone(t *testing.T) {
	if _, err := Values([]Line{{Name: "A", Values: map[string]float64{"ns/op": 1}}}, "A", "B/lease"); err == nil || !strings.Contains(err.Error(), "B/lease") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(output)
	f.Add("BenchmarkA 1 5 ns/op")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := Parse(strings.NewReader(text), 2)
		if err == nil && len(lines) == 0 {
			t.Error("neither a line nor an error")
		}
	})
}
