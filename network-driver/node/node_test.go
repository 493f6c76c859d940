package node_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/kernel/kerneltest"
	"github.com/rolling-swarm/rolling/network-driver/node"
	"github.com/rolling-swarm/rolling/network-driver/state"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

var (
	net1 = topology.Network{ID: "n1", Pool: netip.MustParsePrefix("10.210.3.0/24"), Gateway: netip.MustParseAddr("169.254.1.1")}
	e1   = topology.Endpoint{ID: "a10000000000000", Network: "n1", Address: netip.MustParseAddr("10.210.3.7")}
	e2   = topology.Endpoint{ID: "b20000000000000", Network: "n1", Address: netip.MustParseAddr("10.210.3.8")}
)

// announced remembers the last word to the fabric.
type announced struct {
	mu   sync.Mutex // guards the rest
	last []netip.Addr
	told []fabric.Announcement
}

func (a *announced) all() []fabric.Announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.told
}

func (a *announced) Stand(topology.Uplink) {}

func (a *announced) Announce(told []fabric.Announcement) {
	var own []netip.Addr
	for _, t := range told {
		own = append(own, t.Address)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last, a.told = own, slices.Clone(told)
}

func (a *announced) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprint(a.last)
}

// faults makes the nth effect fail, and, when it is a crash, all that follow.
type faults struct {
	mu    sync.Mutex // guards all below
	at    int        // from 1; 0: never
	crash bool
	count int
}

var errBroken = errors.New("broken on purpose")

func (f *faults) effect(string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.at > 0 && (f.count == f.at || f.crash && f.count > f.at) {
		return errBroken
	}
	return nil
}

// store is the real file, behind the same faults.
type store struct {
	*state.File
	faults *faults
}

func (s store) Save(c topology.Change) error {
	if err := s.faults.effect("save"); err != nil {
		return err
	}
	return s.File.Save(c)
}

// host is one node over all lives of its plugin.
type host struct {
	t       *testing.T
	kernel  *kerneltest.Fake
	l2      *kerneltest.FakeL2
	fabric  *announced
	path    string
	routers []topology.Router
	members topology.Membership
	places  places
	log     *slog.Logger // nil: none

	*node.Node
	file *state.File
	stop func()
}

func newHost(t *testing.T) *host {
	return &host{t: t, kernel: kerneltest.NewFake(), l2: kerneltest.NewFakeL2(), fabric: &announced{}, path: filepath.Join(t.TempDir(), "net.db")}
}

