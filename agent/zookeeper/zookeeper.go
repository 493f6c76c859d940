// Package zookeeper keeps finagle's ServerSets equal to what was decided. It knows ZooKeeper, the exact JSON of a ServerSet
// member, and which nodes are ours; it refuses to know services, tasks and why a set is what it is.
//
// Members are persistent sequential nodes: nothing vanishes because a session ends, so an agent that dies, or a ZooKeeper
// that is away, empties no set. A node is ours if the metadata of its JSON, which finagle hands on and does not judge,
// names our Swarm; all others are left alone. /rolling/discovery/SWARM holds the version of the last decision, which
// keeps a deposed leader from writing, and one child for each path that may hold nodes of ours, so that a new leader
// finds what the one before left.
package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/agent/member"
)

const (
	// verifyEvery is how often sets in step are read again: somebody may have deleted a node of ours.
	verifyEvery = 10 * time.Second
	// retryFirst and retryMost bound the pause after a failure, which doubles in between.
	retryFirst, retryMost = 250 * time.Millisecond, 4 * time.Second
)

// A Register is one ZooKeeper, as a set of servers.
type Register struct {
	servers []string
	auth    string // "user:password", "" without
	log     *slog.Logger
	connect func(context.Context) (session, error)
	wake    chan struct{}

	// Owned by Run.
	turn   member.Turn
	follow *member.Decision
	fresh  bool
	open   session // nil while there is no connection

	mu       sync.Mutex
	wanted   *member.Decision // guarded by mu
	standing member.Standing  // guarded by mu
}

// session is a tree with a connection behind it.
type session interface {
	tree
	Close()
}

// New makes a Register of servers (HOST or HOST:PORT) and of "user:password" for digest authentication, which may be
// empty: then what we make may be changed by anyone, as finagle's own announcer does it.
func New(servers []string, auth string, log *slog.Logger) (*Register, error) {
	if err := Check(servers, auth); err != nil {
		return nil, err
	}
	r := &Register{auth: auth, wake: make(chan struct{}, 1)}
	for _, s := range servers {
		r.servers = append(r.servers, withPort(s))
	}
	name := strings.Join(r.servers, ",")
	r.log = log.With("zookeeper", name)
	r.standing.Target = "zookeeper " + name
	r.connect = func(ctx context.Context) (session, error) { return connect(ctx, r.servers, r.auth, r.log) }
	return r, nil
}

// Check says what is wrong with the settings, all problems at once.
func Check(servers []string, auth string) error {
	var problems []error
	if len(servers) == 0 {
		problems = append(problems, errors.New("zookeeper: there is no server"))
	}
	for _, s := range servers {
		host, port, err := net.SplitHostPort(withPort(s))
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || host == "" || bad != nil || n == 0 || strings.Contains(s, "/") {
			problems = append(problems, fmt.Errorf("zookeeper %q: want HOST or HOST:PORT", s))
		}
	}
	if user, password, ok := strings.Cut(auth, ":"); auth != "" && (!ok || user == "" || password == "") {
		problems = append(problems, errors.New("zookeeper: want USER:PASSWORD for its digest authentication"))
	}
	return errors.Join(problems...)
}

func withPort(server string) string {
	if strings.Contains(server, ":") && !strings.HasSuffix(server, "]") {
		return server
	}
	return server + ":2181"
}

// Set gives a new decision to follow. It does not wait for it to be done.
func (r *Register) Set(d member.Decision) { r.set(&d) }

func (r *Register) set(d *member.Decision) {
	r.mu.Lock()
	r.wanted = d
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Standing says how far the ServerSets are.
func (r *Register) Standing() []member.Standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return []member.Standing{r.standing}
}

// Run keeps the ServerSets in step until ctx ends, which is when this agent no longer leads; the decision ends with it.
func (r *Register) Run(ctx context.Context) error {
	defer r.set(nil)
	defer r.hangUp()
	pause := retryFirst
	for {
		wait := verifyEvery
		if err := r.step(ctx); err != nil && ctx.Err() == nil {
			wait, pause = pause, min(2*pause, retryMost)
		} else {
			pause = retryFirst
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.wake:
		case <-time.After(wait):
		}
	}
}

func (r *Register) hangUp() {
	if r.open != nil {
		r.open.Close()
		r.open = nil
	}
}

// step makes the ServerSets equal to what is wanted, and notes how that went.
func (r *Register) step(ctx context.Context) error {
	r.mu.Lock()
	wanted := r.wanted
	r.mu.Unlock()
	if wanted == nil {
		return nil
	}
	if wanted != r.follow {
		r.follow, r.fresh = wanted, true
		r.turn.Decide(wanted.By, wanted.At)
	}
	err := r.align(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.note(err)
	return err
}

// align works on a connection of its own: there is nothing in a session that would be worth saving from a failure.
func (r *Register) align(ctx context.Context) error {
	if r.open == nil {
		open, err := r.connect(ctx)
		if err != nil {
			return err
		}
		r.open = open
	}
	err := reconcile(r.open, &r.turn, *r.follow, time.Now())
	if errors.Is(err, errBroken) {
		r.hangUp()
	}
	if err != nil {
		return fmt.Errorf("zookeeper %s: %w", strings.Join(r.servers, ","), err)
	}
	return nil
}

// note keeps what a person and the metrics are shown; it logs only what is new.
func (r *Register) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	text := ""
	if err != nil {
		text = err.Error()
		r.standing.Failures++
	}
	if err == nil && r.fresh {
		r.fresh = false
		r.standing.Writes++
		if !r.follow.Changed.IsZero() {
			r.standing.Lag = now.Sub(r.follow.Changed)
		}
	}
	if (err == nil) != r.standing.InStep || r.standing.Since.IsZero() {
		r.standing.InStep, r.standing.Since = err == nil, now
	}
	if text != r.standing.Error {
		if r.standing.Error = text; text != "" {
			r.log.Warn("zookeeper is not as it should be", "error", text)
		} else {
			r.log.Info("zookeeper is in step again", "version", r.turn.Mine().Version)
		}
	}
	r.standing.Version = r.turn.Mine().Version
}
