package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/api"

	"github.com/rolling-swarm/rolling/network-driver/liveness"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// judge follows verdicts of neighbours' kernels.
func (r *run) judge(ctx context.Context, verdicts []liveness.Verdict) error {
	var problems []error
	for _, v := range verdicts {
		if v.Alive {
			r.mu.Lock()
			r.at(v.Address).silent = false
			r.mu.Unlock()
			continue
		}
		problems = append(problems, r.lose(ctx, v.Address))
	}
	return errors.Join(problems...)
}

// lose forgets the routes of a neighbour whose node is silent. A session that is up is ended by a Cease, which is no
// reason to keep routes. One that is not has none to send: gobgp would keep a reset for the next session, and kill
// that; its routes, kept for a restart that will not come, go with the neighbour, which is then made anew.
func (r *run) lose(ctx context.Context, a netip.Addr) error {
	r.mu.Lock()
	n, known := r.neighbours[a]
	s := r.at(a)
	was, stale := s.up, s.stale
	s.silent = true
	if was {
		// At once, and not when the server says so: what it withdraws until then is judged by who is up.
		s.up, s.heard = false, false
		s.flaps++
	}
	s.stale = false
	gone := r.lull.lose(a)
	if known && (was || stale) {
		r.lost++
	}
	r.mu.Unlock()
	r.withdraw(gone)
	switch {
	case !known || n.Router:
		return nil
	case was:
		r.log.Warn("a neighbour's node fell silent while its session was up: its routes are forgotten", "neighbour", a)
		if err := r.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: a.String(), Communication: "silent"}); err != nil {
			return fmt.Errorf("neighbour %s is silent: end its session: %w", a, err)
		}
	case stale:
		r.log.Warn("a neighbour's node fell silent after its process had ended: its routes are forgotten", "neighbour", a)
		if err := r.drop(ctx, a); err != nil {
			return err
		}
		return r.add(ctx, n)
	}
	return nil
}

// withdraw tells that routes have gone of which the server says nothing more.
func (r *run) withdraw(gone []netip.Prefix) {
	if len(gone) == 0 {
		return
	}
	var changes []topology.Route
	r.mu.Lock()
	for _, p := range gone {
		r.takeBack(p)
		delete(r.nearby, p)
		delete(r.pools, p)
		changes = append(changes, topology.Route{Prefix: p})
	}
	r.mu.Unlock()
	r.told.Learn(changes)
}

// reflected says that somebody inside the Swarm is there to tell of changes. The caller holds the lock.
func (r *run) reflected() bool {
	for a, s := range r.seen {
		if n, known := r.neighbours[a]; known && !n.Router && s.up {
			return true
		}
	}
	return false
}
