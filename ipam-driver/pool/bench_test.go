package pool

import (
	"net/netip"
	"runtime"
	"testing"
	"time"
)

const benchSubnet = "10.1.0.0/16" // 65,536 addresses

func benchBook(b *testing.B, leased int) (*Book, Key) {
	b.Helper()
	book := New(DefaultPolicy())
	t, err := ReadTerms(Global, benchSubnet, "", false, nil)
	if err != nil {
		b.Fatal(err)
	}
	g, _, err := book.RequestPool(moment(0), t)
	if err != nil {
		b.Fatal(err)
	}
	for range leased {
		if _, _, err := book.RequestAddress(moment(0), g.Key, netip.Addr{}); err != nil {
			b.Fatal(err)
		}
	}
	return book, g.Key
}

// benchPairs takes an address and lets it go; the clock moves so that rests end.
func benchPairs(b *testing.B, leased int) {
	book, key := benchBook(b, leased)
	now := moment(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = now.Add(3 * time.Second)
		p, _, err := book.RequestAddress(now, key, netip.Addr{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := book.ReleaseAddress(now, key, p.Addr()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}

func BenchmarkPairEmpty(b *testing.B) { benchPairs(b, 0) }

func BenchmarkPairFull(b *testing.B) { benchPairs(b, 65_536*999/1000) }

func BenchmarkRestore10k(b *testing.B) {
	book, _ := benchBook(b, 10_000)
	c := book.everything()
	r := Records{Meta: *c.Meta, Shares: c.Shares, Leases: c.Leases}
	b.ResetTimer()
	for range b.N {
		if _, _, err := Restore(moment(1), DefaultPolicy(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkObserve10k(b *testing.B) {
	book, key := benchBook(b, 10_000)
	v := View{Space: Global, Networks: []Network{{Key: key}}}
	for _, l := range book.Leases(moment(0)) {
		v.Holdings = append(v.Holdings, Holding{Key: key, Addr: l.Addr, Owner: Owner{Kind: "task"}})
	}
	b.ResetTimer()
	for i := range b.N {
		v.Began = moment(int64(i))
		book.Observe(moment(int64(i)), v)
	}
}

func BenchmarkBytesPerLease(b *testing.B) {
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		book, _ := benchBook(b, 65_000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/65_000, "B/lease")
		runtime.KeepAlive(book)
	}
}
