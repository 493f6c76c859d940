// Package probe asks the kernels of neighbours whether they are there, and speaks BFD with routers. It knows ICMP, UDP and
// when to send; what an answer, a silence or a router's packet means is package liveness's to say. It knows no BGP.
package probe

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rolling-swarm/rolling/network-driver/liveness"
)

// Settings do not change while the prober runs.
type Settings struct {
	Echo       liveness.Settings // without an interval nobody is asked
	BFD        time.Duration     // between two packets to a router
	Multiplier uint8             // so many missing packets of ours make the router give us up
	BFDPort    int               // the routers'
}

// openAgain: a socket that cannot be had is tried again.
const openAgain = time.Second

// Prober asks those whom it was last told to ask.
type Prober struct {
	settings Settings
	log      *slog.Logger
	changed  chan struct{} // for the asking of neighbours
	turned   chan struct{} // for BFD

	mu         sync.Mutex // guards the rest
	self       netip.Addr
	neighbours []netip.Addr
	routers    []netip.Addr
	echo       []liveness.Seen
	bfd        []Routers
	troubles   map[string]error
}

// Routers is how BFD stands with one router.
type Routers struct {
	Address netip.Addr `json:"address"`
	State   string     `json:"state"`
	Downs   int        `json:"downs"`
}

// Seen is what the prober sees, for people and for metrics.
type Seen struct {
	Nodes    []liveness.Seen   `json:"nodes"`
	Routers  []Routers         `json:"routers"`
	Problems map[string]string `json:"problems"`
}

// New starts nothing.
func New(s Settings, log *slog.Logger) *Prober {
	return &Prober{settings: s, log: log, changed: make(chan struct{}, 1), turned: make(chan struct{}, 1), troubles: map[string]error{}}
}

// Meet says under which address whom to ask, and with which routers to speak BFD.
func (p *Prober) Meet(self netip.Addr, neighbours, routers []netip.Addr) {
	p.mu.Lock()
	p.self, p.neighbours, p.routers = self, slices.Clone(neighbours), slices.Clone(routers)
	p.mu.Unlock()
	for _, c := range []chan struct{}{p.changed, p.turned} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Run asks until the context ends. Told must not take long: it is called between two rounds of questions.
func (p *Prober) Run(ctx context.Context, told func([]liveness.Verdict)) error {
	group, ctx := errgroup.WithContext(ctx)
	if p.settings.Echo.Every > 0 {
		group.Go(func() error {
			return p.keep(ctx, "echo", p.changed, func(ctx context.Context, self netip.Addr) error { return p.ask(ctx, self, told) })
		})
	}
	group.Go(func() error {
		return p.keep(ctx, "bfd", p.turned, p.speak)
	})
	return group.Wait()
}

// keep has a socket's loop run under the address that the node has. A loop that ends without an error is begun anew.
func (p *Prober) keep(ctx context.Context, name string, changed <-chan struct{}, loop func(context.Context, netip.Addr) error) error {
	for ctx.Err() == nil {
		self, _, _ := p.wanted()
		var err error
		if self.IsValid() {
			err = loop(ctx, self)
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being stopped is no failure
		}
		p.trouble(name, err)
		var again <-chan time.Time
		if err != nil || self.IsValid() {
			again = time.After(openAgain)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again:
		}
	}
	return nil
}

func (p *Prober) wanted() (self netip.Addr, neighbours, routers []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.self, p.neighbours, p.routers
}

// trouble says a problem once, and that it is over.
func (p *Prober) trouble(name string, err error) {
	p.mu.Lock()
	before := p.troubles[name]
	if err == nil {
		delete(p.troubles, name)
	} else {
		p.troubles[name] = err
	}
	p.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		p.log.Warn("neighbours that lose their power are seen only after the hold time", "by", name, "cause", err)
	case err == nil && before != nil:
		p.log.Info("neighbours that lose their power are seen at once again", "by", name)
	}
}

// Seen tells how it stands.
func (p *Prober) Seen() Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Seen{Nodes: slices.Clone(p.echo), Routers: slices.Clone(p.bfd), Problems: map[string]string{}}
	for name, err := range p.troubles {
		s.Problems[name] = err.Error()
	}
	return s
}
