// Package ledger keeps the decisions of pool on disk, in one bbolt file and a journal in front of it. It knows records, transactions and what to do
// with a file that is torn, locked or newer than itself. It knows no address and decides nothing.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// FileName is the ledger's name in the state folder.
const FileName = "ledger.db"

// Schema is what this program writes. A file with a higher one is refused: an older program would drop what it does
// not know.
const Schema = 2 // 1: without a journal

// lockWithin: long enough for a process that is on its way out, short enough to say who holds the lock.
const lockWithin = 100 * time.Millisecond

// ErrNewer says that the file was written by a newer version.
var ErrNewer = errors.New("the ledger was written by a newer version")

// LockedError says that another process has the ledger open.
type LockedError struct{ Path, Holder string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("ledger %s is in use by %s: stop it, or wait until it has ended", e.Path, e.Holder)
}

// File is a ledger on disk. Changes of calls that come together share one transaction.
type File struct {
	db   *bolt.DB
	path string

	writing sync.Mutex // held by the one that commits; guards journal, pending and stuck
	journal *journal
	pending []pool.Change // that the journal holds and bbolt does not
	stuck   bool          // bbolt failed: whether it voided the journal is not known, so the journal is not used
	mu      sync.Mutex    // guards next and owed
	next    *batch
	owed    []pool.Change // of failed transactions; they go out first with the next one
}

// batch is the changes that one transaction keeps.
type batch struct {
	changes []pool.Change
	done    bool
	err     error
}

// Found is what Open found on disk.
type Found struct {
	Records  pool.Records
	SetAside string // where a file that could not be read was put; "" if none
	Cause    error  // why
}

// Open opens or makes the ledger in dir, reads it, and shows the records to accept. A file that cannot be read, or whose
// records are not accepted, is kept beside it under another name, and an empty one is made.
func Open(dir string, now time.Time, accept func(pool.Records) error) (*File, Found, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, Found{}, fmt.Errorf("open ledger: %w: is %s mounted from the host?", err, dir)
	}
	path := filepath.Join(dir, FileName)
	f, records, err := attempt(path, accept)
	if err == nil {
		return f, Found{Records: records}, nil
	}
	if !torn(err) {
		return nil, Found{}, err
	}
	aside, moved := setAside(dir, now)
	if moved != nil {
		return nil, Found{}, fmt.Errorf("ledger %s cannot be read (%w) and cannot be set aside: %w", path, err, moved)
	}
	f, records, again := open(path, accept)
	if again != nil {
		return nil, Found{}, fmt.Errorf("make a new ledger in place of %s: %w", aside, again)
	}
	return f, Found{Records: records, SetAside: aside, Cause: err}, nil
}

// torn reports whether the file itself is the trouble, not who holds it or what the system lacks (space, rights, memory).
func torn(err error) bool {
	var locked *LockedError
	var system syscall.Errno
	return !errors.As(err, &locked) && !errors.Is(err, ErrNewer) && !errors.As(err, &system)
}

// attempts: a torn file can end the process where no recover reaches (bbolt has goroutines of its own, and the kernel
// a signal). Three starts that ended while they opened it are enough to set it aside.
const attempts = 3

// attempt opens the file unless that killed the process too often.
func attempt(path string, accept func(pool.Records) error) (*File, pool.Records, error) {
	marker := path + ".opening"
	m, err := os.OpenFile(marker, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, pool.Records{}, fmt.Errorf("open ledger %s: %w", path, err)
	}
	defer func() { _ = m.Close() }()
	info, err := m.Stat()
	if err != nil {
		return nil, pool.Records{}, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if info.Size() >= attempts {
		return nil, pool.Records{}, errors.Join(fmt.Errorf("ledger %s: %d starts ended while it was opened", path, info.Size()), os.Remove(marker))
	}
	if _, err := m.Write([]byte{'.'}); err != nil {
		return nil, pool.Records{}, fmt.Errorf("open ledger %s: %w", path, err)
	}
	f, r, err := open(path, accept)
	if removed := os.Remove(marker); err == nil && removed != nil {
		err = errors.Join(removed, f.db.Close())
	}
	return f, r, err
}

// open reads the whole file. A torn one can make bbolt panic, or read beyond its map.
func open(path string, accept func(pool.Records) error) (f *File, r pool.Records, err error) {
	if info, statErr := os.Stat(path); statErr == nil && info.Size() == 0 {
		return nil, r, fmt.Errorf("ledger %s is empty: a crash came before its first page", path)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var db *bolt.DB
	var j *journal
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ledger %s is torn: %v", path, p)
		}
		if err != nil && db != nil {
			err = errors.Join(err, db.Close())
		}
		if err != nil && j != nil {
			err = errors.Join(err, j.file.Close())
		}
	}()
	options := *bolt.DefaultOptions
	options.Timeout, options.FreelistType = lockWithin, bolt.FreelistMapType
	db, err = bolt.Open(path, 0o600, &options)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, r, &LockedError{path, holder(path)}
	}
	if err != nil {
		return nil, r, fmt.Errorf("ledger %s: %w", path, err)
	}
	if err = journalThere(db, path); err != nil {
		return nil, r, fmt.Errorf("ledger %s: %w", path, err)
	}
	if j, err = openJournal(filepath.Join(filepath.Dir(path), JournalName)); err != nil {
		return nil, r, err
	}
	if err = prepare(db); err != nil {
		return nil, r, fmt.Errorf("ledger %s: %w", path, err)
	}
	f = &File{db: db, path: path, next: &batch{}, journal: j}
	if r, err = f.read(); err != nil {
		return nil, r, fmt.Errorf("ledger %s: %w", path, err)
	}
	if err = accept(r); err != nil {
		return nil, r, fmt.Errorf("ledger %s contradicts itself: %w", path, err)
	}
	return f, r, syncDir(filepath.Dir(path))
}

