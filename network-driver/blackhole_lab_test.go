//go:build lab

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/rolling-swarm/rolling/lab/prober"
	"github.com/rolling-swarm/rolling/network-driver/bgp"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// longestHole is the goal for a plugin's restart.
const longestHole = 100 * time.Millisecond

// TestARestartIsNoBlackHole kills a reflector's plugin and a worker's, starts them again, and asks every millisecond, from
// containers of both nodes, whether the other's is there.
func TestARestartIsNoBlackHole(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"bpf", "nft", "off"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			f := layFabric(t, 1, 1, "ROLLING_FASTPATH="+path)
			var boxes []lan.Space
			for i, r := range f.nodes {
				dockersChains(r.space)
				r.start()
				r.createNetwork(net1, "10.210.0.0/16", "169.254.1.1/32")
				boxes = append(boxes, r.container(endpointID(i+1), net1, containerAddress(i+1), fmt.Sprintf("c%d", i+1), 0))
			}
			f.agree(20*time.Second, 1, 2)
			victims := []int{1}
			if path == "bpf" { // what a reflector tells is the same on every path
				victims = []int{0, 1}
			}
			for _, victim := range victims {
				for i, s := range bothWays(t, boxes, func() { f.restart(victim) }) {
					t.Logf("n%d restarts, from n%d: %+v", victim+1, i+1, s)
					if s.Longest > longestHole {
						t.Errorf("n%d restarts: what n%d's container sent was lost for %v (%+v)", victim+1, i+1, s.Longest, s)
					}
				}
			}
		})
	}
}

// bothWays watches from each box the other's address, while f runs.
func bothWays(t *testing.T, boxes []lan.Space, f func()) (seen [2]prober.Silence) {
	t.Helper()
	done := make(chan struct{})
	var errs [2]error
	var all sync.WaitGroup
	for i, b := range boxes {
		all.Go(func() {
			seen[i], errs[i] = prober.Watch(t.Context(), namespace.Path(b.Name), netip.MustParseAddr(containerAddress(2-i)), time.Millisecond, func() error {
				<-done
				return nil
			})
		})
	}
	f()
	close(done)
	all.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return seen
}

// restart kills a node's plugin, starts it a second later, and waits until its sessions are back and have told all.
func (f *mesh) restart(node int) {
	f.t.Helper()
	r := f.nodes[node]
	r.kill()
	time.Sleep(time.Second) // as an engine takes to start it again
	r.start()
	lan.Eventually(f.t, 30*time.Second, "its sessions are back", func() error {
		s := r.state()
		for _, n := range s.Neighbours {
			if n.State != bgp.Established || !n.Heard {
				return fmt.Errorf("session with %s is %s", n.Address, n.State)
			}
		}
		if !s.Settled {
			return errors.New("not settled")
		}
		return nil
	})
}
