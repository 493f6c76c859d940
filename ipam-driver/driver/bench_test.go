package driver

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"

	"github.com/rolling-swarm/rolling/ipam-driver/ledger"
	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// benchDriver answers from a ledger on disk.
func benchDriver(b *testing.B) (*Driver, string) {
	b.Helper()
	dir := b.TempDir()
	f, _, err := ledger.Open(dir, time.Now(), func(pool.Records) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	d := New(Parts{Aside: func() []string { return nil }, Clock: time.Now, Log: discard()})
	d.begin(Opened{Ledger: f, Book: pool.New(pool.DefaultPolicy())})
	res, err := d.RequestPool(&ipam.RequestPoolRequest{AddressSpace: globalSpace, Pool: "10.0.0.0/12"})
	if err != nil {
		b.Fatal(err)
	}
	return d, res.PoolID
}

func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return float64(took[min(len(took)-1, int(q*float64(len(took))))].Nanoseconds())
}

// BenchmarkDurable compares one decision, kept before it is told, with one bare fsync of 4 KiB in the same folder,
// in turns: a shared disk's moods hit both.
func BenchmarkDurable(b *testing.B) {
	d, key := benchDriver(b)
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		b.Fatal(err)
	}
	var ours, bare []time.Duration
	b.ResetTimer()
	for i := range b.N {
		begun := time.Now()
		if _, err := d.RequestAddress(&ipam.RequestAddressRequest{PoolID: key}); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begun))
		begun = time.Now()
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		bare = append(bare, time.Since(begun))
	}
	for name, q := range map[string]float64{"p50": 0.5, "p99": 0.99} {
		a, s := quantile(ours, q), quantile(bare, q)
		b.ReportMetric(a/1e6, "ms/"+name)
		b.ReportMetric(s/1e6, "ms/fsync_"+name)
		b.ReportMetric(a/s, "x/"+name)
	}
}

// BenchmarkDurable64 is how many decisions 64 callers together get to disk.
func BenchmarkDurable64(b *testing.B) {
	d, key := benchDriver(b)
	b.ResetTimer()
	var group sync.WaitGroup
	for w := range 64 {
		group.Go(func() {
			for i := w; i < b.N; i += 64 {
				if _, err := d.RequestAddress(&ipam.RequestAddressRequest{PoolID: key}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

// BenchmarkOpen10k reads a ledger of 10,000 leases from disk and makes the book of it.
func BenchmarkOpen10k(b *testing.B) {
	dir := b.TempDir()
	book := pool.New(pool.DefaultPolicy())
	terms, err := pool.ReadTerms(pool.Global, "10.1.0.0/16", "", false, nil)
	if err != nil {
		b.Fatal(err)
	}
	f, _, err := ledger.Open(dir, time.Now(), func(pool.Records) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	g, c, err := book.RequestPool(time.Now(), terms)
	if err != nil {
		b.Fatal(err)
	}
	f.Add(c)
	for range 10_000 {
		_, c, err := book.RequestAddress(time.Now(), g.Key, netip.Addr{})
		if err != nil {
			b.Fatal(err)
		}
		f.Add(c)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		n := 0
		f, _, err := ledger.Open(dir, time.Now(), func(r pool.Records) error {
			n = len(r.Leases)
			_, _, err := pool.Restore(time.Now(), pool.DefaultPolicy(), r)
			return err
		})
		if err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
		b.StopTimer()
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
