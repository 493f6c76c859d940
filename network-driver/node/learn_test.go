package node_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func TestLearntRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.members = topology.Membership{Self: netip.MustParseAddr("10.98.0.21"), Managers: []netip.Addr{netip.MustParseAddr("10.98.0.22")}}
		h.routers = []topology.Router{{Address: netip.MustParseAddr("10.98.0.1")}}
		if err := h.kernel.Roads().Add(kerneltest.Road("10.210.3.77", "10.98.0.9")); err != nil { // from an earlier life
			t.Fatal(err)
		}
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		see := func(when string, want ...string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			var got []string
			for _, l := range strings.Split(h.kernel.String(), "\n") {
				if strings.HasPrefix(l, "route") {
					got = append(got, l)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		stale := "route 10.210.3.77/32 via 10.98.0.9"
		there := kerneltest.Road(e1.Address.String(), "10.98.0.22")
		h.Learn(ctx, []topology.Route{
			there, kerneltest.Road("10.210.3.9", "10.98.0.22"),
			kerneltest.Road("10.98.0.22", "10.98.0.23"), kerneltest.Road("10.98.0.1", "10.98.0.23"), kerneltest.Road("10.98.0.21", "10.98.0.23"),
			{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.98.0.22")},
			{Prefix: netip.MustParsePrefix("10.210.0.0/16"), Via: netip.MustParseAddr("10.98.0.22")},
		})
		see("before the fabric settled, with what no neighbour may take", "route 10.210.3.7/32 via 10.98.0.22", stale, "route 10.210.3.9/32 via 10.98.0.22")
		h.Settle(ctx)
		see("after it settled", "route 10.210.3.7/32 via 10.98.0.22", "route 10.210.3.9/32 via 10.98.0.22")
		for _, s := range life()[:4] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		see("while the container is here", "route 10.210.3.9/32 via 10.98.0.22")
		h.Learn(ctx, []topology.Route{there})
		see("while another node claims its address", "route 10.210.3.9/32 via 10.98.0.22")
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		see("after it left", "route 10.210.3.7/32 via 10.98.0.22", "route 10.210.3.9/32 via 10.98.0.22")
		h.Learn(ctx, []topology.Route{{Prefix: there.Prefix}})
		see("after the other withdrew", "route 10.210.3.9/32 via 10.98.0.22")
		h.kernel.Break(func(effect string) error {
			if effect == "add route" {
				return errBroken
			}
			return nil
		})
		h.Learn(ctx, []topology.Route{there})
		see("while the kernel refuses", "route 10.210.3.9/32 via 10.98.0.22")
		if r, err := h.Report(ctx); err != nil || !strings.Contains(r.Problems["routes"], "broken") {
			t.Errorf("the trouble is not shown: %+v, %v", r.Problems, err)
		}
		h.kernel.Break(nil)
		see("when it does not any more", "route 10.210.3.7/32 via 10.98.0.22", "route 10.210.3.9/32 via 10.98.0.22")
		if r, err := h.Report(ctx); err != nil || len(r.Problems) != 0 {
			t.Errorf("the trouble is still shown: %+v, %v", r.Problems, err)
		}
	})
}

func TestWhatWaitsBehindCallsIsNotStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		said := &bytes.Buffer{}
		h.log = slog.New(slog.NewTextHandler(said, nil))
		h.live(&faults{})
		ctx := context.Background()
		if err := h.AddNetwork(ctx, net1); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.AddEndpoint(ctx, e1); err != nil {
			t.Fatal(err)
		}
		stuck := make(chan struct{})
		h.kernel.Break(func(effect string) error {
			if effect == "plug" {
				<-stuck
			}
			return nil
		})
		joined := make(chan error)
		go func() {
			_, err := h.Join(ctx, "n1", e1.ID, "")
			joined <- err
		}()
		synctest.Wait()
		for i := range 100 {
			h.Learn(ctx, []topology.Route{kerneltest.Road(netip.AddrFrom4([4]byte{10, 210, 4, byte(i)}).String(), "10.98.0.22")})
		}
		h.Settle(ctx)
		close(stuck)
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		h.stop()
		if text := said.String(); !strings.Contains(text, "stale ones are removed\" learnt=100") {
			t.Errorf("it took what waited for stale:\n%s", text)
		}
	})
}
