// Package storetest says what a store must do, and holds one that keeps everything in memory. It knows the store's
// transactions and records; it knows no file.
package storetest

import (
	"bytes"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/rolling-swarm/rolling/manager/store"
)

// Memory is a store that forgets everything when the process ends. The zero value is ready.
type Memory struct {
	mu       sync.RWMutex // guards the rest; held over a whole transaction
	records  map[store.Kind]map[string][]byte
	sequence map[store.Kind]uint64

	// Fail, when set, is asked before each transaction that writes is kept; its error undoes the transaction.
	Fail func() error
}

// View reads.
func (m *Memory) View(f func(store.Tx) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return f(&memoryTx{m: m, records: m.records})
}

// Update writes into copies, and keeps them only if nothing failed.
func (m *Memory) Update(f func(store.Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tx := &memoryTx{m: m, writes: true, records: maps.Clone(m.records), sequence: maps.Clone(m.sequence), copied: map[store.Kind]bool{}}
	if err := f(tx); err != nil {
		return err
	}
	if m.Fail != nil {
		if err := m.Fail(); err != nil {
			return err
		}
	}
	m.records, m.sequence = tx.records, tx.sequence
	return nil
}

// Close does nothing.
func (m *Memory) Close() error { return nil }

type memoryTx struct {
	m        *Memory
	writes   bool
	records  map[store.Kind]map[string][]byte
	copied   map[store.Kind]bool
	sequence map[store.Kind]uint64
}

func (t *memoryTx) own(kind store.Kind) map[string][]byte {
	if !t.copied[kind] {
		t.copied[kind] = true
		if t.records == nil {
			t.records = map[store.Kind]map[string][]byte{}
		}
		if t.records[kind] = maps.Clone(t.records[kind]); t.records[kind] == nil {
			t.records[kind] = map[string][]byte{}
		}
	}
	return t.records[kind]
}

func (t *memoryTx) Get(kind store.Kind, key string) []byte { return t.records[kind][key] }

func (t *memoryTx) Put(kind store.Kind, key string, value []byte) error {
	switch {
	case !t.writes:
		return fmt.Errorf("%s %s: %w", kind, key, store.ErrReadOnly)
	case key == "":
		return fmt.Errorf("%s: an empty key", kind)
	}
	t.own(kind)[key] = append([]byte{}, value...)
	return nil
}

func (t *memoryTx) Delete(kind store.Kind, key string) error {
	if !t.writes {
		return fmt.Errorf("%s %s: %w", kind, key, store.ErrReadOnly)
	}
	delete(t.own(kind), key)
	return nil
}

func (t *memoryTx) Next(kind store.Kind) (uint64, error) {
	if !t.writes {
		return 0, fmt.Errorf("%s: %w", kind, store.ErrReadOnly)
	}
	if t.sequence == nil {
		t.sequence = map[store.Kind]uint64{}
	}
	t.sequence[kind]++
	return t.sequence[kind], nil
}

func (t *memoryTx) Scan(kind store.Kind, r store.Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		keys := slices.Sorted(maps.Keys(t.records[kind]))
		if r.Reverse {
			slices.Reverse(keys)
		}
		for _, key := range keys {
			beyond := r.After == "" || !r.Reverse && key > r.After || r.Reverse && key < r.After
			if beyond && strings.HasPrefix(key, r.Prefix) && !yield(key, bytes.Clone(t.records[kind][key])) {
				return
			}
		}
	}
}
