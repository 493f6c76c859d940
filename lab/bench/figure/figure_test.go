package figure

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		name    string
		samples []float64
		q, want float64
	}{
		{"the middle of three is the second in order", []float64{9, 1, 4}, 0.5, 4},
		{"the middle of four is between two", []float64{4, 1, 3, 2}, 0.5, 2.5},
		{"one sample is every quantile", []float64{7}, 0.99, 7},
		{"0 is the least", []float64{3, 1, 2}, 0, 1},
		{"1 is the most", []float64{3, 1, 2}, 1, 3},
		{"more than 1 is the most too", []float64{3, 1, 2}, 1.5, 3},
		{"a quarter of five", []float64{5, 4, 3, 2, 1}, 0.25, 2},
		{"p99 of 0..100", upTo(101), 0.99, 99},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Quantile(c.samples, c.q); got != c.want {
				t.Errorf("Quantile(%v, %v) = %v, want %v", c.samples, c.q, got, c.want)
			}
		})
	}
	if got := Quantile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v, want NaN", got)
	}
}

func upTo(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = float64(i)
	}
	return all
}

func TestQuantileLeavesTheSamplesInTheirOrder(t *testing.T) {
	samples := []float64{3, 1, 2}
	Median(samples)
	if !reflect.DeepEqual(samples, []float64{3, 1, 2}) {
		t.Errorf("samples are now %v", samples)
	}
}

func TestPairedTakesTheRatioOfEachRound(t *testing.T) {
	// The machine got ten times slower in the third round, for both: the medians' ratio would be 0.5 or worse.
	f, err := Paired("net.throughput", "Gbit/s", []float64{8, 9, 0.8}, "host", []float64{10, 10, 1}, "cubic")
	if err != nil {
		t.Fatal(err)
	}
	if *f.Ratio != 0.8 || f.Ours != 8 || *f.Peer != 10 || f.Runs != 3 {
		t.Errorf("got %+v with ratio %v and peer %v", f, *f.Ratio, *f.Peer)
	}
	if want := "cubic; ratio a round, quartiles 0.80-0.85"; f.Note != want {
		t.Errorf("note %q, want %q", f.Note, want)
	}
}

func TestPairedRefusesRoundsWithoutAPair(t *testing.T) {
	for _, c := range []struct{ ours, peer []float64 }{{nil, nil}, {[]float64{1}, []float64{1, 2}}} {
		if _, err := Paired("x", "s", c.ours, "host", c.peer, ""); err == nil {
			t.Errorf("%v beside %v was taken", c.ours, c.peer)
		}
	}
}

func TestLinesHaveTheKeysOfTheContract(t *testing.T) {
	var out bytes.Buffer
	alone := Alone("ipam.memory_ops", "decisions/s", 2.5e6, 3, "64 <callers>")
	beside := Beside("net.rtt_p50", "us", 44, "host", 40, 50, "")
	if err := WriteLines(&out, []Figure{alone, beside}); err != nil {
		t.Fatal(err)
	}
	want := `{"name":"ipam.memory_ops","unit":"decisions/s","ours":2500000,"peer":null,"peer_name":"","ratio":null,"runs":3,"note":"64 <callers>"}
{"name":"net.rtt_p50","unit":"us","ours":44,"peer":40,"peer_name":"host","ratio":1.1,"runs":50,"note":""}
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	var back Figure
	if err := json.Unmarshal([]byte(strings.Split(out.String(), "\n")[1]), &back); err != nil || !reflect.DeepEqual(back, beside) {
		t.Errorf("read back as %+v, %v", back, err)
	}
}

func TestLinesRefuseWhatWasNotMeasured(t *testing.T) {
	half := Alone("a", "s", 1, 1, "")
	half.PeerName = "host"
	for name, f := range map[string]Figure{
		"a ratio by zero":     Beside("a", "s", 1, "host", 0, 1, ""),
		"nothing at all":      Alone("a", "s", math.NaN(), 1, ""),
		"no run":              Alone("a", "s", 1, 0, ""),
		"no name":             Alone("", "s", 1, 1, ""),
		"a peer's name alone": half,
	} {
		if err := WriteLines(&bytes.Buffer{}, []Figure{f}); err == nil {
			t.Errorf("%s was written: %+v", name, f)
		}
	}
}

func TestTableShowsADashWithoutAPeer(t *testing.T) {
	var out bytes.Buffer
	if err := WriteTable(&out, []Figure{Alone("a.b", "ms", 1234567, 1, ""), Beside("c", "s", 0.12345, "overlay", 0.5, 7, "why")}); err != nil {
		t.Fatal(err)
	}
	want := `figure  ours     peer  unit  ratio  runs  peer is  note
a.b     1234567  -     ms    -      1              
c       0.1235   0.5   s     0.247  7     overlay  why
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestSpreadSaysTheExtremes(t *testing.T) {
	f, err := Spread("net.announce_ms", "ms", Milliseconds([]time.Duration{time.Second, 3 * time.Millisecond, 1500 * time.Microsecond}), "n1")
	if err != nil || f.Ours != 3 || f.Note != "n1; median; quartiles 2.25-501.5, least 1.5, most 1000" {
		t.Errorf("got %+v, %v", f, err)
	}
	if _, err := Spread("x", "ms", nil, ""); err == nil {
		t.Error("a figure of no sample was made")
	}
}
