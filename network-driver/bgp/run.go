package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// run is one life of the server under one address.
type run struct {
	settings Settings
	self     netip.Addr
	server   *server.BgpServer
	log      *slog.Logger
	told     Told
	wake     chan<- struct{}
	begun    time.Time
	unwatch  context.CancelFunc

	deadlines  *deadlines
	mending    []netip.Addr // neighbours to whom all has yet to be sent again; only the speaker's loop knows it
	reflectors []string     // told only what is here; the speaker's loop alone uses it
	said       string       // of nodes whose MTU differs

	mu         sync.Mutex // guards all below; only the speaker's loop writes neighbours, own, border, drained and mtu
	neighbours map[netip.Addr]topology.Neighbour
	own        map[netip.Prefix]saying
	border     []netip.Prefix
	drained    bool
	outside    int                           // of own, by the settings' pools
	held       map[netip.Prefix]netip.Addr   // the node that has it
	nearby     map[netip.Prefix]bool         // of them those that nobody routes to
	pools      map[netip.Prefix]netip.Prefix // of learnt routes that are announced as a whole
	lull       lull
	back       takenBack
	mtus       map[netip.Addr]int // of other nodes' uplinks
	mtu        int                // of this one's
	compare    bool               // one of them may have changed
	seen       map[netip.Addr]*seen
	lost       int
	settledIn  time.Duration
	converged  time.Duration
}

// seen is what the server's events said of a neighbour.
type seen struct {
	up     bool
	since  time.Time
	heard  bool                // the last of its Ends-of-RIB, in this session
	awaits map[bgp.Family]bool // those that have not come yet
	stale  bool                // the session ended, and its routes may still be kept for it
	silent bool                // its kernel does not answer
	flaps  int
	cutOff time.Time
}

func start(ctx context.Context, s Settings, self netip.Addr, log *slog.Logger, told Told, wake chan<- struct{}) (*run, error) {
	if err := free(self, s.Port); err != nil {
		return nil, err
	}
	level := &slog.LevelVar{}
	level.Set(slog.LevelWarn)
	watchCtx, unwatch := context.WithCancel(ctx)
	r := &run{
		settings: s, self: self, log: log, told: told, wake: wake, begun: time.Now(), unwatch: unwatch,
		server:     server.NewBgpServer(server.LoggerOption(slog.New(quiet{log.Handler(), level}), level)),
		neighbours: map[netip.Addr]topology.Neighbour{}, own: map[netip.Prefix]saying{}, seen: map[netip.Addr]*seen{},
		held: map[netip.Prefix]netip.Addr{}, nearby: map[netip.Prefix]bool{}, pools: map[netip.Prefix]netip.Prefix{}, lull: newLull(), back: newTakenBack(),
		reflectors: []string{host(self)}, // never empty: gobgp takes an empty set for everybody
		mtus:       map[netip.Addr]int{},
	}
	r.deadlines = newDeadlines(r.begun, s.Restarting)
	go r.server.Serve()
	err := r.server.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn: s.ASN, RouterId: self.String(), ListenPort: int32(s.Port), ListenAddresses: []string{self.String()}, Families: families(),
	}})
	if err == nil {
		err = r.protect(ctx)
	}
	if err == nil {
		err = r.watch(watchCtx)
	}
	if err != nil {
		r.leave(ctx)
		return nil, fmt.Errorf("speak BGP on %s port %d: %w", self, s.Port, err)
	}
	log.Info("speaking BGP", "address", self, "port", s.Port, "asn", s.ASN, "restarting", s.Restarting)
	return r, nil
}

// families are those that the server makes tables for, as gobgp numbers them: the unicast ones. Left to itself it makes
// two for each of the two dozen that it knows, with 2048 locks in each: measured, 4 MB of every node.
func families() []uint32 { return []uint32{0, 1} }

// free tries the listening address before a server is made for it: one that could not listen cannot be ended.
func free(self netip.Addr, port int) error {
	l, err := net.Listen("tcp4", netip.AddrPortFrom(self, uint16(port)).String())
	if err != nil {
		return fmt.Errorf("speak BGP on %s port %d: %w: is the address on an interface, and no other daemon on the port (ROLLING_BGP_PORT)?", self, port, err)
	}
	return l.Close()
}

// leave is for a node that has another address now, or left the Swarm: with a Cease, so that neighbours forget us.
func (r *run) leave(ctx context.Context) {
	r.unwatch()
	if err := r.server.StopBgp(ctx, &api.StopBgpRequest{}); err != nil {
		r.log.Warn("the BGP server did not end well", "cause", err)
	}
	r.mu.Lock()
	gone := slices.Collect(maps.Keys(r.held))
	r.held, r.nearby = map[netip.Prefix]netip.Addr{}, map[netip.Prefix]bool{}
	r.mu.Unlock()
	var withdrawn []topology.Route
	for _, p := range gone {
		withdrawn = append(withdrawn, topology.Route{Prefix: p})
	}
	if len(withdrawn) > 0 {
		r.told.Learn(withdrawn)
	}
}

// follow announces before it adds neighbours: else the End-of-RIB comes before our own prefixes.
func (r *run) follow(ctx context.Context, want wish) error {
	problems := []error{r.announce(want)}
	wanted := map[netip.Addr]topology.Neighbour{}
	for _, n := range want.neighbours {
		wanted[n.Address] = n
	}
	for a := range r.neighbours {
		if _, stays := wanted[a]; !stays {
			problems = append(problems, r.drop(ctx, a))
		}
	}
	problems = append(problems, r.reflects(ctx, want))
	for _, n := range want.neighbours {
		// A neighbour whose role changed keeps its session: to whom it reflects is settled when it is made, works either
		// way, and a new session would cost the routes of a node that was merely promoted.
		if have, known := r.neighbours[n.Address]; known && have.Router == n.Router && have.ASN == n.ASN && have.Port == n.Port {
			continue
		}
		r.mu.Lock()
		delete(r.seen, n.Address)
		r.mu.Unlock()
		problems = append(problems, r.add(ctx, n))
	}
	return errors.Join(problems...)
}

func (r *run) add(ctx context.Context, n topology.Neighbour) error {
	if _, known := r.neighbours[n.Address]; known {
		if err := r.drop(ctx, n.Address); err != nil {
			return err
		}
	}
	restarting := r.settings.Restarting && time.Since(r.begun) < deferral
	if err := r.server.AddPeer(ctx, &api.AddPeerRequest{Peer: peer(r.settings, r.self, n, restarting)}); err != nil {
		return fmt.Errorf("neighbour %s: %w", n.Address, err)
	}
	r.mu.Lock()
	r.neighbours[n.Address] = n
	r.mu.Unlock()
	r.log.Info("neighbour", "address", n.Address, "asn", n.ASN, "passive", n.Passive, "client", n.Client, "router", n.Router)
	return nil
}

func (r *run) drop(ctx context.Context, a netip.Addr) error {
	if err := r.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: a.String()}); err != nil {
		return fmt.Errorf("neighbour %s: end its session: %w", a, err)
	}
	r.mu.Lock()
	delete(r.neighbours, a)
	r.seen[a] = &seen{silent: true} // what it told goes, even if nobody else is left to tell of changes
	r.mu.Unlock()
	r.log.Info("no longer a neighbour", "address", a)
	return nil
}
