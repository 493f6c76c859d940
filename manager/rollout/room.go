package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/swarm"
)

// Free is how many addresses a network can give at once.
type Free struct {
	Network   string
	Addresses int
}

// Room is the answer to whether an update has the addresses that it needs.
type Room struct {
	Needed int      // on every network of the service
	Short  []string // one text a network that has too few; none: go ahead
	Note   string   // it will do, but may wait
}

// Enough says that the update may start.
func (r Room) Enough() bool { return len(r.Short) == 0 }

func (r Room) String() string { return strings.Join(r.Short, "; ") }

// CheckRoom asks before an update starts, since Swarm would not say: a task without an address stays new for ever, and
// only the leader's log knows. now is how many tasks of the service hold addresses; restarts says that the update
// replaces tasks.
func CheckRoom(s swarm.ServiceSpec, now int, restarts bool, free []Free) Room {
	n := wanted(s)
	if n < 0 {
		n = now
	}
	growth := max(0, n-now)
	replaced := min(n, now)
	surge, at := 0, replaced
	if u := s.UpdateConfig; restarts && u != nil && u.Order == swarm.UpdateOrderStartFirst {
		if u.Parallelism > 0 {
			at = int(min(u.Parallelism, uint64(replaced)))
		}
		surge = at
	}
	r := Room{Needed: growth + surge}
	var tight []string
	for _, f := range slices.SortedFunc(slices.Values(free), func(a, b Free) int { return strings.Compare(a.Network, b.Network) }) {
		if f.Addresses < r.Needed {
			r.Short = append(r.Short, short(s.Name, f, growth, surge))
		} else if surge > 0 && f.Addresses < growth+replaced {
			tight = append(tight, f.Network)
		}
	}
	if len(tight) > 0 {
		r.Note = fmt.Sprintf("old tasks keep their addresses while they drain, and a freed one rests: with fewer than %d free on %s the update may wait for them",
			growth+replaced, strings.Join(tight, ", "))
	}
	return r
}

func short(service string, f Free, growth, surge int) string {
	var parts []string
	if growth > 0 {
		parts = append(parts, fmt.Sprintf("%d for more tasks", growth))
	}
	if surge > 0 {
		parts = append(parts, fmt.Sprintf("%d for new tasks beside old ones", surge))
	}
	do := "free some, or widen the network's range or quota"
	if surge > 1 && f.Addresses > growth {
		do += fmt.Sprintf(", or set update_config.parallelism to %d", f.Addresses-growth)
	} else if surge > 0 && f.Addresses >= growth {
		do += ", or set update_config.order to stop-first"
	}
	return fmt.Sprintf("service %s needs %d free addresses on network %s (%s), and %d are free: %s",
		service, growth+surge, f.Network, strings.Join(parts, ", "), f.Addresses, do)
}
