// Package store keeps what the manager must not forget: project files, releases, rollouts, approvals, what each environment
// should run, events and the audit. It knows kinds, keys, values and transactions, and the records made of them.
// It knows no Swarm, decides nothing, and refuses to read a file that a newer version of it has written.
package store

import (
	"errors"
	"iter"
)

// Store is where records live. Both functions run inside one transaction; what Update's function did is kept whole when
// it gives nil and undone whole when it gives an error. A Tx is good only inside its function.
type Store interface {
	View(func(Tx) error) error
	Update(func(Tx) error) error
	Close() error
}

// Tx is one transaction. Every kind has keys of its own, sorted by bytes. A value may be read only within the
// transaction, and is never changed in place.
type Tx interface {
	Get(kind Kind, key string) []byte // nil: there is none
	Put(kind Kind, key string, value []byte) error
	Delete(kind Kind, key string) error // of what is not there is no error
	Scan(kind Kind, r Range) iter.Seq2[string, []byte]
	Next(kind Kind) (uint64, error) // 1, 2, 3, … for each kind, never twice
}

// Range says which keys a scan goes through. Nothing may be written while it runs.
type Range struct {
	Prefix  string
	After   string // only keys beyond this one, in the scan's direction; "": from the end where it starts
	Reverse bool
}

// Kind is a sort of record.
type Kind string

// The kinds. Their names are in files: they are never changed, only added to.
const (
	projects     Kind = "projects"     // name → the newest version
	versions     Kind = "versions"     // name/version → a version that was replaced
	releases     Kind = "releases"     // project/release
	deployments  Kind = "deployments"  // project/rollout: the short of a rollout, for the gate
	rollouts     Kind = "rollouts"     // rollout
	history      Kind = "history"      // project/rollout → its environment
	approvals    Kind = "approvals"    // project/number
	discards     Kind = "discards"     // project/release
	environments Kind = "environments" // project/environment
	events       Kind = "events"       // number
	audit        Kind = "audit"        // number
)

func kinds() []Kind {
	return []Kind{projects, versions, releases, deployments, rollouts, history, approvals, discards, environments, events, audit}
}

// The errors that a caller may tell apart.
var (
	ErrReadOnly = errors.New("written in a transaction that only reads") // a mistake in the caller
	ErrStale    = errors.New("it was changed meanwhile")                 // the version asked for is not the newest
	ErrExists   = errors.New("there is one already")
)
