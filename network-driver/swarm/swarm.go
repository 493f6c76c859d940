// Package swarm asks the node's engine who the Swarm's members are: GET /info on every node, GET /nodes on managers. It
// asks in the background only, since an engine that starts waits for its plugins, and keeps quiet when nobody answers.
package swarm

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// askEvery: a promoted or a new node is known within a few seconds.
	askEvery = 2 * time.Second
	// answerWithin: a manager without a quorum answers GET /nodes late or never.
	answerWithin = 5 * time.Second
	// believeAfter: an engine that starts says "inactive" for a moment; a node that left says it for good.
	believeAfter = 3
)

// Watch asks one engine.
type Watch struct {
	docker *client.Client
	log    *slog.Logger
	every  time.Duration
	agreed bool // on the version of the API, with the engine that answered last
}

// New dials nothing yet. The address is the engine's, such as unix:///run/docker.sock.
func New(engine string, log *slog.Logger) (*Watch, error) {
	docker, err := client.New(client.WithHost(engine))
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", engine, err)
	}
	return &Watch{docker: docker, log: log, every: askEvery}, nil
}

// Run tells changes of the membership until the context ends. An engine that does not answer changes nothing.
func (w *Watch) Run(ctx context.Context, last topology.Membership, tell func(topology.Membership)) error {
	defer w.docker.Close() //nolint:errcheck // the process ends
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	outside, silent := 0, false
	for {
		now, err := w.ask(ctx)
		w.agreed = err == nil
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if !silent {
				w.log.Warn("the engine does not say who the Swarm's members are; the last ones known stay", "cause", err)
			}
			silent = true
		case !now.Self.IsValid() && outside < believeAfter-1:
			outside++
			silent = false
		default:
			if now.Self.IsValid() {
				outside = 0
			}
			silent = false
			if !now.Equal(last) {
				last = now
				tell(now)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *Watch) ask(ctx context.Context) (topology.Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if !w.agreed {
		// An engine that starts may answer without its version, which the client would take for good.
		if _, err := w.docker.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true, ForceNegotiate: true}); err != nil {
			return topology.Membership{}, fmt.Errorf("GET /_ping: %w", err)
		}
	}
	info, err := w.docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return topology.Membership{}, fmt.Errorf("GET /info: %w", err)
	}
	s := info.Info.Swarm
	switch s.LocalNodeState {
	case swarm.LocalNodeStateActive:
	case swarm.LocalNodeStateInactive:
		return topology.Membership{}, nil
	default:
		return topology.Membership{}, fmt.Errorf("the node's state in the Swarm is %q", s.LocalNodeState)
	}
	if !s.ControlAvailable {
		return membership(s, info.Info.Labels, nil)
	}
	nodes, err := w.docker.NodeList(ctx, client.NodeListOptions{})
	if err != nil {
		return topology.Membership{}, fmt.Errorf("GET /nodes: %w", err)
	}
	return membership(s, info.Info.Labels, nodes.Items)
}

// membership reads the engine's answers. A worker is told only the managers; a manager knows every node, and its list
// is the better one, since a manager that was demoted stays for a while among the others' remote managers. The leader's
// own Status.Addr may be 0.0.0.0, so a manager's address is that of its ManagerStatus.
func membership(s swarm.Info, labels []string, nodes []swarm.Node) (topology.Membership, error) {
	m := topology.Membership{Manager: s.ControlAvailable, Labels: slices.Sorted(slices.Values(labels))}
	var err error
	if m.Self, err = netip.ParseAddr(s.NodeAddr); err != nil || !m.Self.Is4() {
		return m, fmt.Errorf("the node's address in the Swarm is %q: want IPv4: join with --advertise-addr", s.NodeAddr)
	}
	if !m.Manager {
		for _, r := range s.RemoteManagers {
			m.Managers = add(m.Managers, m.Self, r.Addr)
		}
		return m, nil
	}
	for _, n := range nodes {
		switch {
		case n.ID == s.NodeID:
		case n.ManagerStatus != nil:
			m.Managers = add(m.Managers, m.Self, n.ManagerStatus.Addr)
			m.Nodes = add(m.Nodes, m.Self, n.ManagerStatus.Addr)
		default:
			m.Nodes = add(m.Nodes, m.Self, n.Status.Addr)
		}
	}
	return m, nil
}

// add keeps the list sorted, without the node itself and without what is no address of a neighbour.
func add(list []netip.Addr, self netip.Addr, text string) []netip.Addr {
	if h, _, err := net.SplitHostPort(text); err == nil {
		text = h
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() || a.IsUnspecified() || a.IsLoopback() || a == self {
		return list
	}
	at, found := slices.BinarySearchFunc(list, a, netip.Addr.Compare)
	if found {
		return list
	}
	return slices.Insert(list, at, a)
}
