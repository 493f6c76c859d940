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

func full(t *testing.T, dir string) {
	t.Helper()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	for i := range uint32(60) {
		var c pool.Change
		for j := range uint32(5) {
			c.Shares = append(c.Shares, share(5*i+j+1))
			c.Leases = append(c.Leases, lease("g|10.1.0.0/16", fmt.Sprintf("10.1.%d.%d", i, j), 1))
		}
		must(t, f.Add(c)())
	}
	must(t, f.Close())
}

func TestATornFileIsSetAsideAndKept(t *testing.T) {
	cases := []struct {
		name string
		tear func(b []byte) []byte
	}{
		{"empty, as after a crash at its birth", func([]byte) []byte { return nil }},
		{"cut in the first page", func(b []byte) []byte { return b[:1000] }},
		{"cut in the middle", func(b []byte) []byte { return b[:len(b)/2] }},
		{"not a ledger at all", func([]byte) []byte { return []byte(strings.Repeat("no ", 10_000)) }},
		{"both meta pages overwritten", func(b []byte) []byte { clear(b[:8192]); return b }},
		{"the data pages overwritten", func(b []byte) []byte { clear(b[8192:]); return b }},
		{"the data pages full of noise", func(b []byte) []byte {
			r := rand.New(rand.NewPCG(1, 2))
			for i := 8192; i < len(b); i++ {
				b[i] = byte(r.Uint32())
			}
			return b
		}},
		{"a record that is no record", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			full(t, dir)
			path := filepath.Join(dir, FileName)
			if c.tear == nil {
				spoil(t, path)
			} else {
				b, err := os.ReadFile(path)
				must(t, err)
				must(t, os.WriteFile(path, c.tear(b), 0o600))
			}
			before, err := os.ReadFile(path)
			must(t, err)
			f, found, err := Open(dir, time.Now(), anything)
			must(t, err)
			defer f.Close()
			if found.SetAside == "" || found.Cause == nil || len(found.Records.Shares) != 0 {
				t.Fatalf("found %q, cause %v, %d shares", found.SetAside, found.Cause, len(found.Records.Shares))
			}
			kept, err := os.ReadFile(found.SetAside)
			must(t, err)
			if c.tear != nil && string(kept) != string(before) {
				t.Fatalf("the file was changed before it was set aside")
			}
			if got := Aside(dir); len(got) != 1 || got[0] != found.SetAside {
				t.Fatalf("aside: %v", got)
			}
			must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(1)}})())
		})
	}
}

func spoil(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(sharesBucket)).Put([]byte("nine"), []byte("{")) }))
	must(t, db.Close())
}

func TestAFileThatEndsTheProcessIsSetAsideAtLast(t *testing.T) {
	dir := t.TempDir()
	full(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, FileName+".opening"), []byte(".."), 0o600))
	f, found, err := Open(dir, time.Now(), anything)
	must(t, err)
	if found.SetAside != "" {
		t.Fatal("set aside too early")
	}
	must(t, f.Close())
	must(t, os.WriteFile(filepath.Join(dir, FileName+".opening"), []byte("..."), 0o600))
	f, found, err = Open(dir, time.Now(), anything)
	must(t, err)
	if found.SetAside == "" || !strings.Contains(found.Cause.Error(), "3 starts ended while it was opened") {
		t.Fatalf("found %q, cause %v", found.SetAside, found.Cause)
	}
	must(t, f.Close())
}

// TestASpoiltPageIsReadOrSetAside: whatever one page says, opening neither hangs nor panics.
func TestASpoiltPageIsReadOrSetAside(t *testing.T) {
	dir := t.TempDir()
	full(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, FileName))
	must(t, err)
	r := rand.New(rand.NewPCG(3, 4))
	for range 80 {
		bad := append([]byte(nil), good...)
		for at, n := r.IntN(len(bad)-64), 1+r.IntN(64); n > 0; n-- {
			bad[at+n] = byte(r.Uint32())
		}
		fresh := t.TempDir()
		must(t, os.WriteFile(filepath.Join(fresh, FileName), bad, 0o600))
		f, _, err := Open(fresh, time.Now(), anything)
		if errors.Is(err, ErrNewer) {
			continue
		}
		must(t, err)
		must(t, f.Add(pool.Change{Shares: []pool.ShareRecord{share(1)}})())
		must(t, f.Close())
	}
}

func TestANewerFileIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	full(t, dir)
	path := filepath.Join(dir, FileName)
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(metaBucket)).Put([]byte(schemaKey), []byte("3")) }))
	must(t, db.Close())
	_, _, err = Open(dir, time.Now(), anything)
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "its schema is 3, this one knows up to 2") {
		t.Fatalf("got %v", err)
	}
	if got := Aside(dir); len(got) != 0 {
		t.Fatalf("it was set aside: %v", got)
	}
}

func TestALockIsSaidByName(t *testing.T) {
	dir := t.TempDir()
	f, _, err := Open(dir, time.Now(), anything)
	must(t, err)
	_, _, err = Open(dir, time.Now(), anything)
	var locked *LockedError
	if !errors.As(err, &locked) || !strings.Contains(err.Error(), "process ") && !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got %v", err)
	}
	must(t, f.Close())
	f, found, err := Open(dir, time.Now(), anything)
	must(t, err)
	if found.SetAside != "" {
		t.Fatal("a locked file was set aside")
	}
	must(t, f.Close())
}

func FuzzReadRecords(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1}, []byte(`{"id":1,"key":"g|10.1.0.0/16|","gateways":[{"addr":"169.254.1.1"}],"blocks":["10.1.0.0"]}`))
	f.Add([]byte{10, 1, 0, 1}, []byte(`{"s":1,"t":2,"r":true,"u":99}`))
	f.Fuzz(func(t *testing.T, k, v []byte) {
		if s, err := readShare(k, v); err == nil && s.ID == 0 && len(k) != 4 {
			t.Fatalf("share %x read as %+v", k, s)
		}
		if l, err := readLease([]byte("g|10.1.0.0/16"), k, v); err == nil && !l.Addr.Is4() {
			t.Fatalf("lease %x read as %+v", k, l)
		}
	})
}
