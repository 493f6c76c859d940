package node

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// tend is the loop's heartbeat. Lost links are looked for each time; the whole is compared less often, since at ten
// thousand routes that takes tens of milliseconds, but each time while something is known to be wrong.
func (n *Node) tend() {
	if n.refused != nil {
		return
	}
	n.ticks++
	n.observe()
	n.despair()
	n.greet()
	if n.ticks%wholeEvery == 0 || len(n.problems) > 0 {
		if len(n.steps) == 0 { // else the last round is still under way on a busy node
			n.note("uplink", n.look())
			n.steps = n.whole() // between which calls are served
		}
		return
	}
	n.announce()
}

// reconcile makes the kernel what the state says, step by step: a step that fails is tried again, and keeps no other
// from being done.
func (n *Node) reconcile() {
	n.steps = nil
	n.note("uplink", n.look())
	for _, step := range n.whole() {
		step()
	}
}

// whole are the steps of a reconcile after the look at the uplink.
func (n *Node) whole() []func() {
	return []func(){n.segments, n.links, n.gate, n.roads, n.parts.Isolation.Wall.Doubt, n.compareDoors, n.fast, n.announce}
}

func (n *Node) links() {
	guard := n.guard()
	n.note("links", n.parts.Wires.Set(slices.DeleteFunc(n.state.Links(), func(l topology.Link) bool { return guard.Holds(l.Address) != nil })))
}

// sizes says which containers send what the uplink does not take.
func (n *Node) sizes() {
	var err error
	if large := n.state.StrangeMTU(n.uplink); len(large) > 0 {
		err = fmt.Errorf("%d containers send packets larger than the uplink's MTU of %d (%s, …): start them anew, or set %s on their network", len(large), n.uplink.MTU, large[0], contract.MTU)
	}
	n.note("mtu", err)
}

// far are the routes that the kernel has: learnt ones, and, until the fabric is known, those of an earlier run.
func (n *Node) far() topology.Learnt {
	if len(n.inherited) == 0 {
		return n.learnt
	}
	all := maps.Clone(n.inherited)
	maps.Copy(all, n.learnt)
	return all
}

// forget lets go of what an earlier run left and nobody told of again.
func (n *Node) forget() {
	n.inherited, n.apart.recalled = nil, nil
	if n.refused == nil {
		n.fast()
	}
}

// yield lets rules that administrators laid before ours see all traffic again.
func (n *Node) yield() {
	was := n.idle
	n.idle = ""
	if before := n.parts.Gate.Before(); before > 0 && n.parts.Fast.Yields() {
		n.idle = fmt.Sprintf("%d rules of others stand before ours in DOCKER-USER, and must see all packets: ROLLING_FASTPATH=%s carries all the same", before, n.parts.Fast.Name())
	}
	if n.idle != was {
		n.parts.Log.Info("the fast path", "idle", n.idle != "", "cause", n.idle)
	}
}

// sources lets the firewall check what containers send if the fast path is none.
func (n *Node) sources(legs []topology.Leg) {
	var err error
	switch {
	case n.parts.Fast.Name() == topology.Plain:
		err = n.parts.Gate.Check(legs)
	case !n.swept: // an earlier run may have been without one
		err = n.parts.Gate.Check(nil)
		n.swept = err == nil
	}
	n.note("source check", err)
}

// look reads how the node stands in its own network. What was read before stays when it cannot be.
func (n *Node) look() error {
	u, err := n.parts.Roads.Uplink(n.membership.Self)
	n.looked = time.Time{}
	if err == nil {
		n.uplink, n.looked = u, n.parts.Now()
	}
	return err
}

// lookAgain is look, unless that was a moment ago: it goes through the addresses of all links here.
func (n *Node) lookAgain() error {
	if since := n.parts.Now().Sub(n.looked); !n.looked.IsZero() && since >= 0 && since < reconcileEvery {
		return nil
	}
	return n.look()
}

// observe lets go of endpoints whose containers ended without a word.
func (n *Node) observe() {
	present, err := n.present()
	if err != nil {
		n.note("observe", err)
		return
	}
	n.found(present)
}

