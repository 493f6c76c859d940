package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Doors are ports of the host that lead to containers.
type Doors interface {
	Hold(topology.Doorway) error
	Set([]topology.Doorway) error
	Doubt() // the next Set compares with the kernel
}

// errNoDoors is the answer of a node without the edge.
var errNoDoors = errors.New("this plugin publishes no ports")

// Publish leads ports of the host to an endpoint. A port that somebody has is refused, and then none is led.
func (n *Node) Publish(ctx context.Context, network topology.NetworkID, id topology.EndpointID, ports []topology.Publication) error {
	if len(ports) == 0 {
		return nil
	}
	return n.perform(ctx, func() error {
		e, err := n.state.Endpoint(network, id)
		if err != nil {
			return err
		}
		if err := n.publishable(e, ports); err != nil {
			return fmt.Errorf("endpoint %s: %w", id.Short(), err)
		}
		n.shut = false
		for _, w := range topology.DoorwaysOf(e, ports) {
			if err := n.parts.Doors.Hold(w); err != nil {
				n.doors() // what was taken before it is given back
				return fmt.Errorf("endpoint %s: %w", id.Short(), err)
			}
		}
		e.Published = ports
		if err := n.commit(topology.Change{PutEndpoints: []topology.Endpoint{e}}); err != nil {
			n.doors()
			return err
		}
		n.fast() // what answers by the translation must not pass it by
		if err := n.parts.Doors.Set(n.state.Doorways()); err != nil {
			return errors.Join(fmt.Errorf("endpoint %s: %w", id.Short(), err), n.unpublish(e))
		}
		return nil
	})
}

func (n *Node) publishable(e topology.Endpoint, ports []topology.Publication) error {
	if n.parts.Doors == nil {
		return errNoDoors
	}
	return n.state.CanPublish(e, ports)
}

// Revoke gives the ports of an endpoint back. One that is not known has none.
func (n *Node) Revoke(ctx context.Context, network topology.NetworkID, id topology.EndpointID) error {
	return n.perform(ctx, func() error {
		e, err := n.state.Endpoint(network, id)
		if err != nil || len(e.Published) == 0 {
			return nil //nolint:nilerr // it may have been forgotten
		}
		return n.unpublish(e)
	})
}

func (n *Node) unpublish(e topology.Endpoint) error {
	e.Published = nil
	if err := n.commit(topology.Change{PutEndpoints: []topology.Endpoint{e}}); err != nil {
		return err
	}
	n.doors()
	n.fast()
	return nil
}

// compareDoors is doors, looking at what the kernel has.
func (n *Node) compareDoors() {
	if n.parts.Doors != nil {
		n.parts.Doors.Doubt()
	}
	n.doors()
}

// doors makes the published ports what the state says. Where none was led and none is, nothing is asked: that costs two
// calls of iptables, and a Leave waits for them.
func (n *Node) doors() {
	if n.parts.Doors == nil {
		return
	}
	want := n.state.Doorways()
	if len(want) == 0 && n.shut {
		return
	}
	err := n.parts.Doors.Set(want)
	n.note("published ports", err)
	n.shut = err == nil && len(want) == 0
}
