package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// disk is both files as a crash would leave them.
type disk struct{ ledger, journal []byte }

func snapshot(t *testing.T, dir string) disk {
	t.Helper()
	l, err := os.ReadFile(filepath.Join(dir, FileName))
	must(t, err)
	j, err := os.ReadFile(filepath.Join(dir, JournalName))
	must(t, err)
	return disk{l, j}
}

func (d disk) open(t *testing.T) (*File, Found) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, FileName), d.ledger, 0o600))
	if d.journal != nil {
		must(t, os.WriteFile(filepath.Join(dir, JournalName), d.journal, 0o600))
	}
	f, found, err := Open(dir, time.Now(), anything)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f, found
}

// TestWhateverACrashLeavesOfTheLastFrameTheOthersAreThere cuts and spoils the last frame at every length.
func TestWhateverACrashLeavesOfTheLastFrameTheOthersAreThere(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(1)}})())
	must(t, f.Add(pool.Change{Leases: []pool.LeaseRecord{lease("g|p", "10.1.0.1", 1)}})())
	before := snapshot(t, dir)
	var last pool.Change
	for i := range byte(40) { // more than a page
		last.Leases = append(last.Leases, lease("g|p", fmt.Sprintf("10.1.1.%d", i), 1))
	}
	from := f.journal.at
	must(t, f.Add(last)())
	to := f.journal.at
	after := snapshot(t, dir)
	must(t, f.Close())
	if to-from < 2*page {
		t.Fatalf("the last frame has %d bytes: want more than a page", to-from)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for cut := from; cut <= to; cut += 1 + r.Int64N(400) {
		for _, noise := range []bool{false, true} {
			d := disk{after.ledger, append(append([]byte(nil), after.journal[:cut]...), before.journal[cut:]...)}
			if noise && cut < to {
				d.journal[cut] ^= 0xff
			}
			_, found := d.open(t)
			if n := len(found.Records.Leases); found.SetAside != "" || len(found.Records.Shares) != 1 || n != 1 && n != 41 {
				t.Fatalf("cut at %d: set aside %q (%v), %d shares, %d leases", cut-from, found.SetAside, found.Cause, len(found.Records.Shares), n)
			}
		}
	}
	if _, found := after.open(t); len(found.Records.Leases) != 41 {
		t.Fatalf("whole: %d leases", len(found.Records.Leases))
	}
}

// TestACrashAtAnyMomentLosesNothingThatWasTold runs through several checkpoints.
func TestACrashAtAnyMomentLosesNothingThatWasTold(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	first := f.journal.generation
	for i := range 1200 {
		must(t, f.Add(pool.Change{Leases: []pool.LeaseRecord{lease("g|p", fmt.Sprintf("10.1.%d.%d", i/200, i%200), 1)}})())
		if i%97 > 0 && i%512 > 1 {
			continue
		}
		again, found := snapshot(t, dir).open(t)
		if len(found.Records.Leases) != i+1 {
			t.Fatalf("after %d changes %d leases", i+1, len(found.Records.Leases))
		}
		must(t, again.Add(pool.Change{Shares: []pool.ShareRecord{share(7)}})())
		if _, found := snapshot(t, filepath.Dir(again.path)).open(t); len(found.Records.Leases) != i+1 || len(found.Records.Shares) != 1 {
			t.Fatalf("one more change after %d and a crash: %d leases, %d shares", i+1, len(found.Records.Leases), len(found.Records.Shares))
		}
	}
	if n := f.journal.generation - first; n != 2 {
		t.Errorf("%d checkpoints, want 2", n)
	}
	must(t, f.Close())
	if d := snapshot(t, dir); true {
		clear(d.journal) // what is closed needs no journal
		if _, found := d.open(t); len(found.Records.Leases) != 1200 {
			t.Errorf("closed: %d leases", len(found.Records.Leases))
		}
	}
}

// TestACrashBetweenTheTransactionAndWhatFollowsItIsNoLoss: bbolt has all, the journal's frames are void already.
func TestACrashBetweenTheTransactionAndWhatFollowsItIsNoLoss(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	must(t, f.Add(pool.Change{Leases: []pool.LeaseRecord{lease("g|p", "10.1.0.1", 1)}})())
	must(t, f.update(append(f.pending, pool.Change{GoneLeases: []pool.LeaseRecord{lease("g|p", "10.1.0.1", 1)}}), f.journal.generation+1))
	if _, found := snapshot(t, dir).open(t); len(found.Records.Leases) != 0 {
		t.Errorf("void frames count: %+v", found.Records.Leases)
	}
}

