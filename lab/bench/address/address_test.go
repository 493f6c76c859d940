package address

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/bench/figure"
	"github.com/rolling-swarm/rolling/lab/bench/gotest"
	"github.com/rolling-swarm/rolling/lab/bench/site"
)

const output = `BenchmarkPairEmpty-2 1000 1000 ns/op 200000 decisions/s
BenchmarkPairFull-2 1000 1000 ns/op 150000 decisions/s
BenchmarkBytesPerLease-2 1 100 ns/op 260 B/lease
BenchmarkDurable-2 500 100 ns/op 2 ms/p50 1 ms/fsync_p50 2 x/p50 9 ms/p99 6 ms/fsync_p99 1.5 x/p99
BenchmarkDurable64-2 500 100 ns/op 9000 decisions/s
BenchmarkOpen10k-2 10 31000000 ns/op
BenchmarkLibnetwork-2 1000 1000 ns/op 400000 decisions/s
BenchmarkHostLocal-2 500 1000 ns/op 0.5 ms/call
`

func TestRoomFiguresBearTheNamesOfTheContract(t *testing.T) {
	lines, err := gotest.Parse(strings.NewReader(output), 2)
	if err != nil {
		t.Fatal(err)
	}
	figures, err := roomFigures(lines)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]figure.Figure{}
	for _, f := range figures {
		found[f.Name] = f
		if err := f.Check(); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]float64{"ipam.memory_ops": 200000, "ipam.full": 150000, "ipam.durable_p50": 2, "ipam.durable_p99": 9,
		"ipam.durable_ops_64": 9000, "ipam.restore_10k_ms": 31, "ipam.libnetwork": 200000, "ipam.hostlocal": 2, "ipam.bytes_per_lease": 260} {
		if f, ok := found[name]; !ok || f.Ours < want-1e-9 || f.Ours > want+1e-9 {
			t.Errorf("%s is %v, want %v", name, f.Ours, want)
		}
	}
	if f := found["ipam.durable_p99"]; f.Ratio == nil || *f.Ratio != 1.5 || f.PeerName != "one fsync" {
		t.Errorf("got %+v", f)
	}
	if f := found["ipam.libnetwork"]; f.Ratio == nil || *f.Ratio != 0.5 {
		t.Errorf("got %+v", f)
	}
	if f := found["ipam.hostlocal"]; f.Ratio == nil || *f.Ratio != 4 {
		t.Errorf("got %+v", f)
	}
	if f := found["ipam.full"]; f.Ratio == nil || *f.Ratio != 0.75 {
		t.Errorf("got %+v", f)
	}
}

func TestRoomFiguresNameTheBenchmarkThatIsGone(t *testing.T) {
	lines, err := gotest.Parse(strings.NewReader(strings.ReplaceAll(output, "Open10k", "Open20k")), 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := roomFigures(lines); err == nil || !strings.Contains(err.Error(), "Open10k") {
		t.Errorf("got %v", err)
	}
}

func TestCallFigures(t *testing.T) {
	ms := func(n ...int) (out []time.Duration) {
		for _, v := range n {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	got := times{request: ms(4, 6, 8), release: ms(5, 5, 5), fsync: ms(2, 3, 4)}.figures()
	if len(got) != 2 || got[0].Name != "ipam.call_p50" || got[0].Ours != 6 || *got[0].Ratio != 2 || got[0].Runs != 3 || !strings.HasSuffix(got[0].Note, "5 ms") {
		t.Errorf("got %+v", got)
	}
	if got[1].Name != "ipam.call_p99" || got[1].Ours <= 6 || got[1].Ours > 8 {
		t.Errorf("got %+v", got[1])
	}
}

func TestLastIsTheLatestTask(t *testing.T) {
	a, b := time.Unix(10, 0), time.Unix(20, 0)
	if got := last([]site.Task{{Since: a}, {Since: b}, {Since: a}}); !got.Equal(b) {
		t.Errorf("got %v, want %v", got, b)
	}
}

func TestFsyncLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s, err := newFsync(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 300 { // more than the file has pages
		if took, err := s.sync(); err != nil || took <= 0 {
			t.Fatal(took, err)
		}
	}
	if at, err := s.f.Stat(); err != nil || at.Size() != 256*page {
		t.Errorf("the file has %d bytes, %v: want %d", at.Size(), err, 256*page)
	}
	s.remove()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