// found is observe for links that were listed already.
func (n *Node) found(present []topology.Present) {
	n.seen(present)
	c := n.state.Observe(present, n.parts.Now(), topology.Graces{Lost: lostGrace, Home: homeGrace})
	if c.Empty() {
		n.note("observe", nil)
		return
	}
	n.note("observe", n.commit(c))
	n.doors()
	n.fast() // an address that went with its link may be another node's in a moment
	for _, e := range c.PutEndpoints {
		if e.Phase == topology.Lost {
			n.parts.Log.Warn("a container's link has gone, or no container has it, without a Leave; its address is withdrawn", "endpoint", e.ID.Short(), "address", e.Address)
		}
	}
	for _, id := range c.DropEndpoints {
		n.gone.add(string(id))
		n.counts.Orphans++
		n.parts.Log.Info("forgot an endpoint whose link had gone", "endpoint", id.Short())
	}
}

func (n *Node) guard() topology.Guard {
	return topology.NewGuard(n.state, n.membership, n.parts.Routers, n.uplink)
}

// roads makes all learnt routes true; stale ones go only once the fabric has been heard.
func (n *Node) roads() {
	if n.refused != nil {
		return
	}
	n.note("routes", n.parts.Roads.Set(n.learnt.Routes(n.guard()), n.settled))
}

// take follows the speaker's changes one by one; what fails is repaired by the next reconcile.
func (n *Node) take(routes []topology.Route) {
	n.learnt.Take(routes)
	news := n.apart.marks.Take(routes)
	for _, r := range routes {
		delete(n.inherited, r.Prefix)
		delete(n.apart.recalled, r.Prefix.Addr())
	}
	if n.refused != nil {
		return
	}
	n.counts.Learnt += len(routes)
	guard := n.guard()
	var problems []error
	for _, r := range routes {
		if guard.Installs(r) {
			problems = append(problems, n.parts.Roads.Add(r))
		} else if !r.Via.IsValid() || r.Near {
			problems = append(problems, n.parts.Roads.Remove(r.Prefix))
		}
	}
	n.note("routes", errors.Join(problems...))
	n.apart.pending = append(n.apart.pending, routes...)
	if n.apart.news = append(n.apart.news, news...); len(n.learn) > 0 {
		return // the next batch is here: one look at all is enough
	}
	if len(n.apart.news) > 0 {
		n.reopen(n.apart.news)
	}
	n.reach(n.apart.pending, guard)
	if n.concerns(n.apart.pending) {
		n.place()
	}
	n.apart.news, n.apart.pending = nil, nil
}

// reach tells the fast path single changes. On a node without containers it knows nothing at all.
func (n *Node) reach(routes []topology.Route, guard topology.Guard) {
	far, b := map[netip.Addr]topology.Group{}, n.book()
	for _, r := range routes {
		if r.Prefix.IsSingleIP() && r.Prefix.Addr().Is4() { // IPv6 goes the ordinary way
			far[r.Prefix.Addr()] = topology.FarGroup(r, guard, b)
		}
	}
	if len(n.state.Addresses()) > 0 && n.idle == "" && n.problems["isolation"] == "" {
		n.note("fast path", n.parts.Fast.Learn(far))
		for a, g := range far {
			n.apart.carried.Carry(a, g)
		}
	}
}

// note logs a step when it begins to fail and when it works again, not every three seconds.
func (n *Node) note(step string, err error) {
	before, failing := n.problems[step]
	switch {
	case err != nil && err.Error() != before:
		n.problems[step] = err.Error()
		n.parts.Log.Error("the host is not as it should be; tried again every few seconds", "step", step, "cause", err)
	case err == nil && failing:
		delete(n.problems, step)
		n.parts.Log.Info("the host is as it should be again", "step", step)
	}
}

// restore puts back a learnt route to an address that this node no longer has.
func (n *Node) restore(r topology.Route) {
	if via, ok := n.learnt[r.Prefix]; ok {
		if t := (topology.Route{Prefix: r.Prefix, Via: via, Mark: n.apart.marks[r.Prefix.Addr()]}); n.guard().Installs(t) {
			n.note("routes", n.parts.Roads.Add(t))
			n.reach([]topology.Route{t}, n.guard())
		}
	}
}
