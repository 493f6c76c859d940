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
			for _, victim := range []struct {
				name string
				node int
			}{{"a reflector's", 0}, {"a worker's", 1}} {
				seen, err := bothWays(t, boxes, func() error { return f.restart(victim.node) })
				if err != nil {
					t.Fatal(err)
				}
				for i, s := range seen {
					t.Logf("%s: from n%d: %+v", victim.name, i+1, s)
					if s.Longest > longestHole {
						t.Errorf("%s restart: what n%d's container sent was lost for %v (%+v)", victim.name, i+1, s.Longest, s)
					}
				}
			}
		})
	}
}

// bothWays watches from each box the other's address, while f runs.
func bothWays(t *testing.T, boxes []lan.Space, f func() error) (seen [2]prober.Silence, err error) {
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
	err = f()
	close(done)
	all.Wait()
	return seen, errors.Join(err, errs[0], errs[1])
}

// restart kills a node's plugin, starts it a second later, and waits until its sessions are back and have told all.
func (f *mesh) restart(node int) error {
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
	return nil
}
