// Package line is the agent's door for the manager. The agent dials, since only it knows when its node is there; then the
// manager asks, in HTTP over streams of the one connection, and the agent answers. It knows TLS, HTTP and when to dial
// again. What is answered, the rooms behind the interfaces know.
package line

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/rolling-swarm/rolling/internal/wire"
)

const (
	// dialWithin bounds TCP and TLS together.
	dialWithin = 5 * time.Second
	// helloWithin: a manager that has accepted an agent asks at once who it is.
	helloWithin = 10 * time.Second
	// beat is how often either end asks for a sign of life; a silent peer is given up after two of them.
	beat = 5 * time.Second
	// shortest and longest wait between two tries. A manager that comes back finds all agents of 300 nodes within half
	// a minute, and not within the same second.
	shortest = 500 * time.Millisecond
	longest  = 30 * time.Second
	// steady is how long a line must have lasted for the next wait to be short again: two agents that claim one node push
	// each other out, and would do so without a pause.
	steady = 30 * time.Second
	// warnBefore the certificate ends: renewal is by hand, and needs a deployment.
	warnBefore = 60 * 24 * time.Hour
)

// Engine is what the door needs of the node's engine.
type Engine interface {
	// Hello says which node of the Swarm this is; an error if of none.
	Hello(context.Context) (wire.Hello, error)
	// Managers are the hosts of the Swarm's managers.
	Managers(context.Context) ([]string, error)
	// Container is the one of a task; wire.ErrUnknown if it is not here.
	Container(ctx context.Context, task string) (string, error)
	// Lines are the last n of a container; wire.ErrUnknown if it is not here.
	Lines(ctx context.Context, container string, n int) (wire.Lines, error)
	// Checks are what its health check has said last; wire.ErrUnknown if it is not here.
	Checks(ctx context.Context, container string) (wire.Checks, error)
}

// Fabric is the node's network plugin: its routes, how it does, and a drain of the node.
type Fabric interface {
	Routes(context.Context) (wire.Routes, error)
	Driver(context.Context) (wire.Driver, error)
	Drain(ctx context.Context, on bool) error
	Reach(ctx context.Context, from, to string) (wire.Reach, error)
}

// Meter knows the recent measurements of the node's tasks.
type Meter interface {
	Samples(ctx context.Context, tasks []string) (wire.Samples, error)
}

// Parts are what is behind the door.
type Parts struct {
	Engine  Engine
	Fabric  Fabric
	Meter   Meter
	Ledger  Ledger
	Host    func() wire.Host     // how its kernel stands
	Plugins func() []wire.Plugin // Rolling's, as the agent keeps them
	Health  func() []string      // problems; none if all is well
	Version string
	Log     *slog.Logger
}

// A State says how the line stands.
type State struct {
	Connected bool      `json:"connected"`
	Manager   string    `json:"manager,omitempty"` // where it is, or was tried last
	Since     time.Time `json:"since,omitzero"`
	Problem   string    `json:"problem,omitempty"` // of the last try
	Tries     int       `json:"tries"`             // that failed since the line last stood
	Ends      time.Time `json:"ends"`              // when the certificate does
}

// A Line is the agent's end.
type Line struct {
	config   Config
	identity wire.Identity
	parts    Parts

	mu    sync.Mutex
	state State // guarded by mu
}

// New makes a Line of the secret's text and starts nothing.
func New(config Config, secret []byte, parts Parts) (*Line, error) {
	identity, err := wire.ParseIdentity(secret)
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", config.Secret, err)
	}
	if role := identity.Role(); role != wire.RoleAgent {
		return nil, fmt.Errorf("secret %s: its certificate is for %q: want %s, as in the Swarm's secret %s-1", config.Secret, role, wire.RoleAgent, wire.SecretAgent)
	}
	return &Line{config: config, identity: identity, parts: parts, state: State{Ends: identity.Ends()}}, nil
}

// State says how it stands now.
func (l *Line) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *Line) note(change func(*State)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
}

// Run keeps a line until ctx ends.
func (l *Line) Run(ctx context.Context) error {
	wait := shortest
	for turn := 0; ; turn++ {
		began := time.Now()
		err := l.once(ctx, turn)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		stood := l.State().Connected
		l.note(func(s *State) {
			if s.Connected, s.Problem, s.Tries = false, err.Error(), s.Tries+1; stood {
				s.Tries = 0
			}
		})
		if stood || l.State().Tries == 1 { // the same failure again and again is said once
			l.parts.Log.Warn("no line to the manager; trying again", "error", err)
		}
		if stood && time.Since(began) >= steady {
			wait = shortest
		}
		select {
		case <-time.After(jitter(wait, rand.Float64())):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, longest)
	}
}

