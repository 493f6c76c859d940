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
	j := Job{Modes: []Mode{mode("a", "7998"), mode("b", "7999")}, Rounds: 3, Warmup: 1, Chunk: 1 << 20, Pings: 20, Congestion: "reno", OneCPU: true}
	r, err := j.run(t.Context(), endOf)
	if err != nil {
		t.Fatal(err)
	}
	if r.Congestion != "reno" || len(r.Series) != 2 {
		t.Fatalf("got %+v", r)
	}
	for _, s := range r.Series {
		if len(s.Gbit) != 3 || len(s.P50) != 3 || len(s.P99) != 3 {
			t.Errorf("path %s: %+v, want 3 rounds", s.Name, s)
		}
		for i := range s.P50 {
			if s.Gbit[i] <= 0 || s.P50[i] <= 0 || s.P99[i] < s.P50[i] {
				t.Errorf("path %s, round %d: %v Gbit/s, p50 %v, p99 %v", s.Name, i, s.Gbit[i], s.P50[i], s.P99[i])
			}
		}
	}
}
