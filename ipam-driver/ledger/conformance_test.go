package ledger

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// port is what every ledger offers.
type port interface {
	Add(pool.Change) (wait func() error)
	Owed() int
	Close() error
}

// kind makes a ledger and lets a test see what a restart would find.
type kind struct {
	name   string
	open   func(t *testing.T) port
	reopen func(t *testing.T, l port) (port, pool.Records)
	snap   func(t *testing.T, l port) error // breaks the ledger; the returned error is what calls then show
}

func kinds() []kind {
	return []kind{
		{
			"memory",
			func(*testing.T) port { return NewMemory() },
			func(_ *testing.T, l port) (port, pool.Records) { return l, l.(*Memory).Records() },
			func(_ *testing.T, l port) error {
				err := errors.New("no space left")
				l.(*Memory).Break(err)
				return err
			},
		},
		{
			"bbolt",
			func(t *testing.T) port {
				f, _, err := Open(t.TempDir(), time.Now(), anything)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = f.db.Close() })
				return f
			},
			func(t *testing.T, l port) (port, pool.Records) { // as after a crash: the journal is not brought to bbolt
				f := l.(*File)
				if err := errors.Join(f.db.Close(), f.journal.file.Close()); err != nil {
					t.Fatal(err)
				}
				again, found, err := Open(strings.TrimSuffix(f.path, "/"+FileName), time.Now(), anything)
				if err != nil || found.SetAside != "" {
					t.Fatal(err, found.SetAside, found.Cause)
				}
				t.Cleanup(func() { _ = again.db.Close() })
				return again, found.Records
			},
			func(t *testing.T, l port) error {
				if err := l.(*File).journal.file.Close(); err != nil {
					t.Fatal(err)
				}
				return errors.New("file already closed")
			},
		},
	}
}

func lease(pool_, addr string, share uint32) pool.LeaseRecord {
	return pool.LeaseRecord{Pool: pool_, Addr: netip.MustParseAddr(addr), Share: share, Term: 3, Seen: 2, Seq: 9, Since: 5, Touched: 6, Freed: 7, Until: 8, Node: "n", Resting: true, Gateway: true, Asked: true, Lost: true, Dead: true}
}

func share(id uint32) pool.ShareRecord {
	return pool.ShareRecord{
		ID: id, Key: "g|10.1.0.0/16|", Term: 2, Epoch: 3, Burst: 4, Reign: 5, Networks: 6, Asked: 7, Unsure: 8, ByName: true, Inside: true, Own: true, Offer: "169.254.1.1",
		Gateways: []pool.Gateway{{Addr: netip.MustParseAddr("169.254.1.1"), Touched: 9}}, Blocks: []netip.Addr{netip.MustParseAddr("10.1.0.16")}, Block: 28, Quota: 64,
	}
}

func text(r pool.Records) string {
	var lines []string
	for _, s := range r.Shares {
		lines = append(lines, fmt.Sprintf("%+v", s))
	}
	for _, l := range r.Leases {
		lines = append(lines, fmt.Sprintf("%+v", l))
	}
	slices.Sort(lines)
	plan := ""
	if r.Plan != nil {
		plan = fmt.Sprintf("%+v\n", *r.Plan)
	}
	return fmt.Sprintf("%+v\n", r.Meta) + plan + strings.Join(lines, "\n")
}

func eachKind(t *testing.T, f func(t *testing.T, k kind)) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

func anything(pool.Records) error { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestALedgerGivesBackEveryField(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := k.open(t)
		want := pool.Records{
			Meta: pool.Meta{Epoch: 7, Blind: 8}, Plan: &pool.PlanRecord{Number: 4, Text: `{"version":1}`},
			Shares: []pool.ShareRecord{share(1), share(70_000)},
			Leases: []pool.LeaseRecord{lease("g|10.1.0.0/16", "10.1.0.1", 1), lease("l|10.1.0.0/16", "10.1.0.1", 2)},
		}
		must(t, l.Add(pool.Change{Meta: &want.Meta, Shares: want.Shares, Leases: want.Leases, Plan: want.Plan})())
		if _, got := k.reopen(t, l); text(got) != text(want) {
			t.Fatalf("got\n%s\nwant\n%s", text(got), text(want))
		}
	})
}

func TestTheLaterOfTwoRecordsWins(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := k.open(t)
		first, second := lease("g|p", "10.1.0.1", 1), lease("g|p", "10.1.0.1", 2)
		l.Add(pool.Change{Leases: []pool.LeaseRecord{first}})
		must(t, l.Add(pool.Change{Leases: []pool.LeaseRecord{second}})())
		l, got := k.reopen(t, l)
		if len(got.Leases) != 1 || got.Leases[0].Share != 2 {
			t.Fatalf("got %+v", got.Leases)
		}
		must(t, l.Add(pool.Change{GoneLeases: []pool.LeaseRecord{first}})())
		if _, got := k.reopen(t, l); len(got.Leases) != 0 {
			t.Fatalf("got %+v", got.Leases)
		}
	})
}

func TestRemovingWhatIsNotThereIsNoError(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := k.open(t)
		must(t, l.Add(pool.Change{GoneShares: []uint32{4}, GoneLeases: []pool.LeaseRecord{lease("g|p", "10.1.0.1", 1)}})())
		must(t, l.Add(pool.Change{Shares: []pool.ShareRecord{share(4)}})())
		must(t, l.Add(pool.Change{GoneShares: []uint32{4}})())
		if _, got := k.reopen(t, l); len(got.Shares)+len(got.Leases) != 0 {
			t.Fatalf("got %+v", got)
		}
	})
}

func TestWhatWasWaitedForSurvives(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := k.open(t)
		var group sync.WaitGroup
		for i := range 64 {
			group.Go(func() {
				for j := range 4 {
					a := netip.AddrFrom4([4]byte{10, 1, byte(i), byte(j)})
					if err := l.Add(pool.Change{Leases: []pool.LeaseRecord{{Pool: "g|p", Addr: a, Share: 1}}})(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if _, got := k.reopen(t, l); len(got.Leases) != 256 {
			t.Fatalf("%d leases", len(got.Leases))
		}
	})
}

func TestAFailedTransactionIsToldAndOwed(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		l := k.open(t)
		want := k.snap(t, l)
		err := l.Add(pool.Change{Shares: []pool.ShareRecord{share(1)}})()
		if err == nil || !strings.Contains(err.Error(), want.Error()) {
			t.Fatalf("got %v", err)
		}
		if l.Owed() != 1 {
			t.Fatalf("owed %d", l.Owed())
		}
		if m, ok := l.(*Memory); ok {
			m.Break(nil)
			must(t, l.Add(pool.Change{Shares: []pool.ShareRecord{share(2)}})())
			if got := m.Records(); len(got.Shares) != 2 || l.Owed() != 0 {
				t.Fatalf("got %+v, owed %d", got, l.Owed())
			}
		}
	})
}
