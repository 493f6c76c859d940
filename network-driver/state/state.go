// Package state keeps what the engine told this node in one bbolt file, fsynced before a call is answered. It knows the
// file, its schema, and how to put a damaged one aside; it knows no kernel and no BGP, and decides nothing.
package state

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
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
	f := &File{path: path}
	s, m, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Fresh = true
	case err != nil && damaged(err):
		f.Fresh, f.Why = true, err
		f.Aside = fmt.Sprintf("%s.damaged-%s", path, time.Now().UTC().Format("20060102T150405.000"))
		if err := os.Rename(path, f.Aside); err != nil {
			return nil, fmt.Errorf("state %s: put the damaged file aside: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	if f.db, err = rewrite(path, s, m); err != nil {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	return f, nil
}

// damaged: bbolt has no one kind for what it cannot read, so all that is neither ours to refuse nor the system's word
// (no permission, no space, a bad disk) counts as damage.
func damaged(err error) bool {
	var system syscall.Errno
	return !errors.Is(err, ErrNewer) && !errors.Is(err, errInUse) && !errors.As(err, &system)
}

// read takes every record out of the old file. bbolt maps it: what is cut off is met as a fault, which is made a panic
// and caught, as are bbolt's own panics.
func read(path string) (s topology.State, m topology.Membership, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	s = topology.NewState()
	i, err := os.Stat(path)
	if err != nil {
		return s, m, err
	}
	if i.Size() == 0 {
		return s, m, fmt.Errorf("%w: it is empty", errDamaged) // a crash of the machine can leave this
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return s, m, errInUse
	}
	if err != nil {
		return s, m, err
	}
	defer db.Close() //nolint:errcheck // it was only read
	err = db.View(func(tx *bolt.Tx) error {
		if err := checkSchema(tx); err != nil {
			return err
		}
		s, m, err = load(tx)
		return err
	})
	return s, m, err
}

func checkSchema(tx *bolt.Tx) error {
	meta := tx.Bucket(metaBucket)
	if meta == nil {
		return errNoSuchBucket
	}
	have := meta.Get(schemaKey)
	if len(have) != 4 {
		return fmt.Errorf("%w: schema is %x", errDamaged, have)
	}
	if n := binary.BigEndian.Uint32(have); n > schema {
		return fmt.Errorf("%w (schema %d, this one reads up to %d): install that plugin again, or move the file away to begin anew", ErrNewer, n, schema)
	}
	return nil
}

// rewrite puts what was read into a new file, and that in the old one's place: bbolt keeps no checksum of its pages, and
// a damaged one that the reading did not touch would be met in the middle of a call.
func rewrite(path string, s topology.State, m topology.Membership) (*bolt.DB, error) {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	db, err := bolt.Open(fresh, 0o600, &bolt.Options{Timeout: lockWait})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return fmt.Errorf("make bucket %s: %w", b, err)
			}
		}
		meta := tx.Bucket(metaBucket)
		all := topology.Change{PutNetworks: slices.Collect(maps.Values(s.Networks)), PutEndpoints: slices.Collect(maps.Values(s.Endpoints))}
		return errors.Join(meta.Put(schemaKey, binary.BigEndian.AppendUint32(nil, schema)), put(meta, string(membershipKey), m), write(tx, all))
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// The open file keeps its lock and its place under the new name.
	if err := os.Rename(fresh, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, syncFolder(filepath.Dir(path))
}

// syncFolder makes the new name outlive a loss of power.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
		if string(n.ID) != string(k) || !n.Pool.IsValid() || !n.Gateway.Is4() {
			return fmt.Errorf("%w: network %s holds %s", errDamaged, k, v)
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
		if string(e.ID) != string(k) || !e.Address.Is4() || e.Network == "" {
			return fmt.Errorf("%w: endpoint %s holds %s", errDamaged, k, v)
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
	if err := f.db.Update(func(tx *bolt.Tx) error { return write(tx, c) }); err != nil {
		return fmt.Errorf("state %s: %w: is the disk full?", f.path, err)
	}
	return nil
}

func write(tx *bolt.Tx, c topology.Change) error {
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
