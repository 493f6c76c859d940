// Package node keeps this host equal to what the engine asked for and to what the fabric told: one loop owns the
// state, writes it to the file before a call is answered, and moves the kernel and the speaker after it. It knows the
// order of these steps and what to do when one fails; it knows no protocol, no netlink, no bbolt and no gobgp.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Wires are the veth pairs between the node and its containers.
type Wires interface {
	Plug(topology.Link) error
	Unplug(name string) error
	Set([]topology.Link) error
	List() ([]topology.Present, error)
	Find(name string) (topology.Present, bool, error)
}

// Gate is the firewall: it accepts routed traffic, and, where no fast path does it, checks the containers' sources.
type Gate interface {
	Set(pools []netip.Prefix) error
	Check(legs []topology.Leg) error
	Before() int // rules of others that judge routed traffic first
	Spoofed() (uint64, error)
}

// Roads are the routes to other nodes' containers.
type Roads interface {
	Add(topology.Route) error
	Remove(netip.Prefix) error
	Set(wanted []topology.Route, sweep bool) error
	List() ([]topology.Route, error)
	Uplink(node netip.Addr) (topology.Uplink, error)
}

// Fence keeps packets for addresses that no container has from going in circles, on a border of the Swarm.
type Fence interface {
	Set(pools []netip.Prefix) error
}

// FastPath carries permitted packets past the firewall's chains. What it does not know goes the ordinary way.
type FastPath interface {
	Name() string
	Yields() bool // to rules of the administrators
	Set(topology.Fast) error
	Learn(map[netip.Addr]topology.Group) error
	Report() topology.FastReport
}

// Six is what IPv6 needs beside links and routes: the check of what containers send, the firewall, and forwarding.
type Six interface {
	Set(topology.Six) error
	Check([]topology.SixLeg) error
	Dropped() (uint64, error)
}

// Store keeps the state over a restart.
type Store interface {
	Save(topology.Change) error
	SaveMembership(topology.Membership) error
}

// Announcer tells the fabric which addresses are here.
type Announcer interface {
	Announce(own []fabric.Announcement)
	Stand(topology.Uplink) // what others must know to send here
}

// Parts are the edges that a node stands on.
type Parts struct {
	Wires     Wires
	Gate      Gate
	Roads     Roads
	Fence     Fence // nil: this node is never a border
	Fast      FastPath
	Six       Six   // nil: IPv6 is left alone
	L2        *L2   // nil: no network of mode l2 is served
	Doors     Doors // nil: no port is published
	Announcer Announcer
	Balancer  Balancer // nil: no virtual address is served
	Isolation Isolation
	Routers   []topology.Router
	Log       *slog.Logger
	Now       func() time.Time
}

const (
	// reconcileEvery: links die with their containers, and Docker may re-make its chains when its engine starts.
	reconcileEvery = 2 * time.Second
	wholeEvery     = 3 // of these
	// lostGrace: how long an endpoint whose link has gone may still get its Leave.
	lostGrace = 10 * time.Second
	// homeGrace: the engine moves a joined link into its container within seconds, but a disk may be slow.
	homeGrace = 5 * time.Minute
	// backlog of batches from the speaker.
	backlog = 256
)

// Node is the loop and what it owns.
type Node struct {
	parts   Parts
	calls   chan call
	learn   chan []topology.Route
	settle  chan struct{}
	members chan topology.Membership
	border  chan []netip.Prefix
	serve   chan serving

	// The rest belongs to the loop alone.
	store      Store
	state      topology.State
	membership topology.Membership
	uplink     topology.Uplink
	looked     time.Time // at the uplink, with success
	learnt     topology.Learnt
	inherited  topology.Learnt // routes that an earlier run left in the kernel, until the fabric is known
	settled    bool
	gone       *memory
	problems   map[string]string // what does not work at present, by step
	refused    error             // why no call can be served
	counts     Counts
	ticks      int
	idle       string                            // why the fast path carries nothing
	swept      bool                              // the firewall has no source check that the fast path makes needless
	waiting    map[topology.EndpointID]time.Time // joined since, and no container has their links yet
	lookAt     time.Time                         // for those that joined a moment ago
	heard      time.Time                         // somebody asked whose health is awaited
	begun      time.Time
	steps      []func() // of the first reconcile that are still to be done
	l2         physical
	shut       bool           // no port of the host leads to a container
	borders    []netip.Prefix // pools that this node announces as a whole, and so forwards
	serving    serving
	apart      apart
}

