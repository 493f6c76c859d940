package bgp

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

// mendAtOnce routes are sent again in one beat. All to all at once would hold up every change behind them, for ten
// thousand routes and a hundred neighbours by seconds (measured: a node's withdrawal took 4 to 29 s), and need the memory
// for a million paths under way.
const mendAtOnce = 20000

// mend repairs what gobgp lost: once it has sent what it has, all goes out again, and what was taken back is taken back
// again, to some neighbours a beat.
func (r *run) mend(ctx context.Context, now time.Time) {
	if r.deadlines.due(now) {
		sent, err := r.sent(ctx)
		if err != nil {
			r.log.Warn("could not look whether all routes have to be sent again", "cause", err)
		} else if r.deadlines.repairs(now, sent) {
			r.mending = slices.SortedFunc(maps.Keys(r.neighbours), netip.Addr.Compare)
			if err := r.shade(now); err != nil {
				r.log.Warn("what was withdrawn while a session began may stay with its neighbour", "cause", err)
			}
		}
	}
	r.mu.Lock()
	some := atOnce(len(r.held) + len(r.own))
	r.mu.Unlock()
	for ; some > 0 && len(r.mending) > 0; some-- {
		next := r.mending[0]
		r.mending = r.mending[1:]
		if _, known := r.neighbours[next]; !known {
			continue
		}
		err := r.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: next.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
		if err != nil {
			r.log.Warn("could not send all routes again", "neighbour", next, "cause", err)
		}
	}
	if len(r.mending) == 0 {
		if err := r.lift(); err != nil {
			r.log.Warn("could not end a repair; the next one will", "cause", err)
		}
	}
}

// atOnce is to how many neighbours so many routes are sent again in one beat.
func atOnce(routes int) int { return max(1, mendAtOnce/max(routes, 1)) }

// sent counts the updates that all neighbours have got.
func (r *run) sent(ctx context.Context) (n uint64, err error) {
	err = r.server.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		n += p.GetState().GetMessages().GetSent().GetUpdate()
	})
	return n, err
}