// live is one life of the plugin's process.
func (h *host) live(f *faults) {
	h.t.Helper()
	file, err := state.Open(h.path)
	if err != nil {
		h.t.Fatal(err)
	}
	s, m, err := file.Load()
	if err != nil {
		h.t.Fatal(err)
	}
	if h.members.Self.IsValid() {
		m = h.members
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.file = file
	h.Node = node.New(node.Parts{
		Wires: h.kernel.Wires(), Gate: h.kernel.Gate(), Roads: h.kernel.Roads(), Fast: h.kernel.Fast(), Announcer: h.fabric, Balancer: &h.places,
		Isolation: node.Isolation{Wall: h.kernel.Wall(), Outside: true},
		L2:        h.l2.Edges(), Doors: h.l2.Doors(), Routers: h.routers, Log: cmp.Or(h.log, slog.New(slog.DiscardHandler)), Now: time.Now,
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = h.Run(ctx)
	}()
	h.stop = func() {
		cancel()
		<-ended
		if err := file.Close(); err != nil {
			h.t.Error(err)
		}
	}
	h.kernel.Break(nil)
	if _, err := h.Begin(ctx, node.Beginning{Store: store{file, f}, State: s, Membership: m, Fresh: file.Fresh}); err != nil {
		h.t.Fatal(err)
	}
	h.kernel.Break(f.effect)
	f.mu.Lock()
	f.count = 0
	f.mu.Unlock()
}

type step struct {
	name string
	do   func(context.Context, *host) error
}

// life is a container's, as the engine tells it.
func life() []step {
	return []step{
		{"create network", func(ctx context.Context, h *host) error { return h.AddNetwork(ctx, net1) }},
		{"create endpoint", func(ctx context.Context, h *host) error { _, _, err := h.AddEndpoint(ctx, e1); return err }},
		{"join", func(ctx context.Context, h *host) error {
			_, err := h.Join(ctx, "n1", e1.ID, "/netns/1")
			return err
		}},
		{"the engine moves the interface", func(_ context.Context, h *host) error {
			h.kernel.Carry(topology.HostEnd(e1.ID))
			return nil
		}},
		{"leave", func(ctx context.Context, h *host) error { return h.Leave(ctx, "n1", e1.ID) }},
		{"delete endpoint", func(ctx context.Context, h *host) error { return h.RemoveEndpoint(ctx, "n1", e1.ID) }},
		{"delete network", func(ctx context.Context, h *host) error { return h.RemoveNetwork(ctx, "n1") }},
	}
}

// whole says that kernel and announcements are what the state says, or soon will be: an address is announced when its
// container has it.
func whole(h *host) error {
	err := wholeNow(h)
	for range 100 {
		if err == nil {
			break
		}
		time.Sleep(lookAgain)
		err = wholeNow(h)
	}
	return err
}

const lookAgain = 10 * time.Millisecond

func wholeNow(h *host) error {
	r, err := h.Report(context.Background())
	if err != nil {
		return err
	}
	var want, own []string
	for _, e := range r.Endpoints {
		if e.Phase == topology.Joined {
			want = append(want, "link "+topology.HostEnd(e.ID)+" "+e.Address.String())
			own = append(own, e.Address.String())
		}
	}
	var got []string
	for _, l := range strings.Split(h.kernel.String(), "\n") {
		if strings.HasPrefix(l, "link") {
			got = append(got, strings.Join(strings.Fields(l)[:3], " "))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("kernel has %v, state wants %v", got, want)
	}
	if got := h.fabric.String(); got != "["+strings.Join(own, " ")+"]" {
		return fmt.Errorf("announced %s, state has %v", got, own)
	}
	return nil
}

func TestACallThatFailsAtAnyEffectSucceedsWhenRepeated(t *testing.T) {
	for _, c := range []struct {
		name  string
		crash bool
	}{{"an effect fails once", false}, {"the plugin is killed before an effect", true}} {
		t.Run(c.name, func(t *testing.T) {
			failed := 0
			for at := 1; at <= 30; at++ {
				h := newHost(t)
				f := &faults{at: at, crash: c.crash}
				h.live(f)
				for _, s := range life() {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					err := s.do(ctx, h)
					if err != nil {
						failed++
						if c.crash {
							h.stop()
							h.live(&faults{})
							if err := whole(h); err != nil {
								t.Fatalf("effect %d, killed in %s: after the restart: %v", at, s.name, err)
							}
						}
						if err := s.do(ctx, h); err != nil && (!c.crash || !gone(err)) {
							t.Fatalf("effect %d: %s repeated: %v", at, s.name, err)
						}
					}
					cancel()
				}
				if c.crash { // the last call may have answered, and the kill come before its last effect
					h.stop()
					h.live(&faults{})
				}
				h.kernel.Break(nil)
				// After a start the kernel is made to agree step by step, while calls are served.
				for deadline := time.Now().Add(5 * time.Second); c.crash && h.kernel.String() != "" && time.Now().Before(deadline); {
					time.Sleep(time.Millisecond)
				}
				// A rule that could not be removed is removed at the next beat.
				if got := h.kernel.String(); got != "" && (c.crash || !strings.HasPrefix(got, "accept")) {
					t.Fatalf("effect %d: at the end the kernel has %q", at, got)
				}
				h.stop()
			}
			if failed < 8 {
				t.Errorf("only %d effects were made to fail: the test does not reach them", failed)
			}
		})
	}
}

// gone: after a kill the plugin no longer knows that it removed the very thing.
func gone(err error) bool { return strings.Contains(err.Error(), "is not known on this node") }

func TestTakingAwayTwiceIsTakingAwayOnce(t *testing.T) {
	h := newHost(t)
	h.live(&faults{})
	defer func() { h.stop() }()
	ctx := context.Background()
	for _, s := range life() {
		for range 2 {
			if err := s.do(ctx, h); err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
		}
	}
	if got := h.kernel.String(); got != "" {
		t.Errorf("at the end the kernel has %q", got)
	}
	for name, err := range map[string]error{
		"leave":           h.Leave(ctx, "n1", "never"),
		"delete endpoint": h.RemoveEndpoint(ctx, "n1", "never"),
		"delete network":  h.RemoveNetwork(ctx, "never"),
	} {
		if err == nil || !gone(err) {
			t.Errorf("%s of what was never there = %v, want an error that says so", name, err)
		}
	}
}

func TestAnEndpointWhoseLinkHasGoneIsWithdrawnAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		for _, s := range life()[:4] {
			if err := s.do(ctx, h); err != nil {
				t.Fatal(err)
			}
		}
		h.kernel.End(topology.HostEnd(e1.ID))
		time.Sleep(3 * time.Second)
		if got := h.fabric.String(); got != "[]" {
			t.Errorf("3 s later it announces %s", got)
		}
		if r, err := h.Report(ctx); err != nil || len(r.Endpoints) != 1 || r.Endpoints[0].Phase != topology.Lost {
			t.Errorf("3 s later: %+v, %v", r.Endpoints, err)
		}
		time.Sleep(12 * time.Second)
		if r, err := h.Report(ctx); err != nil || len(r.Endpoints) != 0 || r.Counts.Orphans != 1 {
			t.Errorf("15 s later: %+v, %v", r, err)
		}
		if err := h.Leave(ctx, "n1", e1.ID); err != nil {
			t.Errorf("a late Leave: %v", err)
		}
		if s, _, err := h.file.Load(); err != nil || len(s.Endpoints) != 0 {
			t.Errorf("on disk: %+v, %v", s, err)
		}
	})
}

