//go:build lab

package prober

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

func TestAHoleIsSeenAsLongAsItWas(t *testing.T) {
	l := lan.NewLAN(t)
	one, two := l.Node("n1", "10.98.0.21/24"), l.Node("n2", "10.98.0.22/24")
	watch := func(f func() error) Silence {
		s, err := Watch(t.Context(), namespace.Path(one.Name), netip.MustParseAddr("10.98.0.22"), time.Millisecond, f)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := watch(func() error { time.Sleep(200 * time.Millisecond); return nil }); s.Lost != 0 || s.Sent < 20 {
		t.Errorf("a whole way: %+v", s)
	}
	hole := watch(func() error {
		two.Must("ip link set eth0 down")
		time.Sleep(300 * time.Millisecond)
		two.Must("ip link set eth0 up")
		return nil
	})
	if hole.Longest < 200*time.Millisecond || hole.Lost == 0 {
		t.Errorf("a hole of 300 ms: %+v", hole)
	}
}
