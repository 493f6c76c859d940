// Package balance keeps virtual addresses served: one loop takes what Swarm says of services and what the node knows of
// containers, and moves the rules in their namespaces and what the fabric is told after it. It knows the order of these
// steps; which backend takes what is the core's to decide, and it knows no Docker, no netlink and no BGP.
package balance

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// Rules are what stands in the namespaces.
type Rules interface {
	Set(p vip.Plan, whole bool) error
}

// Node announces what it is told, as its network's, and says when one of the watched addresses comes or goes elsewhere.
type Node interface {
	Serve(ctx context.Context, announce map[netip.Addr]topology.NetworkID, watch map[netip.Addr]bool)
}

// Store keeps what Swarm said over a restart: an engine that starts knows only a part.
type Store interface {
	Load() ([]vip.Service, error)
	Save([]vip.Service) error
}

const (
	// lookEvery: somebody else may flush rules.
	lookEvery  = 2 * time.Second
	wholeEvery = 3 // of these
)

// Balancer is the loop and what it owns.
type Balancer struct {
	rules Rules
	store Store
	log   *slog.Logger
	now   func() time.Time
	wake  chan struct{}

	mu       sync.Mutex // guards the rest
	place    vip.Place
	memory   *vip.Memory
	ages     vip.Ages
	patience vip.Patience
	silent   bool // the engine is
	informed bool // something is known: without, rules of an earlier run stay
	unsaved  bool
	plan     vip.Plan
	problem  string
}

// New begins with what the store has.
func New(rules Rules, store Store, log *slog.Logger, now func() time.Time) *Balancer {
	known, err := store.Load()
	if err != nil {
		log.Warn("what was known of services is lost; the engine is asked anew", "cause", err)
	}
	return &Balancer{
		rules: rules, store: store, log: log, now: now, wake: make(chan struct{}, 1),
		memory: vip.NewMemory(known), ages: vip.Ages{}, informed: len(known) > 0,
	}
}

// Place takes what the node knows.
func (b *Balancer) Place(p vip.Place) {
	b.mu.Lock()
	same := reflect.DeepEqual(p, b.place)
	b.place = p
	b.mu.Unlock()
	if !same {
		b.nudge()
	}
}

// See takes what the engine says of the networks that it was asked about.
func (b *Balancer) See(s vip.Seen, asked []vip.Question) {
	b.mu.Lock()
	changed := b.silent != s.Silent
	if b.silent = s.Silent; !s.Silent {
		news := b.memory.Take(s, asked, b.now()) || !b.informed
		b.informed, b.unsaved, changed = true, b.unsaved || news, changed || news
	}
	b.mu.Unlock()
	if changed {
		b.nudge()
	}
}

// Questions are what the engine should be asked now.
func (b *Balancer) Questions() []vip.Question {
	b.mu.Lock()
	defer b.mu.Unlock()
	return vip.Questions(b.place.Endpoints)
}

func (b *Balancer) nudge() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Run keeps the rules true until the context ends. They then stay, and so do all flows.
func (b *Balancer) Run(ctx context.Context, n Node) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var told step
	for count := 0; ; {
		if now := b.next(); now.known {
			if !maps.Equal(now.plan.Networks, told.plan.Networks) || !maps.Equal(now.watch, told.watch) {
				n.Serve(ctx, now.plan.Networks, now.watch)
				told = now
			}
			if now.whole { // else the node's answer comes in a moment
				b.note(b.rules.Set(now.plan, count%wholeEvery == 0))
				b.save()
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-tick.C:
			count++
		}
	}
}

// step is what should be, as far as it is known.
type step struct {
	plan  vip.Plan
	watch map[netip.Addr]bool
	known bool // something is; before, rules of an earlier run stay
	whole bool // the node told of all backends
}

func (b *Balancer) next() step {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.place.Ready || !b.informed && len(vip.Questions(b.place.Endpoints)) > 0 {
		return step{}
	}
	services := b.memory.Services()
	s := step{plan: vip.Make(services, b.place, b.memory.Fit()), watch: vip.Watched(services), known: true}
	if s.whole = b.place.Covers(s.watch); s.whole {
		b.ages.Mark(&s.plan, b.now())
		s.plan.Networks = b.patience.Allow(s.plan, b.place, !b.silent, b.memory.Young(b.now()), b.now())
		s.plan.Announce = slices.SortedFunc(maps.Keys(s.plan.Networks), netip.Addr.Compare)
		b.plan = s.plan
	} else {
		all := maps.Clone(b.plan.Networks) // what is announced stays until more is known
		if all == nil {
			all = map[netip.Addr]topology.NetworkID{}
		}
		maps.Copy(all, s.plan.Networks)
		s.plan.Networks = all
	}
	return s
}

func (b *Balancer) save() {
	b.mu.Lock()
	services, unsaved := b.memory.Services(), b.unsaved
	b.unsaved = false
	b.mu.Unlock()
	if !unsaved {
		return
	}
	if err := b.store.Save(services); err != nil {
		b.log.Warn("what is known of services is not kept for the next start", "cause", err)
	}
}

// note logs when the rules begin to fail and when they are right again.
func (b *Balancer) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	b.mu.Lock()
	before := b.problem
	b.problem = text
	b.mu.Unlock()
	switch {
	case text != "" && text != before:
		b.log.Error("virtual addresses are not served as they should be; tried again every few seconds", "cause", err)
	case text == "" && before != "":
		b.log.Info("virtual addresses are served as they should be again")
	}
}

// Report is a picture for people and for metrics.
type Report struct {
	Services []vip.Service            `json:"services"`
	Boxes    map[string][]vip.Balance `json:"boxes"`    // by sandbox
	Node     []vip.Balance            `json:"node"`     // for clients outside
	Announce []netip.Addr             `json:"announce"` // to the fabric
	Problem  string                   `json:"problem,omitempty"`
}

// Report tells how it stands.
func (b *Balancer) Report() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Report{Services: b.memory.Services(), Boxes: b.plan.Boxes, Node: b.plan.Node, Announce: b.plan.Announce, Problem: b.problem}
}
