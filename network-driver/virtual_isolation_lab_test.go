//go:build lab

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/lan"
)

// A virtual address is its project's: who may connect to the containers behind it may by it, and nobody else. None of the
// callers' own namespaces knows the address here, as that of a container of another network does not.
func TestAVirtualAddressIsOpenToWhomItsContainersAre(t *testing.T) {
	paths(t, func(t *testing.T, path string) {
		w := newTown(t, "ROLLING_FASTPATH="+path)
		v := place{address: "10.210.0.99"}
		for _, r := range w.nodes {
			r.engine.serve("net00000000000000000000000", fmt.Sprintf(`{"web":{"VIP":%q,"Tasks":[{"EndpointID":%q,"EndpointIP":"10.210.0.2"}]}}`, v.address, endpointID(11)))
		}
		lan.Eventually(t, 20*time.Second, "the other node routes the virtual address to its container's", func() error {
			if got, want := roads(w.nodes[0].space), v.address+" via "+nodeAddress(2); !strings.Contains(got, want) {
				return fmt.Errorf("it has %q, want %q", got, want)
			}
			return nil
		})
		w.outside.space.Must("ip route add " + v.address + "/32 via " + nodeAddress(2))
		asks := func(when string, from place, port string, want bool) {
			t.Helper()
			within := 700 * time.Millisecond
			if want {
				within = 10 * time.Second
			}
			if err := from.reaches(v, port, within); (err == nil) != want {
				t.Errorf("%s: from %s by port %s: %v, want %t", when, from, port, err, want)
			}
		}
		for i := range w.nodes {
			asks("without a policy", w.at("payments", i), "8080", false)
			asks("without a policy", w.at("public", i), "8080", false)
			asks("without a policy", w.at("orders", i), "8080", true)
			asks("without a policy", w.at("", i), "8080", true)
		}
		asks("without a policy", w.outside, "8080", true)
		w.lay(map[string]string{"orders": "payments:8080"})
		for i := range w.nodes {
			asks("with a port open", w.at("payments", i), "8080", true)
			asks("with a port open", w.at("payments", i), "9090", false)
		}
		w.lay(map[string]string{"orders": "payments", "payments": "orders"})
		for i := range w.nodes {
			asks("with all open", w.at("payments", i), "9090", true)
		}
		w.lay(nil)
		for i := range w.nodes {
			asks("closed again", w.at("payments", i), "8080", false)
		}
		for _, from := range []place{w.at("", 0), w.outside} {
			if out, err := from.space.Try("busybox ping -c 2 -W 5 " + v.address); err != nil {
				t.Errorf("%s does not hear an echo: %s", from, out)
			}
		}
	})
}
