package main

import (
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/ledger"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// listensWithin is well below the half second after which the engine dials for the first time.
const listensWithin = 300 * time.Millisecond

// tenThousand lays a ledger of that many leases into the state's folder.
func tenThousand(t *testing.T, state string) {
	t.Helper()
	f, _, err := ledger.Open(state, time.Now(), func(pool.Records) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	book := pool.New(pool.DefaultPolicy())
	terms, err := pool.ReadTerms(pool.Global, "10.201.0.0/16", "", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	g, c, err := book.RequestPool(time.Now(), terms)
	wait := f.Add(c)
	for range 10_000 {
		if err != nil {
			t.Fatal(err)
		}
		_, c, err = book.RequestAddress(time.Now(), g.Key, netip.Addr{})
		wait = f.Add(c)
	}
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// The engine disables a plugin that is not there when it dials. Neither a large ledger nor an engine that takes questions
// and answers none, as one does that starts and waits for its plugins, keeps the plugin from listening. The machine may be
// busy, so the best of some starts counts.
func TestThePluginListensAtOnceWhateverItHasToReadAndAsk(t *testing.T) {
	folder := t.TempDir()
	tenThousand(t, filepath.Join(folder, "s"))
	mute, err := net.Listen("unix", filepath.Join(folder, "docker.sock")) // the kernel takes connections, nobody else does
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	best := time.Hour
	for range 20 {
		begun := time.Now()
		p := start(t, folder, "ROLLING_ENGINE=unix://"+filepath.Join(folder, "docker.sock"))
		p.must("GetCapabilities", nil)
		if best = min(best, time.Since(begun)); best < listensWithin {
			break
		}
		p.kill()
	}
	if best >= listensWithin {
		t.Errorf("it answered %s after its start at best, want less than %s", best, listensWithin)
	}
	t.Logf("answers %s after its start", best.Round(time.Millisecond))
}
