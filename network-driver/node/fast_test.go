package node_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// carried is what the fast path knows, a line each.
func carried(h *host) string {
	var lines []string
	for _, l := range strings.Split(h.kernel.String(), "\n") {
		if rest, fast := strings.CutPrefix(l, "fast "); fast {
			lines = append(lines, rest)
		}
	}
	return strings.Join(lines, "\n")
}

func TestTheFastPathFollowsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		if err := h.kernel.Roads().Add(kerneltest.Road("10.210.3.77", "10.98.0.9")); err != nil { // from an earlier life
			t.Fatal(err)
		}
		h.kernel.Remember(netip.MustParseAddr("10.210.3.77"), isolation.Anyone)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		see := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := carried(h); got != strings.Join(want, "\n") {
				t.Errorf("%s it knows\n%s\nwant\n%s", when, got, strings.Join(want, "\n"))
			}
		}
		const far9, far77 = "far 10.210.3.9", "far 10.210.3.77"
		here := "rla1000000000 10.210.3.7 group 1 from [10.210.3.7]"
		see("without a container")
		for _, s := range life()[:3] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		see("as soon as it has joined, also of routes that an earlier run left", far77, here)
		h.Learn(ctx, []topology.Route{kerneltest.Told("10.210.3.9", "10.98.0.22")})
		see("as soon as a route is learnt", far77, far9, here)
		h.Settle(ctx)
		see("once the fabric is known", far9, here)

		h.kernel.Rules(1)
		time.Sleep(10 * time.Second)
		see("while rules of others must see all", "rla1000000000 10.210.3.7 group 0 from [10.210.3.7]")
		h.Learn(ctx, []topology.Route{kerneltest.Told("10.210.3.10", "10.98.0.22")})
		see("and of a route learnt meanwhile", "rla1000000000 10.210.3.7 group 0 from [10.210.3.7]")
		if r, err := h.Report(ctx); err != nil || !strings.Contains(r.FastPath.Idle, "1 rules of others") {
			t.Errorf("it says %+v, %v", r.FastPath, err)
		}
		h.kernel.Rules(0)
		time.Sleep(10 * time.Second)
		see("when they have gone", "far 10.210.3.10", far9, here)

		h.kernel.Break(func(effect string) error {
			if effect == "learn fast path" || effect == "set fast path" {
				return errors.New("the map is full")
			}
			return nil
		})
		h.Learn(ctx, []topology.Route{{Prefix: kerneltest.Road("10.210.3.9", "10.98.0.22").Prefix}})
		if r, err := h.Report(ctx); err != nil || !strings.Contains(r.Problems["fast path"], "full") {
			t.Errorf("a failure is not said: %+v, %v", r.Problems, err)
		}
		h.kernel.Break(nil)
		time.Sleep(3 * time.Second)
		see("after it was tried again", "far 10.210.3.10", here)
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Fatal(err)
		}
		see("after the last container")
	})
}
