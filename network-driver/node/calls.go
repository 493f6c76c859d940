package node

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// AllowPool judges a new network's pool by what this node knows of the Swarm and of its own uplink. A new leader is asked
// about every network there is, perhaps before it has read its state: one that cannot tell in time refuses nothing,
// since each address is judged again where a container gets it.
func (n *Node) AllowPool(ctx context.Context, pool netip.Prefix) error {
	verdict, err := do(ctx, n, func() (error, error) {
		n.note("uplink", n.look())
		return n.guard().Allows(pool), nil
	})
	if err != nil {
		n.parts.Log.Warn("a network's subnet was not judged", "subnet", pool, "cause", err)
	}
	return verdict
}

// AddNetwork makes a network known. The engine says it again after a crash; what it says last is true.
func (n *Node) AddNetwork(ctx context.Context, w topology.Network) error {
	return n.perform(ctx, func() error {
		if have, known := n.state.Networks[w.ID]; known && have == w {
			return nil
		}
		if err := n.state.Clashes(w); err != nil {
			return err
		}
		if err := n.commit(topology.Change{PutNetworks: []topology.Network{w}}); err != nil {
			return err
		}
		// Traffic waits for the rule, but a task must not: the rule is tried again every few seconds.
		n.gate()
		return nil
	})
}

// RemoveNetwork forgets a network and whatever of it is left. The engine's word is the law: links go too.
func (n *Node) RemoveNetwork(ctx context.Context, id topology.NetworkID) error {
	return n.perform(ctx, func() error {
		if _, err := n.state.Network(id); err != nil {
			return n.unlessGone(string(id), err)
		}
		c := topology.Change{DropNetworks: []topology.NetworkID{id}}
		for _, e := range n.state.In(id) {
			if err := n.parts.Wires.Unplug(topology.HostEnd(e.ID)); err != nil {
				return err
			}
			c.DropEndpoints = append(c.DropEndpoints, e.ID)
		}
		if err := n.commit(c); err != nil {
			return err
		}
		n.gone.add(string(id))
		for _, e := range c.DropEndpoints {
			n.gone.add(string(e))
		}
		n.doors()
		n.fast()
		n.segments()
		n.announce()
		n.gate()
		return nil
	})
}

// AddEndpoint makes an endpoint known; nothing is in the kernel before it is joined. It tells the endpoint's MAC, and its
// IPv6 address in a network with IPv6.
func (n *Node) AddEndpoint(ctx context.Context, e topology.Endpoint) (mac string, six netip.Addr, err error) {
	if e.MAC == "" {
		e.MAC = topology.MACOf(e.Address)
	}
	e.Phase = topology.Created
	err = n.perform(ctx, func() error {
		w, err := n.state.Network(e.Network)
		if err != nil {
			return err
		}
		if err := w.Fits(e); err != nil {
			return fmt.Errorf("endpoint %s: %w", e.ID.Short(), err)
		}
		if !w.Pool.Contains(e.Address) {
			return fmt.Errorf("endpoint %s: address %s is outside the pool %s of network %s: does the network use rolling/ipam?", e.ID.Short(), e.Address, w.Pool, w.ID.Short())
		}
		e.Address6 = w.Options.Six(e.Address)
		if err := n.free(e); err != nil {
			return err
		}
		have, known := n.state.Endpoints[e.ID]
		if known && have.Network == e.Network && have.Address == e.Address && have.MAC == e.MAC && have.Phase != topology.Lost {
			return nil
		}
		if known && have.Phase == topology.Joined {
			return fmt.Errorf("endpoint %s has joined with address %s already: it cannot become %s", e.ID.Short(), have.Address, e.Address)
		}
		return n.commit(topology.Change{PutEndpoints: []topology.Endpoint{e}})
	})
	return e.MAC, e.Address6, err
}

// Join puts the endpoint's link into the kernel, and tells it.
func (n *Node) Join(ctx context.Context, network topology.NetworkID, id topology.EndpointID, sandbox string) (topology.Link, error) {
	g, err := n.approach(ctx, network, id)
	if err != nil {
		return topology.Link{}, err
	}
	l, err := n.join(ctx, network, id, sandbox)
	n.depart(ctx, g, err)
	return l, err
}

func (n *Node) join(ctx context.Context, network topology.NetworkID, id topology.EndpointID, sandbox string) (topology.Link, error) {
	return serve(ctx, n, func() (topology.Link, error) {
		none := topology.Link{}
		e, err := n.state.Endpoint(network, id)
		if err != nil {
			return none, err
		}
		if _, err := n.state.Network(network); err != nil {
			return none, err
		}
		if err := n.free(e); err != nil {
			return none, err
		}
		if err := n.unheld(e); err != nil {
			return none, err
		}
		if err := n.clear(e); err != nil {
			return none, err
		}
		if e.MTU, err = n.base(e); err != nil {
			return none, err
		}
		if n.state.Networks[network].Options.MTU != 0 {
			e.MTU = n.state.Networks[network].Options.MTU
		}
		e.Phase, e.Sandbox, e.HomeAt, e.JoinedAt, e.HealthyAt = topology.Joined, sandbox, time.Time{}, n.parts.Now().UTC(), time.Time{}
		if err := n.commit(topology.Change{PutEndpoints: []topology.Endpoint{e}}); err != nil {
			return none, err
		}
		l := n.state.LinkOf(e)
		if err := n.fenced(e); err != nil {
			return none, n.undo(e, err)
		}
		if err := n.parts.Wires.Plug(l); err != nil {
			return none, n.undo(e, err)
		}
		n.counts.Joins++
		n.expect(e.ID)
		// Before the container sends: sources are checked, projects kept apart.
		if err := n.carry([]string{l.Name}); err != nil && n.state.Networks[network].Options.Closed() {
			return none, n.undo(e, fmt.Errorf("endpoint %s: %w", e.ID.Short(), err))
		}
		n.sixCheck()
		n.announce()
		return l, nil
	})
}