// read gives what bbolt and the journal hold together.
func (f *File) read() (r pool.Records, err error) {
	var generation uint64
	if err := f.db.View(func(tx *bolt.Tx) (err error) {
		if generation, err = readGeneration(tx); err == nil {
			r, err = read(tx)
		}
		return err
	}); err != nil {
		return r, err
	}
	if f.pending, err = f.journal.read(generation); err != nil || len(f.pending) == 0 {
		return r, err
	}
	m := NewMemory()
	m.keep(pool.Change{Meta: &r.Meta, Shares: r.Shares, Leases: r.Leases, Plan: r.Plan})
	for _, c := range f.pending {
		m.keep(c)
	}
	return m.Records(), nil
}

// setAside renames the file and its journal so that they are kept and new ones can be made.
func setAside(dir string, now time.Time) (string, error) {
	suffix := ".torn-" + now.UTC().Format("20060102T150405.000")
	aside := filepath.Join(dir, FileName) + suffix
	if err := os.Rename(filepath.Join(dir, FileName), aside); err != nil {
		return "", err
	}
	journal := filepath.Join(dir, JournalName)
	if err := os.Rename(journal, journal+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return aside, syncDir(dir)
}

// Aside lists the files that were ever set aside in dir.
func Aside(dir string) []string {
	found, err := filepath.Glob(filepath.Join(dir, FileName+".torn-*"))
	if err != nil {
		return nil
	}
	return found
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Add queues a change. Changes are kept in the order in which they were added. The returned function waits until the
// change is on disk.
func (f *File) Add(c pool.Change) (wait func() error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.next
	b.changes = append(b.changes, c)
	return func() error { return f.wait(b) }
}

// wait lets the first of those who wait commit for all that are queued by then.
func (f *File) wait(b *batch) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if b.done {
		return b.err
	}
	f.mu.Lock()
	now := f.next
	f.next = &batch{}
	changes := append(f.owed, now.changes...)
	f.owed = nil
	f.mu.Unlock()
	now.done, now.err = true, f.commit(changes)
	if now.err != nil {
		f.mu.Lock()
		f.owed = changes
		f.mu.Unlock()
	}
	return now.err
}

// commit keeps changes in the journal, or in bbolt when the journal has no room.
func (f *File) commit(changes []pool.Change) error {
	text, err := encodeChanges(changes)
	switch {
	case err != nil || text == nil:
		return err
	case f.stuck || !f.journal.fits(text):
		return f.checkpoint(changes)
	}
	if err := f.journal.append(text); err != nil {
		return fmt.Errorf("keep a decision in the journal of ledger %s: %w", f.path, err)
	}
	f.pending = append(f.pending, changes...)
	return nil
}

// checkpoint brings to bbolt what the journal holds, and more. If that fails, nobody knows whether the journal is void.
func (f *File) checkpoint(more []pool.Change) error {
	f.stuck = true
	next := f.journal.generation + 1
	if err := f.update(append(slices.Clone(f.pending), more...), next); err != nil {
		return err
	}
	f.pending, f.stuck = nil, false
	f.journal.begin(next)
	return nil
}

func (f *File) update(changes []pool.Change, generation uint64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ledger %s is torn: %v", f.path, p)
		}
	}()
	err = f.db.Update(func(tx *bolt.Tx) error {
		for _, c := range changes {
			if err := write(tx, c); err != nil {
				return err
			}
		}
		return putGeneration(tx, generation)
	})
	if err != nil {
		return fmt.Errorf("keep a decision in ledger %s: %w", f.path, err)
	}
	return nil
}

// Owed is how many decisions are not on disk because a transaction failed.
func (f *File) Owed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.owed)
}

// Size is the length of the file in bytes.
func (f *File) Size() int64 {
	info, err := os.Stat(f.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Close writes what is queued and lets the file go.
func (f *File) Close() error {
	err := f.Add(pool.Change{})()
	f.writing.Lock()
	defer f.writing.Unlock()
	if len(f.pending) > 0 {
		err = errors.Join(err, f.checkpoint(nil))
	}
	return errors.Join(err, f.db.Close(), f.journal.file.Close())
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a record: %w", err)
	}
	return b, nil
}
