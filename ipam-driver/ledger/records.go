package ledger

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// The file: meta/{schema,book,plan,journal}, shares/<id, 4 bytes> = JSON, leases/<pool>/<address, 4 bytes> = JSON. One record an
// address, so that a lease moves in one step.
const (
	metaBucket   = "meta"
	sharesBucket = "shares"
	leasesBucket = "leases"
	schemaKey    = "schema"
	bookKey      = "book"
	planKey      = "plan"
	journalKey   = "journal" // the generation of its frames that count
)

// prepare makes the buckets of a new file, and refuses a newer one. A file that is well is not written to.
func prepare(db *bolt.DB) error {
	fresh := false
	err := db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(metaBucket))
		fresh = meta == nil || meta.Get([]byte(schemaKey)) == nil
		if fresh {
			return nil
		}
		err := known(meta.Get([]byte(schemaKey)))
		fresh = meta.Get([]byte(journalKey)) == nil // of schema 1
		return err
	})
	if err != nil || !fresh {
		return err
	}
	return db.Update(fill)
}

// journalThere refuses to begin a new journal where there was one: it held decisions that nobody else has.
func journalThere(db *bolt.DB, path string) error {
	return db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(metaBucket))
		if meta == nil || meta.Get([]byte(journalKey)) == nil {
			return nil
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), JournalName)); errors.Is(err, os.ErrNotExist) {
			return errors.New("its journal is gone: " + JournalName)
		}
		return nil
	})
}

func fill(tx *bolt.Tx) error {
	for _, name := range []string{metaBucket, sharesBucket, leasesBucket} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	// No frame of an older file's may count for a new one: a generation begins where no other ledger ends.
	if err := putGeneration(tx, rand.Uint64()>>1); err != nil {
		return err
	}
	return tx.Bucket([]byte(metaBucket)).Put([]byte(schemaKey), fmt.Appendf(nil, "%d", Schema))
}

func putGeneration(tx *bolt.Tx, n uint64) error {
	return tx.Bucket([]byte(metaBucket)).Put([]byte(journalKey), binary.BigEndian.AppendUint64(nil, n))
}

func readGeneration(tx *bolt.Tx) (uint64, error) {
	v := tx.Bucket([]byte(metaBucket)).Get([]byte(journalKey))
	if len(v) != 8 {
		return 0, fmt.Errorf("record %s: %x is no number", journalKey, v)
	}
	return binary.BigEndian.Uint64(v), nil
}

func known(text []byte) error {
	var found int
	if err := json.Unmarshal(text, &found); err != nil || found < 1 {
		return fmt.Errorf("schema %q is not a number", text)
	}
	if found > Schema {
		return fmt.Errorf("%w: its schema is %d, this one knows up to %d: install that version again, or move the file away (Swarm's own record is enough to go on)", ErrNewer, found, Schema)
	}
	return nil
}

func write(tx *bolt.Tx, c pool.Change) error {
	if c.Meta != nil {
		if err := put(tx.Bucket([]byte(metaBucket)), []byte(bookKey), *c.Meta); err != nil {
			return err
		}
	}
	if c.Plan != nil {
		if err := put(tx.Bucket([]byte(metaBucket)), []byte(planKey), *c.Plan); err != nil {
			return err
		}
	}
	shares := tx.Bucket([]byte(sharesBucket))
	for _, s := range c.Shares {
		if err := put(shares, shareKey(s.ID), s); err != nil {
			return err
		}
	}
	for _, id := range c.GoneShares {
		if err := shares.Delete(shareKey(id)); err != nil {
			return err
		}
	}
	leases := tx.Bucket([]byte(leasesBucket))
	for _, l := range c.Leases {
		of, err := leases.CreateBucketIfNotExists([]byte(l.Pool))
		if err != nil {
			return err
		}
		if err := put(of, l.Addr.AsSlice(), l); err != nil {
			return err
		}
	}
	for _, l := range c.GoneLeases {
		if err := forget(leases, l); err != nil {
			return err
		}
	}
	return nil
}

func forget(leases *bolt.Bucket, l pool.LeaseRecord) error {
	of := leases.Bucket([]byte(l.Pool))
	if of == nil {
		return nil
	}
	if err := of.Delete(l.Addr.AsSlice()); err != nil {
		return err
	}
	if k, _ := of.Cursor().First(); k == nil {
		return leases.DeleteBucket([]byte(l.Pool))
	}
	return nil
}

func put(b *bolt.Bucket, key []byte, v any) error {
	value, err := encode(v)
	if err != nil {
		return err
	}
	return b.Put(key, value)
}

func shareKey(id uint32) []byte { return binary.BigEndian.AppendUint32(nil, id) }

func read(tx *bolt.Tx) (r pool.Records, err error) {
	if v := tx.Bucket([]byte(metaBucket)).Get([]byte(bookKey)); v != nil {
		if err := json.Unmarshal(v, &r.Meta); err != nil {
			return r, fmt.Errorf("record %s: %w", bookKey, err)
		}
	}
	if v := tx.Bucket([]byte(metaBucket)).Get([]byte(planKey)); v != nil {
		if err := json.Unmarshal(v, &r.Plan); err != nil {
			return r, fmt.Errorf("record %s: %w", planKey, err)
		}
	}
	err = tx.Bucket([]byte(sharesBucket)).ForEach(func(k, v []byte) error {
		s, err := readShare(k, v)
		r.Shares = append(r.Shares, s)
		return err
	})
	if err != nil {
		return r, err
	}
	leases := tx.Bucket([]byte(leasesBucket))
	err = leases.ForEachBucket(func(name []byte) error {
		return leases.Bucket(name).ForEach(func(k, v []byte) error {
			l, err := readLease(name, k, v)
			r.Leases = append(r.Leases, l)
			return err
		})
	})
	return r, err
}

func readShare(k, v []byte) (s pool.ShareRecord, err error) {
	if err := json.Unmarshal(v, &s); err != nil {
		return s, fmt.Errorf("share %x: %w", k, err)
	}
	if len(k) != 4 || binary.BigEndian.Uint32(k) != s.ID {
		return s, fmt.Errorf("share %x: its record says %d", k, s.ID)
	}
	return s, nil
}

func readLease(name, k, v []byte) (l pool.LeaseRecord, err error) {
	if err := json.Unmarshal(v, &l); err != nil {
		return l, fmt.Errorf("lease %x of %s: %w", k, name, err)
	}
	a, ok := netip.AddrFromSlice(k)
	if !ok || !a.Is4() {
		return l, fmt.Errorf("lease %x of %s: not an IPv4 address", k, name)
	}
	l.Pool, l.Addr = string(name), a
	return l, nil
}
