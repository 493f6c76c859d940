package node

import (
	"errors"
	"net/netip"
	"slices"

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
	if n.ticks%wholeEvery == 0 || len(n.problems) > 0 {
		n.reconcile()
		return
	}
	n.announce()
}

// reconcile makes the kernel what the state says, step by step: a step that fails is tried again, and keeps no other
// from being done.
func (n *Node) reconcile() {
	n.note("uplink", n.look())
	guard := n.guard()
	n.note("links", n.parts.Wires.Set(slices.DeleteFunc(n.state.Links(), func(l topology.Link) bool { return guard.Holds(l.Address) != nil })))
	n.note("firewall", n.parts.Gate.Set(n.state.Pools()))
	n.roads()
	n.announce()
}

// look reads how the node stands in its own network. What was read before stays when it cannot be.
func (n *Node) look() error {
	u, err := n.parts.Roads.Uplink(n.membership.Self)
	if err == nil {
		n.uplink = u
	}
	return err
}

// announce tells the fabric of all addresses here, but of those that a node or a router has by now: the route to the
// container would cut it off, everywhere.
func (n *Node) announce() {
	guard := n.guard()
	var problems []error
	own := slices.DeleteFunc(n.state.Addresses(), func(a netip.Addr) bool {
		err := guard.Holds(a)
		problems = append(problems, err)
		return err != nil
	})
	n.note("addresses", errors.Join(problems...))
	n.parts.Announcer.Announce(own)
}

// observe lets go of endpoints whose containers ended without a word.
func (n *Node) observe() {
	present, err := n.parts.Wires.List()
	if err != nil {
		n.note("observe", err)
		return
	}
	c := n.state.Observe(present, n.parts.Now(), topology.Graces{Lost: lostGrace, Home: homeGrace})
	if c.Empty() {
		n.note("observe", nil)
		return
	}
	n.note("observe", n.commit(c))
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
	if n.refused != nil {
		return
	}
	n.counts.Learnt += len(routes)
	guard := n.guard()
	var problems []error
	for _, r := range routes {
		if guard.Installs(r) {
			problems = append(problems, n.parts.Roads.Add(r))
		} else if !r.Via.IsValid() {
			problems = append(problems, n.parts.Roads.Remove(r.Prefix))
		}
	}
	n.note("routes", errors.Join(problems...))
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
		if t := (topology.Route{Prefix: r.Prefix, Via: via}); n.guard().Installs(t) {
			n.note("routes", n.parts.Roads.Add(t))
		}
	}
}
