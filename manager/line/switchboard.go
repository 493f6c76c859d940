// Package line is the manager's door for the agents: they dial, it keeps one line a node, and through it the manager asks
// the node's agent. It knows TLS, who may have a line, and the questions. What an answer means, it does not know; nothing
// here is kept: a manager that starts anew has its lines within half a minute.
package line

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	// admitWithin bounds TLS and the hello together.
	admitWithin = 10 * time.Second
	// maxAdmitting are admitted at once; who dials beyond is cut off and tries again.
	maxAdmitting = 64
	// maxLines is far above the nodes that a Swarm holds.
	maxLines = 4096
	// beat is as the agent's.
	beat = 5 * time.Second
	// quiet: refusals are told of once in that time, since anybody in the network can cause them.
	quiet = 10 * time.Second
	// warnBefore the certificate ends: renewal is by hand, and needs a deployment.
	warnBefore = 60 * 24 * time.Hour
)

// A Node is one that has a line.
type Node struct {
	wire.Hello
	Address string    `json:"address"` // as it dialled
	Since   time.Time `json:"since"`
}

// A Switchboard keeps the lines.
type Switchboard struct {
	identity wire.Identity
	log      *slog.Logger

	mu      sync.Mutex
	lines   map[string]*line // guarded by mu; by the id of the node
	closed  bool             // guarded by mu
	refused int              // guarded by mu
	told    time.Time        // guarded by mu: when a refusal was told of last
}

// New makes a Switchboard of the secret's text and starts nothing.
func New(secret []byte, log *slog.Logger) (*Switchboard, error) {
	identity, err := wire.ParseIdentity(secret)
	if err != nil {
		return nil, fmt.Errorf("secret of the agents' line: %w", err)
	}
	if role := identity.Role(); role != wire.RoleManager {
		return nil, fmt.Errorf("secret of the agents' line: its certificate is for %q: want %s, as in the Swarm's secret %s-1", role, wire.RoleManager, wire.SecretManager)
	}
	return &Switchboard{identity: identity, log: log, lines: map[string]*line{}}, nil
}

// Ends is when the certificate does.
func (s *Switchboard) Ends() time.Time { return s.identity.Ends() }

// Refused counts who dialled and got no line.
func (s *Switchboard) Refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// Nodes are those that have a line, by host name.
func (s *Switchboard) Nodes() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Node
	for _, l := range s.lines {
		all = append(all, l.node)
	}
	slices.SortFunc(all, func(a, b Node) int {
		return strings.Compare(a.Hostname+" "+a.NodeID, b.Hostname+" "+b.NodeID)
	})
	return all
}

// Serve admits agents from the listener, which is plain TCP, until ctx ends; then every line is closed.
func (s *Switchboard) Serve(ctx context.Context, listener net.Listener) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all.Go(func() {
		<-ctx.Done()
		_ = listener.Close()
		s.close()
	})
	if time.Until(s.Ends()) < warnBefore {
		s.log.Warn("the certificate of the agents' line ends soon: `rolling line init --again`, then deploy the stack with the new generation", "ends", s.Ends())
	}
	admitting := make(chan struct{}, maxAdmitting)
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("agents' line on %s: %w", listener.Addr(), err)
		case err != nil: // too many open files, or who dialled has gone
			s.refuse("", err)
			wait(ctx, 100*time.Millisecond)
			continue
		}
		select {
		case admitting <- struct{}{}:
			all.Go(func() { s.admit(ctx, conn, sync.OnceFunc(func() { <-admitting })) })
		default:
			s.refuse(conn.RemoteAddr().String(), fmt.Errorf("%d agents are being admitted already", maxAdmitting))
			_ = conn.Close()
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// admit makes a line of a connection and watches it until it breaks. The connection is closed when it returns.
func (s *Switchboard) admit(ctx context.Context, conn net.Conn, admitted func()) {
	defer admitted()
	short, cancel := context.WithTimeout(ctx, admitWithin)
	defer cancel()
	l, err := s.greet(short, conn)
	if err == nil {
		err = s.add(l)
	}
	if err != nil {
		s.refuse(conn.RemoteAddr().String(), err)
		if l != nil {
			l.close()
		}
		_ = conn.Close()
		return
	}
	admitted()
	s.log.Info("an agent has a line", "node", l.node.Hostname, "id", l.node.NodeID, "from", l.node.Address)
	// An agent opens no stream: whoever does is none of ours. Accept also returns when the line breaks.
	if _, err = l.session.AcceptStream(); err == nil {
		err = errors.New("the agent asked for something, which is not its part")
	}
	l.close()
	s.remove(l)
	s.log.Info("an agent's line has ended", "node", l.node.Hostname, "id", l.node.NodeID, "error", err)
}

// greet proves who dialled, and asks for its name.
func (s *Switchboard) greet(ctx context.Context, conn net.Conn) (*line, error) {
	secure := tls.Server(conn, s.identity.Listen())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	session, err := yamux.Client(secure, multiplex())
	if err != nil {
		return nil, err
	}
	l := newLine(conn, session)
	l.node.Address = conn.RemoteAddr().String()
	if err := l.get(ctx, wire.PathHello, nil, &l.node.Hello); err != nil {
		return l, err
	}
	if !named(l.node.NodeID, 64) || !named(l.node.Hostname, 253) {
		return l, fmt.Errorf("it says to be node %.70q, id %.70q, which are no names", l.node.Hostname, l.node.NodeID)
	}
	l.node.Since = time.Now().UTC()
	return l, nil
}

// named keeps what is no name of a node out of logs and answers.
func named(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._", r)
	})
}

// add makes the line the node's only one. The newest wins: an older one is of an agent that has been replaced, or of a
// connection whose end nobody told us of.
func (s *Switchboard) add(l *line) error {
	s.mu.Lock()
	old := s.lines[l.node.NodeID]
	switch {
	case s.closed:
		s.mu.Unlock()
		return errors.New("the manager ends")
	case old == nil && len(s.lines) >= maxLines:
		s.mu.Unlock()
		return fmt.Errorf("%d nodes have a line already", maxLines)
	}
	s.lines[l.node.NodeID] = l
	s.mu.Unlock()
	if old != nil {
		old.close()
	}
	return nil
}

func (s *Switchboard) remove(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines[l.node.NodeID] == l {
		delete(s.lines, l.node.NodeID)
	}
}

func (s *Switchboard) close() {
	s.mu.Lock()
	s.closed = true
	var all []*line
	for _, l := range s.lines {
		all = append(all, l)
	}
	s.mu.Unlock()
	for _, l := range all {
		l.close()
	}
}

func (s *Switchboard) refuse(from string, why error) {
	s.mu.Lock()
	s.refused++
	n, tell := s.refused, time.Since(s.told) >= quiet
	if tell {
		s.told = time.Now()
	}
	s.mu.Unlock()
	if tell {
		s.log.Warn("refused a line", "from", from, "error", why, "refused", n)
	}
}

// multiplex are the bounds of a connection.
func multiplex() *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = maxRequests
	c.KeepAliveInterval, c.ConnectionWriteTimeout = beat, beat
	c.StreamOpenTimeout, c.StreamCloseTimeout = 3*beat, time.Minute
	c.LogOutput = io.Discard // what breaks shows as an error of the line
	return c
}
