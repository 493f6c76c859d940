//go:build lab

package probe_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
	"github.com/rolling-swarm/rolling/network-driver/liveness"
	"github.com/rolling-swarm/rolling/network-driver/probe"
)

// heard collects verdicts.
type heard struct {
	mu  sync.Mutex // guards all
	all []string
}

func (h *heard) take(verdicts []liveness.Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range verdicts {
		h.all = append(h.all, fmt.Sprintf("%s %t", v.Address, v.Alive))
	}
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprint(h.all)
}

// asks runs a prober on a loopback address.
func asks(t *testing.T, self netip.Addr, neighbours, routers []netip.Addr) (*probe.Prober, *heard, func()) {
	t.Helper()
	p := probe.New(probe.Settings{Echo: liveness.Settings{Every: 50 * time.Millisecond, Misses: 4}, BFD: 50 * time.Millisecond, Multiplier: 20, BFDPort: 3784}, slog.New(slog.DiscardHandler))
	p.Meet(self, neighbours, routers)
	ctx, cancel := context.WithCancel(context.Background())
	h := &heard{}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, h.take) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return p, h, stop
}

func TestKernelsAnswerAndRoutersAreTold(t *testing.T) {
	one, two := netip.MustParseAddr("127.0.90.1"), netip.MustParseAddr("127.0.90.2")
	nobody := netip.MustParseAddr("198.51.100.77")
	p, h, _ := asks(t, one, []netip.Addr{two, nobody}, []netip.Addr{two})
	q, _, stop := asks(t, two, nil, []netip.Addr{one})
	lan.Eventually(t, 10*time.Second, "the kernel of one answers, the other's not", func() error {
		if got := fmt.Sprint(h); got != "[127.0.90.2 true]" {
			return fmt.Errorf("told %s", got)
		}
		if s := p.Seen(); len(s.Nodes) != 2 || s.Nodes[0].State != "alive" || s.Nodes[1].State != "unanswered" || len(s.Problems) != 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	bfd := func(of *probe.Prober, want string) func() error {
		return func() error {
			if s := of.Seen(); len(s.Routers) != 1 || s.Routers[0].State != want {
				return fmt.Errorf("%+v, want %s", s.Routers, want)
			}
			return nil
		}
	}
	lan.Eventually(t, 10*time.Second, "BFD is up", bfd(p, "up"))
	lan.Eventually(t, 10*time.Second, "at both ends", bfd(q, "up"))
	stop()
	lan.Eventually(t, 10*time.Second, "an end on purpose is told", bfd(p, "down"))

	taken, _, _ := asks(t, one, nil, []netip.Addr{two}) // a BFD daemon of the site has the port
	lan.Eventually(t, 10*time.Second, "it is said that it is not served", func() error {
		if s := taken.Seen(); s.Problems["bfd"] == "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if got := fmt.Sprint(h); got != "[127.0.90.2 true]" {
		t.Errorf("told %s", got)
	}
	p.Meet(netip.Addr{}, nil, nil) // the node leaves the Swarm
	lan.Eventually(t, 10*time.Second, "the port is free again", bfd(taken, "down"))
}
