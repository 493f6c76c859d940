package bgp

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/osrg/gobgp/v4/pkg/apiutil"

	"github.com/rolling-swarm/rolling/network-driver/fabric"
)

// measure notes the MTU of another node's uplink. The caller holds the lock.
func (r *run) measure(home netip.Addr, p *apiutil.Path) {
	if mtu := fabric.MTUOf(r.settings.ASN, marksOf(p)); mtu > 0 {
		r.mtus[home] = mtu
	}
}

// strangers are the nodes whose uplinks have another MTU than this one's. Of a node without containers nothing is known,
// and nothing is sent there. The caller holds the lock.
func (r *run) strangers() map[string]int {
	all := map[string]int{}
	for _, a := range r.held {
		if mtu := r.mtus[a]; mtu > 0 && r.mtu > 0 && mtu != r.mtu {
			all[a.String()] = mtu
		}
	}
	return all
}

// warn says once that nodes differ, and once that they do no more.
func (r *run) warn() {
	r.mu.Lock()
	if !r.compare {
		r.mu.Unlock()
		return
	}
	r.compare = false
	own, others := r.mtu, r.strangers()
	r.mu.Unlock()
	said := strings.Join(slices.Sorted(maps.Keys(others)), " ")
	switch said {
	case r.said:
	case "":
		r.log.Info("all nodes with containers have uplinks of the same MTU again", "mtu", own)
	default:
		r.log.Warn("nodes' uplinks differ in their MTU: large packets between them are lost or fragmented: give all the same, or set rolling.mtu on the networks", "own", own, "others", others)
	}
	r.said = said
}