// call is a step that somebody waits for.
type call struct {
	ctx context.Context
	do  func()
}

// New starts nothing, and serves nothing until Begin.
func New(p Parts) *Node {
	return &Node{
		parts: p, calls: make(chan call), learn: make(chan []topology.Route, backlog),
		settle: make(chan struct{}, 1), members: make(chan topology.Membership, 1),
		border: make(chan []netip.Prefix, 1), apart: apart{marks: topology.Marks{}}, serve: make(chan serving, 1), waiting: map[topology.EndpointID]time.Time{},
		state: topology.NewState(), learnt: topology.Learnt{}, gone: newMemory(), problems: map[string]string{}, l2: newPhysical(),
		refused: errors.New("the plugin is still reading its state: try again"),
	}
}

// Run owns the state until the context ends.
func (n *Node) Run(ctx context.Context) error {
	tick := time.NewTicker(reconcileEvery)
	defer tick.Stop()
	for {
		select {
		case <-n.due():
			step := n.steps[0]
			n.steps = n.steps[1:]
			step()
		case <-n.soon():
			n.welcome()
		case <-ctx.Done():
			return nil
		case c := <-n.calls:
			if c.ctx.Err() == nil { // who asked has gone: what was never begun is never done
				c.do()
			}
		case routes := <-n.learn:
			n.take(routes)
		case <-n.settle:
			n.catchUp()
			n.settled = true
			n.parts.Log.Info("the fabric's routes are known; stale ones are removed", "learnt", len(n.learnt))
			n.roads()
			n.forget()
		case m := <-n.members:
			n.meet(m)
		case pools := <-n.border:
			n.borders = pools
			if n.refused == nil {
				n.gate()
			}
		case s := <-n.serve:
			n.served(s)
		case <-tick.C:
			n.tend()
		}
	}
}

// catchUp takes all that the speaker said by now. What waits behind calls of the engine is no less known for it: to remove
// it as stale would make a hole.
func (n *Node) catchUp() {
	for len(n.learn) > 0 {
		n.take(<-n.learn)
	}
}

// due is at once while steps are to be done.
func (n *Node) due() <-chan struct{} {
	if len(n.steps) == 0 {
		return nil
	}
	now := make(chan struct{})
	close(now)
	return now
}

// answer is what a step found.
type answer[T any] struct {
	value T
	err   error
}

// do runs a step in the loop. It gives up waiting when the context ends, and a step not begun by then never is.
func do[T any](ctx context.Context, n *Node, step func() (T, error)) (T, error) {
	var none T
	done := make(chan answer[T], 1)
	c := call{ctx, func() {
		v, err := step()
		done <- answer[T]{v, err}
	}}
	select {
	case n.calls <- c:
	case <-ctx.Done():
		return none, fmt.Errorf("the plugin is busy: %w: try again", context.Cause(ctx))
	}
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, fmt.Errorf("the plugin is busy: %w: it goes on, ask again", context.Cause(ctx))
	}
}

// serve is do for a call of the engine, which needs the state.
func serve[T any](ctx context.Context, n *Node, step func() (T, error)) (T, error) {
	return do(ctx, n, func() (T, error) {
		if n.refused != nil {
			var none T
			return none, n.refused
		}
		return step()
	})
}

// nothing is the value of a step that only succeeds or fails.
type nothing struct{}

func (n *Node) perform(ctx context.Context, step func() error) error {
	_, err := serve(ctx, n, func() (nothing, error) { return nothing{}, step() })
	return err
}

// Refuse says why no call can be served for now.
func (n *Node) Refuse(ctx context.Context, why error) error {
	_, err := do(ctx, n, func() (nothing, error) {
		n.refused = why
		return nothing{}, nil
	})
	return err
}

// Beginning is what the file says, and whether it says anything.
type Beginning struct {
	Store      Store
	State      topology.State
	Membership topology.Membership
	Fresh      bool // the file is new: the kernel is asked what containers hold
}