func TestABusyNodeAnswersInTimeAndNeverBeginsWhatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		h.live(&faults{})
		defer func() { h.stop() }()
		ctx := context.Background()
		if err := h.AddNetwork(ctx, net1); err != nil {
			t.Fatal(err)
		}
		for _, e := range []topology.Endpoint{e1, e2} {
			if _, _, err := h.AddEndpoint(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		stuck := make(chan struct{})
		h.kernel.Break(func(effect string) error {
			if effect == "plug" {
				<-stuck
			}
			return nil
		})
		two := func() (context.Context, context.CancelFunc) {
			return context.WithTimeoutCause(ctx, 2*time.Second, errors.New("no answer within 2s"))
		}
		begun := time.Now()
		first, cancel := two()
		defer cancel()
		if _, err := h.Join(first, "n1", e1.ID, ""); err == nil || !strings.Contains(err.Error(), "no answer within 2s: it goes on") {
			t.Errorf("a join that hangs in the kernel: %v", err)
		}
		second, cancel := two()
		defer cancel()
		if _, err := h.Join(second, "n1", e2.ID, ""); err == nil || !strings.Contains(err.Error(), "no answer within 2s: try again") {
			t.Errorf("a join behind it: %v", err)
		}
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("the answers took %v", took)
		}
		close(stuck)
		time.Sleep(time.Second)
		if got := h.kernel.String(); strings.Contains(got, e2.Address.String()) || !strings.Contains(got, e1.Address.String()) {
			t.Errorf("the kernel has %q, want what was begun and not what was not", got)
		}
	})
}

func TestNothingIsServedBeforeTheStateIsKnown(t *testing.T) {
	h := newHost(t)
	n := node.New(node.Parts{Wires: h.kernel.Wires(), Gate: h.kernel.Gate(), Roads: h.kernel.Roads(), Fast: h.kernel.Fast(), Isolation: node.Isolation{Wall: h.kernel.Wall()}, Announcer: h.fabric, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go n.Run(ctx) //nolint:errcheck // always nil
	if err := n.AddNetwork(ctx, net1); err == nil || !strings.Contains(err.Error(), "still reading its state") {
		t.Errorf("AddNetwork = %v", err)
	}
	if err := n.Refuse(ctx, errors.New("a newer plugin wrote it")); err != nil {
		t.Fatal(err)
	}
	if err := n.AddNetwork(ctx, net1); err == nil || err.Error() != "a newer plugin wrote it" {
		t.Errorf("AddNetwork = %v", err)
	}
	if r, err := n.Report(ctx); err != nil || r.Ready || r.Refused == "" {
		t.Errorf("Report = %+v, %v", r, err)
	}
}
