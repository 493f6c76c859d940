//go:build lab

package pair

import (
	"fmt"
	"os"
	"testing"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/vishvananda/netlink"
)

func TestPathsAreMeasuredInTurnsInAnotherNamespace(t *testing.T) {
	name := fmt.Sprintf("rpair-%d", os.Getpid())
	if err := namespace.Make(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespace.Remove(name); err != nil {
			t.Error(err)
		}
	})
	space := namespace.Path(name)
	err := namespace.Do(space, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	mode := func(name, port string) Mode {
		return Mode{Name: name, Client: space, Server: space, Listen: "127.0.0.1:" + port, Dial: "127.0.0.1:" + port}
	}
	j := Job{Modes: []Mode{mode("a", "7998"), mode("b", "7999")}, Rounds: 3, Warmup: 1, Chunk: 1 << 20, Pings: 20, Streams: 8, Conns: 10, Packets: 500, Congestion: "reno", OneCPU: true}
	r, err := j.run(t.Context(), endOf)
	if err != nil {
		t.Fatal(err)
	}
	if r.Congestion != "reno" || len(r.Series) != 2 {
		t.Fatalf("got %+v", r)
	}
	for _, s := range r.Series {
		for what, row := range map[string][]float64{"Gbit/s": s.Gbit, "CPU": s.CPU, "p50": s.P50, "p99": s.P99, "Gbit/s of 8": s.Many, "connections": s.Conns, "packets": s.Packets} {
			if len(row) != 3 {
				t.Errorf("path %s: %s %v, want 3 rounds", s.Name, what, row)
			}
			for i, v := range row {
				if v <= 0 {
					t.Errorf("path %s, round %d: %s is %v", s.Name, i, what, v)
				}
			}
		}
		for i := range s.P50 {
			if s.P99[i] < s.P50[i] {
				t.Errorf("path %s, round %d: p50 %v, p99 %v", s.Name, i, s.P50[i], s.P99[i])
			}
		}
		t.Logf("%+v", s)
	}
}
