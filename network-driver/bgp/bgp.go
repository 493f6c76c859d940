// Package bgp tells the fabric where this node's containers are, and learns where the others' are, with an embedded
// gobgp. It knows sessions, routes and restarts; it knows no Swarm and no kernel: who the neighbours are comes in, and
// what was learnt goes out.
package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/liveness"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Settings do not change while the speaker runs.
type Settings struct {
	ASN         uint32
	Port        int
	Hold        time.Duration // whole seconds; keepalives go three times in it
	MaxPrefixes uint32        // a neighbour that sends more is cut off
	Pools       []netip.Prefix
	Routers     []fabric.Router
	Key         string            // of TCP MD5 inside the Swarm; empty: none
	Keys        map[string]string // of routers, by the name in their setting
	Security    uint8             // TTL security inside the Swarm: nodes are at most so many hops apart; 0: off
	// Restarting says that the kernel still forwards by what an earlier run of this plugin left: neighbours then keep
	// our routes, and we speak only once we have heard all of them (RFC 4724).
	Restarting bool
}

const (
	// restartTime: after a session that ended by a restart gobgp sits 5 s in Idle, so less than 15 s is too short.
	restartTime = 20 * time.Second
	// deferral: how long a restarted speaker waits for the neighbours' tables. Measured: 3 s loses routes.
	deferral = 10 * time.Second
	// settleLimit: from here on what was not learnt again is stale, even if some neighbour never came back.
	settleLimit = restartTime + deferral
	// settleDelay lets the last updates before an End-of-RIB reach the kernel.
	settleDelay = 2 * time.Second
	// repairAfter and repairEvery: gobgp's reflector loses a few updates when many neighbours join at once, for good;
	// sending all again heals it (measured, 13 of 13).
	repairAfter = 5 * time.Second
	repairEvery = 10 * time.Minute
	// longestSending is how long a repair waits for silence. Where containers come and go all the time there is none, and
	// what gobgp lost must not stay lost for it.
	longestSending = 5 * time.Second
	// longestBurst: a session that comes and goes must not put the repair off for ever.
	longestBurst = 20 * time.Second
	// pardonAfter: a neighbour cut off for too many prefixes gets another chance.
	pardonAfter = time.Minute
	// beat: how often the speaker looks at its timers.
	beat = 500 * time.Millisecond
)

// Told is what the speaker says. Calls may come from several goroutines, those about one prefix in their order.
type Told struct {
	Learn  func([]topology.Route) // a route without a next hop is withdrawn
	Settle func()                 // once: all that was not learnt by now is stale
	Border func([]netip.Prefix)   // the pools that this node announces as a whole, and so must forward
}

// Speaker keeps the sessions and announcements that it was last told to keep.
type Speaker struct {
	settings Settings
	log      *slog.Logger
	wake     chan struct{}

	mu       sync.Mutex // guards the rest
	wanted   wish
	now      *run
	verdicts []liveness.Verdict
}

// wish is what should be.
type wish struct {
	self       netip.Addr
	neighbours []topology.Neighbour
	own        []fabric.Announcement
	drained    bool
	six        netip.Addr // by which others send IPv6 here
	mtu        int        // of the uplink
}

// New starts nothing.
func New(s Settings, log *slog.Logger) *Speaker {
	return &Speaker{settings: s, log: log, wake: make(chan struct{}, 1)}
}

// Meet says who this node is and who its neighbours are. Without an address of its own the speaker falls silent.
func (s *Speaker) Meet(self netip.Addr, neighbours []topology.Neighbour) {
	s.change(func(w *wish) { w.self, w.neighbours = self, slices.Clone(neighbours) })
}

// Announce says which addresses this node has; all others are withdrawn.
func (s *Speaker) Announce(own []fabric.Announcement) {
	s.change(func(w *wish) { w.own = slices.Clone(own) })
}

