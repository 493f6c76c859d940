package balance_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/balance"
	"github.com/rolling-swarm/rolling/network-driver/state"
	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// kernel keeps the last plan, and may refuse it.
type kernel struct {
	mu     sync.Mutex // guards the rest
	last   string
	times  int
	whole  int
	refuse error
}

func (k *kernel) Set(p vip.Plan, whole bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.times++
	if whole {
		k.whole++
	}
	if k.refuse == nil {
		k.last = fmt.Sprint(p.Boxes, p.Node)
	}
	return k.refuse
}

func (k *kernel) String() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}

// fabric keeps what it was told.
type fabric struct {
	mu   sync.Mutex // guards the rest
	last string
}

func (f *fabric) Serve(_ context.Context, announce map[netip.Addr]topology.NetworkID, watch map[netip.Addr]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = fmt.Sprint(slices.SortedFunc(maps.Keys(announce), netip.Addr.Compare), len(watch))
}

func (f *fabric) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

var (
	one   = netip.MustParseAddr("10.210.3.1")
	two   = netip.MustParseAddr("10.210.3.2")
	web   = vip.Service{Network: "n1", Name: "web", VIP: netip.MustParseAddr("10.210.3.9"), Tasks: []vip.Task{{Endpoint: "e1", Address: one}, {Endpoint: "e2", Address: two}}}
	place = vip.Place{Ready: true, Endpoints: []vip.Endpoint{{ID: "e1", Network: "n1", Address: one, Box: "a"}}, Watched: map[netip.Addr]bool{one: true, two: true, netip.MustParseAddr("10.210.3.9"): true}, Far: map[netip.Addr]bool{two: true}}
)

func say(b *balance.Balancer, all ...vip.Service) {
	b.See(vip.Seen{Services: map[topology.NetworkID][]vip.Service{"n1": all}}, b.Questions())
}

func TestRulesFollowTheEngineAndTheNode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "services.json")
	live := func(do func(b *balance.Balancer, k *kernel, f *fabric)) {
		synctest.Test(t, func(t *testing.T) {
			k, f := &kernel{}, &fabric{}
			b := balance.New(k, state.Services{Path: path}, slog.New(slog.DiscardHandler), time.Now)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- b.Run(ctx, f) }()
			do(b, k, f)
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	live(func(b *balance.Balancer, k *kernel, f *fabric) {
		b.Place(place)
		synctest.Wait()
		if k.times != 0 {
			t.Errorf("before the engine has said a word the rules are made %q", k)
		}
		say(b, web)
		synctest.Wait()
		if got, want := k.String(), "map[a:[{10.210.3.9 [10.210.3.1 10.210.3.2]}]] [{10.210.3.9 [10.210.3.1]}]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if f.String() != "[10.210.3.9] 3" {
			t.Errorf("the fabric is told %s", f)
		}
		p := place
		p.Far = nil
		b.Place(p) // the other's node lost its power
		synctest.Wait()
		if got, want := k.String(), "map[a:[{10.210.3.9 [10.210.3.1]}]] [{10.210.3.9 [10.210.3.1]}]"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		times := k.times
		b.Place(p)
		say(b, web)
		synctest.Wait()
		if k.times != times {
			t.Error("the same again moves the kernel")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if k.whole < 3 {
			t.Errorf("in 20 s the kernel was looked through %d times", k.whole)
		}
	})
	live(func(b *balance.Balancer, k *kernel, f *fabric) { // the next process
		p := place
		p.Watched, p.Far = nil, nil
		b.Place(p)
		synctest.Wait()
		if k.times != 0 || f.String() != "[10.210.3.9] 3" {
			t.Errorf("before the node told of the backends the rules are %s, and the fabric is told %s", k, f)
		}
		b.Place(place)
		synctest.Wait()
		if got, want := k.String(), "map[a:[{10.210.3.9 [10.210.3.1 10.210.3.2]}]] [{10.210.3.9 [10.210.3.1]}]"; got != want {
			t.Errorf("of what the process before knew there is %s", got)
		}
		k.mu.Lock()
		k.refuse = errors.New("no right")
		k.mu.Unlock()
		say(b)
		synctest.Wait()
		if b.Report().Problem != "no right" {
			t.Errorf("the report is %+v", b.Report())
		}
		k.mu.Lock()
		k.refuse = nil
		k.mu.Unlock()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if b.Report().Problem != "" || k.String() != "map[] []" || f.String() != "[] 0" {
			t.Errorf("without a service: %+v, %s, %s", b.Report(), k, f)
		}
	})
}