// free refuses an address that a node or a router has, or that lies in this node's own network.
func (n *Node) free(e topology.Endpoint) error {
	err := n.lookAgain()
	if _, on := n.state.OnSegment(e); err == nil && on {
		err = n.guard().Attaches(e.Address)
	} else if err == nil {
		err = n.guard().Wires(e.Address)
	}
	if err == nil && e.Address6.IsValid() {
		err = n.guard().Wires(e.Address6)
	}
	if err != nil {
		return fmt.Errorf("endpoint %s of network %s: %w", e.ID.Short(), e.Network.Short(), err)
	}
	return nil
}

// unheld refuses an address that another container on this node still has. A holder whose link has gone, or is in no
// container, has ended without a Leave that reached us: the kernel is asked.
func (n *Node) unheld(e topology.Endpoint) error {
	other, held := n.state.Holder(e.Address, e.ID)
	if !held {
		return nil
	}
	p, found, err := n.find(other)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", e.ID.Short(), err)
	}
	if found && !p.PeerHome {
		return fmt.Errorf("endpoint %s: address %s is held by endpoint %s of network %s on this node: two leases of one address; see rolling address list",
			e.ID.Short(), e.Address, other.ID.Short(), other.Network.Short())
	}
	if err := n.unplug(other); err != nil {
		return err
	}
	return n.commit(n.state.Lose(other.ID, n.parts.Now()))
}

// clear removes a link that an earlier Join left, if its other end is not at home: the engine wants a fresh one to move.
func (n *Node) clear(e topology.Endpoint) error {
	p, found, err := n.find(e)
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", e.ID.Short(), err)
	}
	if found && !p.PeerHome {
		return n.unplug(e)
	}
	return nil
}

// undo takes a join back that the kernel refused.
func (n *Node) undo(e topology.Endpoint, cause error) error {
	if err := n.parts.Wires.Unplug(topology.HostEnd(e.ID)); err != nil {
		n.note("links", err)
	}
	e.Phase = topology.Created
	if err := n.commit(topology.Change{PutEndpoints: []topology.Endpoint{e}}); err != nil {
		n.note("state", err)
	}
	return cause
}

// Leave takes the endpoint's link away; the endpoint stays known.
func (n *Node) Leave(ctx context.Context, network topology.NetworkID, id topology.EndpointID) error {
	return n.perform(ctx, func() error {
		e, err := n.state.Endpoint(network, id)
		if err != nil {
			return n.unlessGone(string(id), err)
		}
		if e.Phase == topology.Created {
			return nil
		}
		if err := n.unplug(e); err != nil {
			return err
		}
		e.Phase, e.Published = topology.Created, nil
		return n.withdraw(e, topology.Change{PutEndpoints: []topology.Endpoint{e}})
	})
}

// RemoveEndpoint forgets an endpoint, its link too if no Leave came.
func (n *Node) RemoveEndpoint(ctx context.Context, network topology.NetworkID, id topology.EndpointID) error {
	return n.perform(ctx, func() error {
		e, err := n.state.Endpoint(network, id)
		if err != nil {
			return n.unlessGone(string(id), err)
		}
		if err := n.unplug(e); err != nil {
			return err
		}
		forget := topology.Change{DropEndpoints: []topology.EndpointID{id}}
		if e.Phase == topology.Created { // a Leave has done the rest, which on a node of hundreds is most of the work
			err = n.commit(forget)
		} else {
			err = n.withdraw(e, forget)
		}
		if err != nil {
			return err
		}
		n.gone.add(string(id))
		return nil
	})
}

func (n *Node) unplug(e topology.Endpoint) error {
	if err := n.parts.Wires.Unplug(topology.HostEnd(e.ID)); err != nil {
		return fmt.Errorf("endpoint %s: %w", e.ID.Short(), err)
	}
	return nil
}

func (n *Node) withdraw(e topology.Endpoint, c topology.Change) error {
	if err := n.commit(c); err != nil {
		return err
	}
	n.doors()
	_ = n.carry([]string{topology.HostEnd(e.ID)}) // noted, and tried again
	n.sixCheck()
	n.segments()
	n.announce()
	n.restore(topology.Route{Prefix: netip.PrefixFrom(e.Address, e.Address.BitLen())})
	if e.Address6.IsValid() {
		n.restore(topology.Route{Prefix: netip.PrefixFrom(e.Address6, e.Address6.BitLen())})
	}
	return nil
}

// Endpoint tells what is known of one.
func (n *Node) Endpoint(ctx context.Context, network topology.NetworkID, id topology.EndpointID) (topology.Endpoint, error) {
	return serve(ctx, n, func() (topology.Endpoint, error) { return n.state.Endpoint(network, id) })
}

// unlessGone: to take away what was taken away before is done already; what was never there is an error.
func (n *Node) unlessGone(id string, err error) error {
	if n.gone.has(id) {
		return nil
	}
	return err
}
