package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/rolling-swarm/rolling/manager/store"
)

// Run holds a store to all that the manager relies on. open gives an empty one each time.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		do   func(*testing.T, store.Store)
	}{
		{"what was put is read back, and what was not is nil", putAndGet},
		{"a failed transaction leaves nothing behind", undo},
		{"a transaction that reads cannot write", readOnly},
		{"a scan goes through its range and no further", scan},
		{"numbers rise for each kind by itself", next},
		{"writers take turns", turns},
		{"a reader sees one moment", snapshot},
		{"a project's versions rise and the old ones stay", projectVersions},
		{"deleting a project leaves its neighbours alone", deleteProject},
		{"a release is kept once and never changed", releaseOnce},
		{"rollouts come newest first, page by page", rolloutPages},
		{"only what has not ended runs", running},
		{"events rise, and the oldest go", eventsKept},
		{"the audit comes newest first", auditOrder},
		{"the gate's record holds what was kept, oldest first", record},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			c.do(t, s)
		})
	}
}

// Kinds that the raw tests write into.
const (
	kind  store.Kind = "projects"
	other store.Kind = "releases"
)

func update(t *testing.T, s store.Store, f func(store.Tx) error) {
	t.Helper()
	if err := s.Update(f); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s store.Store, f func(store.Tx) error) {
	t.Helper()
	if err := s.View(f); err != nil {
		t.Fatal(err)
	}
}

func putAll(t *testing.T, s store.Store, keys ...string) {
	t.Helper()
	update(t, s, func(tx store.Tx) error {
		for _, key := range keys {
			if err := tx.Put(kind, key, []byte("of "+key)); err != nil {
				return err
			}
		}
		return nil
	})
}

func putAndGet(t *testing.T, s store.Store) {
	update(t, s, func(tx store.Tx) error {
		value := []byte("one")
		if err := errors.Join(tx.Put(kind, "a", value), tx.Put(kind, "empty", nil), tx.Put(kind, "b", []byte("two"))); err != nil {
			return err
		}
		if got := tx.Get(kind, "a"); string(got) != "one" {
			t.Errorf("within the transaction a is %q", got)
		}
		return errors.Join(tx.Delete(kind, "b"), tx.Delete(kind, "never was"))
	})
	view(t, s, func(tx store.Tx) error {
		if got := tx.Get(kind, "a"); string(got) != "one" {
			t.Errorf("a is %q", got)
		}
		if got := tx.Get(kind, "empty"); got == nil || len(got) != 0 {
			t.Errorf("an empty value came back as %v", got)
		}
		for _, gone := range []string{"b", "never was"} {
			if got := tx.Get(kind, gone); got != nil {
				t.Errorf("%s is %q", gone, got)
			}
		}
		if got := tx.Get(other, "a"); got != nil {
			t.Errorf("another kind has a: %q", got)
		}
		return nil
	})
	if err := s.Update(func(tx store.Tx) error { return tx.Put(kind, "", []byte("x")) }); err == nil {
		t.Error("an empty key was taken")
	}
}

func undo(t *testing.T, s store.Store) {
	putAll(t, s, "stays")
	mine := errors.New("mine")
	err := s.Update(func(tx store.Tx) error {
		if _, err := tx.Next(kind); err != nil {
			return err
		}
		return errors.Join(tx.Put(kind, "new", []byte("x")), tx.Put(kind, "stays", []byte("changed")), tx.Delete(kind, "stays"), mine)
	})
	if !errors.Is(err, mine) {
		t.Fatalf("the error came back as %v", err)
	}
	update(t, s, func(tx store.Tx) error {
		if tx.Get(kind, "new") != nil || string(tx.Get(kind, "stays")) != "of stays" {
			t.Errorf("new is %q, stays is %q", tx.Get(kind, "new"), tx.Get(kind, "stays"))
		}
		n, err := tx.Next(kind)
		if n != 1 {
			t.Errorf("the number is %d: it was spent", n)
		}
		return err
	})
}

func readOnly(t *testing.T, s store.Store) {
	view(t, s, func(tx store.Tx) error {
		_, err := tx.Next(kind)
		for what, err := range map[string]error{"put": tx.Put(kind, "a", []byte("x")), "delete": tx.Delete(kind, "a"), "next": err} {
			if !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("%s: %v", what, err)
			}
		}
		return nil
	})
}