// Stand says what others must know of this node to send to it.
func (s *Speaker) Stand(u topology.Uplink) {
	s.change(func(w *wish) { w.six, w.mtu = u.Six, u.MTU })
}

// Drain marks all that this node announces: whoever has another way, take it. Nothing is withdrawn.
func (s *Speaker) Drain(drained bool) {
	s.change(func(w *wish) { w.drained = drained })
}

// Judge takes what is known of neighbours' nodes beside BGP. Silence while a session is established is a loss of power
// or of the cable: its routes are forgotten at once. Where TCP was closed first only a process died: its routes stay for
// the restart time, unless its node falls silent too.
func (s *Speaker) Judge(verdicts []liveness.Verdict) {
	s.mu.Lock()
	s.verdicts = append(s.verdicts, verdicts...)
	s.mu.Unlock()
	s.nudge()
}

func (s *Speaker) change(edit func(*wish)) {
	s.mu.Lock()
	edit(&s.wanted)
	s.mu.Unlock()
	s.nudge()
}

func (s *Speaker) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Speaker) want() (wish, []liveness.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	verdicts := s.verdicts
	s.verdicts = nil
	return s.wanted, verdicts
}

// Run speaks until the context ends. It then ends without a word: the process's end closes the sessions, and
// neighbours keep the routes for the restart time. A Cease would withdraw them, and an upgrade would be an outage.
func (s *Speaker) Run(ctx context.Context, told Told) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var now *run
	problem := ""
	for {
		next, err := s.follow(ctx, now, told)
		now = next
		switch {
		case err != nil && err.Error() != problem:
			problem = err.Error()
			s.log.Error("the BGP speaker cannot do all that it should; it tries on", "cause", err)
		case err == nil && problem != "":
			problem = ""
			s.log.Info("the BGP speaker does again all that it should")
		}
		if now != nil {
			now.tend(ctx, time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// follow makes the running server what is wanted; a node whose address changed begins anew.
func (s *Speaker) follow(ctx context.Context, now *run, told Told) (*run, error) {
	want, verdicts := s.want()
	if now != nil && now.self != want.self {
		s.show(nil)
		now.leave(ctx)
		now = nil
	}
	if !want.self.IsValid() {
		return nil, nil
	}
	if now == nil {
		fresh, err := start(ctx, s.settings, want.self, s.log, told, s.wake)
		if err != nil {
			return nil, err
		}
		now = fresh
		s.show(now)
	}
	return now, errors.Join(now.judge(ctx, verdicts), now.follow(ctx, want))
}

func (s *Speaker) show(now *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
}

// Sessions tells how it stands with each neighbour. The server counts routes for it: ask when somebody wants to know.
func (s *Speaker) Sessions(ctx context.Context) ([]Session, error) {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	if now == nil {
		return nil, nil
	}
	all, err := now.sessions(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && s.now != now {
		return nil, nil // it ended while it was asked
	}
	return all, err
}

// Standing is how the whole stands, for people and for metrics.
type Standing struct {
	Held      int            `json:"held"`      // routes to other nodes' containers
	Kept      int            `json:"kept"`      // of them those that nobody tells any more, since all reflectors are lost
	Own       int            `json:"own"`       // prefixes that this node announces
	Border    []netip.Prefix `json:"border"`    // of them the pools
	Drained   bool           `json:"drained"`   // all of them marked
	Lost      int            `json:"lost"`      // sessions that were ended since their node fell silent
	Settled   time.Duration  `json:"settled"`   // from the start until the fabric was known; 0: not yet
	Converged time.Duration  `json:"converged"` // from the last session's start to its End-of-RIB
	// Outside are this node's addresses that the pools of the settings leave out: nobody is told of them.
	Outside int `json:"outside,omitempty"`
	// MTUs are those of other nodes' uplinks that are not this one's.
	MTUs map[string]int `json:"mtus,omitempty"`
}

// Standing tells how the whole stands.
func (s *Speaker) Standing() Standing {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	if now == nil {
		return Standing{}
	}
	return now.standing()
}