func TestAChangeLargerThanTheJournalGoesStraightToTheLedger(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(1)}})())
	must(t, f.Add(pool.Change{Plan: &pool.PlanRecord{Number: 1, Text: strings.Repeat("x", journalSize)}})())
	_, found := snapshot(t, dir).open(t)
	if len(found.Records.Shares) != 1 || found.Records.Plan == nil || len(found.Records.Plan.Text) != journalSize {
		t.Errorf("%d shares, plan %v", len(found.Records.Shares), found.Records.Plan != nil)
	}
	must(t, f.Close())
}

func TestATornJournalIsSetAsideWithItsLedger(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(j []byte) []byte
		cause string
	}{
		{"a frame that was told is spoilt", func(j []byte) []byte { j[page+200] ^= 1; return j }, "frame 1 of the journal is spoilt, and frame 2 is not"},
		{"a frame is overwritten", func(j []byte) []byte { clear(j[page : 2*page]); return j }, "frame 1 of the journal is spoilt"},
		{"it is gone", func([]byte) []byte { return nil }, "its journal is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			f, _, err := Open(dir, time.Now(), anything)
			must(t, err)
			for i := range uint32(3) {
				must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(i + 1)}})())
			}
			d := snapshot(t, dir)
			must(t, f.Close())
			d.journal = c.spoil(d.journal)
			f, found := d.open(t)
			if found.SetAside == "" || !strings.Contains(found.Cause.Error(), c.cause) || len(found.Records.Shares) != 0 {
				t.Fatalf("set aside %q, cause %v, %d shares", found.SetAside, found.Cause, len(found.Records.Shares))
			}
			aside, err := filepath.Glob(filepath.Join(filepath.Dir(f.path), JournalName+".torn-*"))
			must(t, err)
			if want := d.journal != nil; (len(aside) == 1) != want {
				t.Errorf("the journal is kept at %v", aside)
			}
			must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(9)}})())
		})
	}
}

func TestALedgerOfAnOlderVersionIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	full(t, dir)
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(metaBucket))
		return errors.Join(meta.Put([]byte(schemaKey), []byte("1")), meta.Delete([]byte(journalKey)))
	}))
	must(t, db.Close())
	must(t, os.Remove(filepath.Join(dir, JournalName)))
	f, found, err := Open(dir, time.Now(), anything)
	must(t, err)
	if found.SetAside != "" || len(found.Records.Leases) != 300 {
		t.Fatalf("set aside %q (%v), %d leases", found.SetAside, found.Cause, len(found.Records.Leases))
	}
	must(t, f.Add(pool.Change{GoneShares: []uint32{1}})())
	must(t, f.Close())
}

func TestAfterAFailedCheckpointTheJournalIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(1)}})())
	must(t, f.db.Close())
	f.writing.Lock()
	err = f.checkpoint(nil)
	f.writing.Unlock()
	if err == nil || !f.stuck {
		t.Fatalf("%v, stuck %v", err, f.stuck)
	}
	if err := f.Add(pool.Change{Shares: []pool.ShareRecord{share(2)}})(); err == nil {
		t.Error("a change was kept in a journal that may be void")
	}
	f.db, err = bolt.Open(f.path, 0o600, nil)
	must(t, err)
	must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(3)}})())
	if f.stuck || f.Owed() != 0 {
		t.Errorf("stuck %v, %d owed", f.stuck, f.Owed())
	}
	must(t, f.Close())
	_, found, err := Open(dir, time.Now(), anything)
	must(t, err)
	if len(found.Records.Shares) != 3 {
		t.Errorf("%d shares", len(found.Records.Shares))
	}
}

func FuzzJournal(f *testing.F) {
	text, err := encodeChanges([]pool.Change{{Shares: []pool.ShareRecord{share(1)}, Leases: []pool.LeaseRecord{lease("g|p", "10.1.0.1", 1)}, GoneLeases: []pool.LeaseRecord{lease("g|p", "10.1.0.2", 1)}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`[{"l":[{"p":"x","a":"::1","r":{}}]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := decodeChanges(text)
		if err != nil {
			return
		}
		if _, err := encodeChanges(all); err != nil {
			t.Fatal(err)
		}
	})
}