func scan(t *testing.T, s store.Store) {
	putAll(t, s, "a", "a/1", "a/2", "a/3", "a0", "ab/1", "b/1", "\xff\xff", "\xff\xffz")
	for _, c := range []struct {
		name string
		r    store.Range
		want []string
	}{
		{"everything", store.Range{}, []string{"a", "a/1", "a/2", "a/3", "a0", "ab/1", "b/1", "\xff\xff", "\xff\xffz"}},
		{"everything backwards", store.Range{Reverse: true}, []string{"\xff\xffz", "\xff\xff", "b/1", "ab/1", "a0", "a/3", "a/2", "a/1", "a"}},
		{"a prefix", store.Range{Prefix: "a/"}, []string{"a/1", "a/2", "a/3"}},
		{"a prefix backwards", store.Range{Prefix: "a/", Reverse: true}, []string{"a/3", "a/2", "a/1"}},
		{"a prefix of the last byte", store.Range{Prefix: "\xff\xff", Reverse: true}, []string{"\xff\xffz", "\xff\xff"}},
		{"beyond one of it", store.Range{Prefix: "a/", After: "a/1"}, []string{"a/2", "a/3"}},
		{"beyond one of it backwards", store.Range{Prefix: "a/", After: "a/3", Reverse: true}, []string{"a/2", "a/1"}},
		{"beyond a key that is not there", store.Range{Prefix: "a/", After: "a/11"}, []string{"a/2", "a/3"}},
		{"beyond a key that is not there backwards", store.Range{Prefix: "a/", After: "a/21", Reverse: true}, []string{"a/2", "a/1"}},
		{"beyond the last", store.Range{Prefix: "a/", After: "a/3"}, nil},
		{"before the first", store.Range{Prefix: "a/", After: "a/1", Reverse: true}, nil},
		{"after lies before the prefix", store.Range{Prefix: "a/", After: "a"}, []string{"a/1", "a/2", "a/3"}},
		{"after lies behind the prefix backwards", store.Range{Prefix: "a/", After: "b", Reverse: true}, []string{"a/3", "a/2", "a/1"}},
		{"a prefix that nothing has", store.Range{Prefix: "c"}, nil},
		{"a prefix that nothing has backwards", store.Range{Prefix: "c", Reverse: true}, nil},
	} {
		view(t, s, func(tx store.Tx) error {
			var got []string
			for key, value := range tx.Scan(kind, c.r) {
				if string(value) != "of "+key {
					t.Errorf("%s: the value of %q is %q", c.name, key, value)
				}
				got = append(got, key)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", c.name, got, c.want)
			}
			for range tx.Scan(kind, c.r) {
				break // stopping early is allowed
			}
			for key := range tx.Scan(other, c.r) {
				t.Errorf("%s: another kind has %q", c.name, key)
			}
			return nil
		})
	}
}

func next(t *testing.T, s store.Store) {
	for want := uint64(1); want <= 3; want++ {
		update(t, s, func(tx store.Tx) error {
			n, err := tx.Next(kind)
			if n != want {
				t.Errorf("number %d, want %d", n, want)
			}
			return err
		})
	}
	update(t, s, func(tx store.Tx) error {
		n, err := tx.Next(other)
		if n != 1 {
			t.Errorf("another kind begins at %d", n)
		}
		return err
	})
}

func turns(t *testing.T, s store.Store) {
	const writers, each = 8, 10
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				if err := s.Update(func(tx store.Tx) error {
					return tx.Put(kind, "count", append(tx.Get(kind, "count"), 'x'))
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	view(t, s, func(tx store.Tx) error {
		if n := len(tx.Get(kind, "count")); n != writers*each {
			t.Errorf("%d of %d writes are left", n, writers*each)
		}
		return nil
	})
}

func snapshot(t *testing.T, s store.Store) {
	putAll(t, s, "a", "b")
	var writer sync.WaitGroup
	defer writer.Wait()
	view(t, s, func(tx store.Tx) error {
		started := make(chan struct{})
		writer.Go(func() {
			close(started)
			err := s.Update(func(tx store.Tx) error {
				return errors.Join(tx.Put(kind, "a", []byte("changed")), tx.Put(kind, "c", []byte("new")))
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-started
		for range 1000 {
			if string(tx.Get(kind, "a")) != "of a" || tx.Get(kind, "c") != nil {
				return fmt.Errorf("a write shows: a is %q", tx.Get(kind, "a"))
			}
		}
		return nil
	})
}
