// Package state keeps what the engine told this node in one bbolt file, fsynced before a call is answered. It knows the
// file, its schema, and how to put a damaged one aside; it knows no kernel and no BGP, and decides nothing.
package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// schema is raised when an older program would misread the file.
const schema = 1

// lockWait: an old plugin's process that still ends may hold the file for a moment.
const lockWait = 500 * time.Millisecond

var (
	metaBucket      = []byte("meta")
	networkBucket   = []byte("networks")
	endpointBucket  = []byte("endpoints")
	schemaKey       = []byte("schema")
	membershipKey   = []byte("membership")
	errDamaged      = errors.New("the file is damaged")
	errInUse        = errors.New("another process has it open: is an older plugin still ending?")
	ErrNewer        = errors.New("the state was written by a newer plugin")
	buckets         = [][]byte{metaBucket, networkBucket, endpointBucket}
	errNoSuchBucket = fmt.Errorf("%w: a bucket is missing", errDamaged)
)

// File is the open state.
type File struct {
	db   *bolt.DB
	path string
	// Fresh says that the file holds nothing from before: it is new, or the old one was put aside.
	Fresh bool
	// Aside names the damaged file that was put aside, if one was.
	Aside string
	// Why is what was wrong with it.
	Why error
}

// Open opens or makes the file. A damaged one is renamed, and a new one begun: the kernel still says which links
// containers hold. A file of a newer schema is refused and left as it is.
func Open(path string) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	_, statErr := os.Stat(path)
	db, err := openChecked(path)
	if err == nil {
		return &File{db: db, path: path, Fresh: errors.Is(statErr, fs.ErrNotExist)}, nil
	}
	if !damaged(err) {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	aside := fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(path, aside); err != nil {
		return nil, fmt.Errorf("state %s: put the damaged file aside: %w", path, err)
	}
	db, again := openChecked(path)
	if again != nil {
		return nil, fmt.Errorf("state %s: %w", path, again)
	}
	return &File{db: db, path: path, Fresh: true, Aside: aside, Why: err}, nil
}

// damaged: bbolt has no one kind for what it cannot read, so all that is neither ours to refuse nor the system's word
// (no permission, no space, a bad disk) counts as damage.
func damaged(err error) bool {
	var system syscall.Errno
	return !errors.Is(err, ErrNewer) && !errors.Is(err, errInUse) && !errors.As(err, &system)
}

// openChecked reads every record once, so that a damaged page is met here and not in the middle of a call. bbolt maps
// the file: what is cut off is met as a fault, which is made a panic and caught.
func openChecked(path string) (db *bolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	if i, err := os.Stat(path); err == nil && i.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty", errDamaged) // a crash of the machine can leave this; bbolt would take it for new
	}
	if db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, FreelistType: bolt.FreelistMapType}); err != nil {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return nil, errInUse
		}
		return nil, err
	}
	if err := prepare(db); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func prepare(db *bolt.DB) error {
	if err := db.Update(migrate); err != nil {
		return err
	}
	return db.View(func(tx *bolt.Tx) error {
		for problem := range tx.Check() {
			return fmt.Errorf("%w: %w", errDamaged, problem)
		}
		_, _, err := load(tx)
		return err
	})
}

func migrate(tx *bolt.Tx) error {
	for _, b := range buckets {
		if _, err := tx.CreateBucketIfNotExists(b); err != nil {
			return fmt.Errorf("make bucket %s: %w", b, err)
		}
	}
	meta := tx.Bucket(metaBucket)
	have := meta.Get(schemaKey)
	switch {
	case have == nil:
		return meta.Put(schemaKey, binary.BigEndian.AppendUint32(nil, schema))
	case len(have) != 4:
		return fmt.Errorf("%w: schema is %x", errDamaged, have)
	case binary.BigEndian.Uint32(have) > schema:
		return fmt.Errorf("%w (schema %d, this one reads up to %d): install that plugin again, or move the file away to begin anew",
			ErrNewer, binary.BigEndian.Uint32(have), schema)
	}
	return nil
}

// Load reads everything.
func (f *File) Load() (s topology.State, m topology.Membership, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		s, m, err = load(tx)
		return err
	})
	return s, m, err
}

func load(tx *bolt.Tx) (topology.State, topology.Membership, error) {
	s := topology.NewState()
	var m topology.Membership
	for _, b := range buckets {
		if tx.Bucket(b) == nil {
			return s, m, errNoSuchBucket
		}
	}
	err := tx.Bucket(networkBucket).ForEach(func(k, v []byte) error {
		var n topology.Network
		if err := decode(k, v, &n); err != nil {
			return err
		}
		s.Networks[n.ID] = n
		return nil
	})
	if err != nil {
		return s, m, err
	}
	err = tx.Bucket(endpointBucket).ForEach(func(k, v []byte) error {
		var e topology.Endpoint
		if err := decode(k, v, &e); err != nil {
			return err
		}
		s.Endpoints[e.ID] = e
		return nil
	})
	if err != nil {
		return s, m, err
	}
	if v := tx.Bucket(metaBucket).Get(membershipKey); v != nil {
		err = decode(membershipKey, v, &m)
	}
	return s, m, err
}

func decode(key, value []byte, into any) error {
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%w: record %s: %w", errDamaged, key, err)
	}
	return nil
}

// Save writes a change in one transaction, and returns when the disk has it.
func (f *File) Save(c topology.Change) error {
	if c.Empty() {
		return nil
	}
	err := f.db.Update(func(tx *bolt.Tx) error {
		networks, endpoints := tx.Bucket(networkBucket), tx.Bucket(endpointBucket)
		var problems []error
		for _, n := range c.PutNetworks {
			problems = append(problems, put(networks, string(n.ID), n))
		}
		for _, id := range c.DropNetworks {
			problems = append(problems, networks.Delete([]byte(id)))
		}
		for _, e := range c.PutEndpoints {
			problems = append(problems, put(endpoints, string(e.ID), e))
		}
		for _, id := range c.DropEndpoints {
			problems = append(problems, endpoints.Delete([]byte(id)))
		}
		return errors.Join(problems...)
	})
	if err != nil {
		return fmt.Errorf("state %s: %w: is the disk full?", f.path, err)
	}
	return nil
}

// SaveMembership keeps who the Swarm's members were, for the next boot.
func (f *File) SaveMembership(m topology.Membership) error {
	err := f.db.Update(func(tx *bolt.Tx) error { return put(tx.Bucket(metaBucket), string(membershipKey), m) })
	if err != nil {
		return fmt.Errorf("state %s: membership: %w", f.path, err)
	}
	return nil
}

func put(b *bolt.Bucket, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	return b.Put([]byte(key), text)
}

// Close gives the file back.
func (f *File) Close() error { return f.db.Close() }