// jitter spreads a wait over its second half.
func jitter(d time.Duration, chance float64) time.Duration {
	return d/2 + time.Duration(chance*float64(d/2))
}

// once dials the managers in turn until one answers, and serves that one until the line breaks. All of them in one go: of the
// Swarm's managers only one has ours, and a pause after each of the others would keep a node without a line for minutes.
func (l *Line) once(ctx context.Context, turn int) error {
	hello, err := l.hello(ctx)
	if err != nil {
		return err
	}
	addresses, err := l.addresses(ctx)
	if err != nil {
		return err
	}
	conn, address, err := l.reach(ctx, addresses, turn)
	if err != nil {
		return err
	}
	if err := l.serve(ctx, conn, hello); err != nil {
		return fmt.Errorf("line to the manager at %s: %w", address, err)
	}
	return fmt.Errorf("line to the manager at %s: it has ended", address)
}

// reach dials from another one on each turn, so that one that answers and then fails does not stand in the way of the rest.
func (l *Line) reach(ctx context.Context, addresses []string, turn int) (*tls.Conn, string, error) {
	var problems []error
	for i := range addresses {
		address := addresses[(turn+i)%len(addresses)]
		l.note(func(s *State) { s.Manager = address })
		conn, err := l.dial(ctx, address)
		if err == nil {
			return conn, address, nil
		}
		problems = append(problems, fmt.Errorf("dial the manager at %s: %w", address, err))
	}
	return nil, "", errors.Join(problems...)
}

func (l *Line) hello(ctx context.Context) (wire.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	h, err := l.parts.Engine.Hello(ctx)
	h.Version = l.parts.Version
	return h, err
}

func (l *Line) addresses(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	var all []string
	for _, m := range l.config.Manager {
		hosts := []string{m}
		if m == Swarm {
			var err error
			if hosts, err = l.parts.Engine.Managers(ctx); err != nil {
				return nil, err
			}
		}
		for _, h := range hosts {
			address, err := withPort(h)
			if err != nil {
				return nil, err
			}
			all = append(all, address)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("find the manager: the engine names no manager of the Swarm")
	}
	return all, nil
}

func (l *Line) dial(ctx context.Context, address string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, l.identity.Dial())
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// serve answers on the connection until it breaks, the manager does not ask for a hello, or ctx ends.
func (l *Line) serve(ctx context.Context, conn *tls.Conn, hello wire.Hello) error {
	session, err := yamux.Server(conn, multiplex())
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	greeted := make(chan struct{})
	server := &http.Server{
		Handler: l.door(hello, sync.OnceFunc(func() { close(greeted) })), ReadHeaderTimeout: dialWithin, IdleTimeout: time.Minute,
		WriteTimeout: answerWithin + dialWithin, MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(l.parts.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(session) }()
	defer func() {
		_ = conn.NetConn().Close() // else TLS would wait for a peer that is silent
		_ = server.Close()         // the line has ended, whatever these say
		_ = session.Close()
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("before the manager has asked for a hello, so it may have refused this agent: %w", err)
	case <-time.After(helloWithin):
		return fmt.Errorf("the manager has not asked for a hello within %s", helloWithin)
	case <-ctx.Done():
		return ctx.Err()
	case <-greeted:
	}
	l.note(func(s *State) { s.Connected, s.Since, s.Problem, s.Tries = true, time.Now(), "", 0 })
	l.parts.Log.Info("a line to the manager stands", "manager", conn.RemoteAddr())
	if time.Until(l.identity.Ends()) < warnBefore {
		l.parts.Log.Warn("the line's certificate ends soon: `rolling line init --again`, then deploy the stack with the new generation", "ends", l.identity.Ends())
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// multiplex are the bounds of the connection.
func multiplex() *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = maxRequests
	c.KeepAliveInterval, c.ConnectionWriteTimeout = beat, beat
	c.StreamOpenTimeout, c.StreamCloseTimeout = 3*beat, time.Minute
	c.LogOutput = io.Discard // what breaks shows as an error of the line
	return c
}
