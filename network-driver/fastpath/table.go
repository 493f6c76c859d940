package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// table is a map in the kernel, and what we put into it: nobody else writes there.
type table[K comparable, V comparable] struct {
	m    *ebpf.Map
	have map[K]V
}

func newTable[K comparable, V comparable](name string, most uint32) (*table[K, V], error) {
	var k K
	var v V
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: name, Type: ebpf.Hash, KeySize: uint32(binary.Size(k)), ValueSize: uint32(binary.Size(v)), MaxEntries: most, Flags: unix.BPF_F_NO_PREALLOC,
	})
	if err != nil {
		return nil, fmt.Errorf("make the map %s: %w", name, err)
	}
	return &table[K, V]{m, map[K]V{}}, nil
}

func (t *table[K, V]) close() {
	if t != nil {
		_ = t.m.Close()
	}
}

// put makes these entries true, and leaves others.
func (t *table[K, V]) put(wanted map[K]V) error {
	var problems []error
	for k, v := range wanted {
		problems = append(problems, t.putOne(k, v))
	}
	return few(problems)
}

func (t *table[K, V]) putOne(k K, v V) error {
	if have, known := t.have[k]; known && have == v {
		return nil
	}
	if err := t.m.Put(k, v); err != nil {
		if errors.Is(err, unix.E2BIG) {
			return fmt.Errorf("the map of the fast path is full (%d entries): the rest goes the ordinary way", t.m.MaxEntries())
		}
		return fmt.Errorf("write to the fast path's map: %w", err)
	}
	t.have[k] = v
	return nil
}

// keep takes away all but these.
func (t *table[K, V]) keep(wanted map[K]V) error {
	var problems []error
	for k := range t.have {
		if _, stays := wanted[k]; !stays {
			problems = append(problems, t.drop(k))
		}
	}
	return few(problems)
}

func (t *table[K, V]) drop(k K) error {
	if err := t.m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from the fast path's map: %w", err)
	}
	delete(t.have, k)
	return nil
}

// few keeps the text of ten thousand like errors readable; equal ones are said once.
func few(problems []error) error {
	said := map[string]bool{}
	problems = slices.DeleteFunc(problems, func(err error) bool {
		if err == nil || said[err.Error()] {
			return true
		}
		said[err.Error()] = true
		return false
	})
	const shown = 3
	if n := len(problems) - shown; n > 0 {
		problems = append(problems[:shown:shown], fmt.Errorf("and %d more", n))
	}
	return errors.Join(problems...)
}
