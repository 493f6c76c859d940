package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// schema is raised when an older manager would misread the file.
const schema = 1

// lockWait: a manager that is just ending may hold the file for a moment.
const lockWait = time.Second

var (
	metaBucket = []byte("meta")
	schemaKey  = []byte("schema")

	// ErrNewer and ErrInUse are why a file is refused and left as it is.
	ErrNewer = errors.New("a newer manager has written it")
	ErrInUse = errors.New("it is open elsewhere")

	errDamaged = errors.New("the file is damaged")
)

// Bolt is a Store in one file, fsynced before a change counts. One process at a time has it open, on a local disk.
type Bolt struct {
	db   *bolt.DB
	path string
	// Aside names the damaged file that was put aside, if one was, and Why says what was wrong with it. The store is then
	// empty: what runs is still there, and is adopted by its labels.
	Aside string
	Why   error
}

// Open opens or makes the file. A damaged one is renamed and a new one begun; one of a newer schema, or one that another
// process holds, is refused and left as it is.
func Open(path string) (*Bolt, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	db, err := openChecked(path)
	if err == nil {
		return &Bolt{db: db, path: path}, nil
	}
	if !damaged(err) {
		return nil, fmt.Errorf("store %s: %w", path, err)
	}
	aside := fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(path, aside); err != nil {
		return nil, fmt.Errorf("store %s: put the damaged file aside: %w", path, err)
	}
	db, again := openChecked(path)
	if again != nil {
		return nil, fmt.Errorf("store %s: %w", path, again)
	}
	return &Bolt{db: db, path: path, Aside: aside, Why: err}, nil
}

// damaged: bbolt has no one kind for what it cannot read, so all that is neither ours to refuse nor the system's word (no
// permission, no space, a bad disk) counts as damage.
func damaged(err error) bool {
	var system syscall.Errno
	return !errors.Is(err, ErrNewer) && !errors.Is(err, ErrInUse) && !errors.As(err, &system)
}

// openChecked reads every record once, so that a damaged page is met here and not in the middle of a decision. bbolt maps
// the file: what is cut off is met as a fault, which is made a panic and caught.
func openChecked(path string) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	if i, err := os.Stat(path); err == nil && i.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty", errDamaged) // bbolt would take it for new
	}
	if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType}); err != nil {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return nil, fmt.Errorf("%w: %s: stop that one first, or give this one a file of its own", ErrInUse, holder(path))
		}
		return nil, err
	}
	if err := check(db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func check(db *bolt.DB, path string) error {
	err := db.View(func(tx *bolt.Tx) error {
		i, err := os.Stat(path)
		if err != nil {
			return err
		}
		if i.Size() < tx.Size() {
			return fmt.Errorf("%w: it is cut off at %d of %d bytes", errDamaged, i.Size(), tx.Size())
		}
		for problem := range tx.Check() {
			return fmt.Errorf("%w: %w", errDamaged, problem)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Update(migrate)
}

func migrate(tx *bolt.Tx) error {
	meta, err := tx.CreateBucketIfNotExists(metaBucket)
	if err != nil {
		return fmt.Errorf("make bucket %s: %w", metaBucket, err)
	}
	switch have := meta.Get(schemaKey); {
	case have == nil:
		if err := meta.Put(schemaKey, binary.BigEndian.AppendUint32(nil, schema)); err != nil {
			return err
		}
	case len(have) != 4:
		return fmt.Errorf("%w: its schema is %x", errDamaged, have)
	case binary.BigEndian.Uint32(have) > schema:
		return fmt.Errorf("%w (schema %d, this one reads up to %d): run that manager again, or restore a backup made before it",
			ErrNewer, binary.BigEndian.Uint32(have), schema)
	}
	for _, k := range kinds() {
		if _, err := tx.CreateBucketIfNotExists([]byte(k)); err != nil {
			return fmt.Errorf("make bucket %s: %w", k, err)
		}
	}
	return nil
}

// Close gives the file back.
func (b *Bolt) Close() error {
	if err := b.db.Close(); err != nil {
		return fmt.Errorf("store %s: close: %w", b.path, err)
	}
	return nil
}

// View reads a snapshot.
func (b *Bolt) View(f func(Tx) error) error {
	return b.db.View(func(tx *bolt.Tx) error { return f(boltTx{tx}) })
}

// Update writes; it returns when the disk has it.
func (b *Bolt) Update(f func(Tx) error) error {
	return b.db.Update(func(tx *bolt.Tx) error { return f(boltTx{tx}) })
}

type boltTx struct{ tx *bolt.Tx }

func (t boltTx) bucket(kind Kind) *bolt.Bucket { return t.tx.Bucket([]byte(kind)) }

func (t boltTx) Get(kind Kind, key string) []byte { return t.bucket(kind).Get([]byte(key)) }

func (t boltTx) Put(kind Kind, key string, value []byte) error {
	if !t.tx.Writable() {
		return fmt.Errorf("%s %s: %w", kind, key, ErrReadOnly)
	}
	if value == nil {
		value = []byte{} // nil is what Get gives for nothing
	}
	if err := t.bucket(kind).Put([]byte(key), value); err != nil {
		return fmt.Errorf("%s %s: %w", kind, key, err)
	}
	return nil
}

func (t boltTx) Delete(kind Kind, key string) error {
	if !t.tx.Writable() {
		return fmt.Errorf("%s %s: %w", kind, key, ErrReadOnly)
	}
	if err := t.bucket(kind).Delete([]byte(key)); err != nil {
		return fmt.Errorf("%s %s: %w", kind, key, err)
	}
	return nil
}

func (t boltTx) Next(kind Kind) (uint64, error) {
	if !t.tx.Writable() {
		return 0, fmt.Errorf("%s: %w", kind, ErrReadOnly)
	}
	n, err := t.bucket(kind).NextSequence()
	if err != nil {
		return 0, fmt.Errorf("%s: next number: %w", kind, err)
	}
	return n, nil
}

func (t boltTx) Scan(kind Kind, r Range) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		c := t.bucket(kind).Cursor()
		step := c.Next
		if r.Reverse {
			step = c.Prev
		}
		prefix := []byte(r.Prefix)
		for k, v := start(c, r); k != nil && bytes.HasPrefix(k, prefix); k, v = step() {
			if !yield(string(k), v) {
				return
			}
		}
	}
}

// start stands on the first key of a range, or on one that lacks the prefix when the range is empty.
func start(c *bolt.Cursor, r Range) (key, value []byte) {
	if !r.Reverse {
		if r.After < r.Prefix {
			return c.Seek([]byte(r.Prefix))
		}
		if key, value = c.Seek([]byte(r.After)); key != nil && string(key) == r.After {
			return c.Next()
		}
		return key, value
	}
	end := r.After
	if behind := beyond(r.Prefix); end == "" || behind != "" && end > behind {
		end = behind
	}
	if end == "" {
		return c.Last()
	}
	if key, _ = c.Seek([]byte(end)); key == nil {
		return c.Last()
	}
	return c.Prev()
}

// beyond is the first key behind all that begin with prefix; "" when there is none.
func beyond(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}