// Begin takes the state over, and calls are served from then on, while the kernel is made to agree step by step. It says whether an earlier
// run of this plugin left something in the kernel, by which the node still forwards.
func (n *Node) Begin(ctx context.Context, b Beginning) (restarting bool, err error) {
	return do(ctx, n, func() (bool, error) {
		present, err := n.parts.Wires.List()
		if err != nil {
			return false, fmt.Errorf("read the kernel's links: %w", err)
		}
		roads, err := n.parts.Roads.List()
		if err != nil {
			return false, fmt.Errorf("read the kernel's routes: %w", err)
		}
		recalled, err := n.parts.Isolation.Wall.Recall()
		if err != nil {
			return false, fmt.Errorf("read whose addresses other nodes' containers have: %w", err)
		}
		n.store, n.state, n.membership = b.Store, b.State, b.Membership
		n.apart.recalled = recalled
		if adopted := topology.Adopt(present); b.Fresh && len(adopted.Endpoints) > 0 {
			if err := n.adopt(adopted); err != nil {
				return false, err
			}
		}
		for _, a := range n.state.Addresses() { // what is here this node knows by itself
			delete(n.apart.recalled, a)
		}
		n.refused, n.inherited, n.begun = nil, topology.Learnt{}, n.parts.Now()
		n.inherited.Take(roads)
		n.note("uplink", n.look())
		n.found(present)
		n.announce()
		n.steps = n.whole() // between which calls are served
		n.parts.Log.Info("serving", "networks", len(n.state.Networks), "endpoints", len(n.state.Endpoints), "links", len(present), "routes", len(roads))
		return len(present)+len(roads) > 0, nil
	})
}

func (n *Node) adopt(s topology.State) error {
	var c topology.Change
	for _, e := range s.Endpoints {
		c.PutEndpoints = append(c.PutEndpoints, e)
		w := s.Networks[e.Network]
		w.Options = n.owner(n.apart.recalled[e.Address])
		s.Networks[e.Network] = w
	}
	for _, w := range s.Networks {
		c.PutNetworks = append(c.PutNetworks, w)
	}
	n.parts.Log.Warn("the state file was lost; containers' links were found in the kernel and taken over", "endpoints", len(s.Endpoints))
	return n.commit(c)
}

// owner is whose a network is whose file was lost, until the engine says it again. Where only a number is known, the
// name is made of it: the network stays closed to all others.
func (n *Node) owner(mark isolation.Number) topology.Options {
	if mark == isolation.None || mark == isolation.Anyone {
		return topology.Options{}
	}
	if c, known := isolation.NewPolicy(n.apart.document, nil).ClassOf(mark); known {
		return topology.Options{Project: c.Project, Open: c.Open}
	}
	return topology.Options{Project: fmt.Sprintf("number-%x", uint32(mark))}
}

// commit writes a change, then makes it true in memory. A change that the disk refused never was.
func (n *Node) commit(c topology.Change) error {
	if err := n.store.Save(c); err != nil {
		return err
	}
	n.state.Apply(c)
	return nil
}

// Meet takes a new membership.
func (n *Node) Meet(ctx context.Context, m topology.Membership) {
	select {
	case n.members <- m:
	case <-ctx.Done():
	}
}

func (n *Node) meet(m topology.Membership) {
	n.membership = m
	n.parts.Log.Info("the Swarm's members", "self", m.Self, "manager", m.Manager, "managers", m.Managers, "nodes", len(m.Nodes))
	if n.store != nil {
		n.note("membership", n.store.SaveMembership(m))
	}
	if n.refused == nil {
		n.reconcile() // an address of a container may be a node's now
	}
}

// Learn takes what the speaker learnt.
func (n *Node) Learn(ctx context.Context, routes []topology.Route) {
	select {
	case n.learn <- routes:
	case <-ctx.Done():
	}
}

// Settle says that what was not learnt by now is stale.
func (n *Node) Settle(ctx context.Context) {
	select {
	case n.settle <- struct{}{}:
	case <-ctx.Done():
	}
}

// Border takes the pools that this node announces as a whole: it forwards to all of their addresses.
func (n *Node) Border(ctx context.Context, pools []netip.Prefix) {
	select {
	case n.border <- pools:
	case <-ctx.Done():
	}
}
