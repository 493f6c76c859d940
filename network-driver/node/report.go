package node

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Counts only grow.
type Counts struct {
	Joins   int `json:"joins"`
	Orphans int `json:"orphans"` // endpoints forgotten because their link had gone
	Learnt  int `json:"learnt"`  // route changes taken from the speaker
}

// Report is a picture of the node for people and for metrics.
type Report struct {
	Ready      bool                  `json:"ready"`
	Refused    string                `json:"refused,omitempty"`
	Problems   map[string]string     `json:"problems"`
	Membership topology.Membership   `json:"membership"`
	Networks   []topology.Network    `json:"networks"`
	Endpoints  []topology.Endpoint   `json:"endpoints"`
	Pools      []netip.Prefix        `json:"pools"`
	Routes     map[string]netip.Addr `json:"routes"` // learnt, by prefix
	Settled    bool                  `json:"settled"`
	Counts     Counts                `json:"counts"`
	FastPath   topology.FastReport   `json:"fastPath"`
	Uplink     topology.Uplink       `json:"uplink"`
	Isolation  Apart                 `json:"isolation"`
	Awaited    []topology.EndpointID `json:"awaited"` // announced once their containers are healthy
	Spoofed    uint64                `json:"spoofed"` // packets with another's source, beside what the fast path and bridges count
	L2         *L2Report             `json:"l2,omitempty"`
	Doorways   []topology.Doorway    `json:"doorways,omitempty"` // published ports of the host
}

// Report tells how it stands, also while no call is served. The firewall's counters are read beside the loop: that takes
// half a dozen programs, for which no container's start should wait.
func (n *Node) Report(ctx context.Context) (Report, error) {
	r, err := n.picture(ctx)
	if err == nil {
		r.Spoofed = n.spoofed()
		r.Isolation.Denied, _ = n.parts.Isolation.Wall.Denied() // that nothing can be read is said by the step that lays it
	}
	return r, err
}

func (n *Node) picture(ctx context.Context) (Report, error) {
	return do(ctx, n, func() (Report, error) {
		r := Report{
			Ready: n.refused == nil, Problems: maps.Clone(n.problems), Membership: n.membership,
			Networks:  slices.SortedFunc(maps.Values(n.state.Networks), func(a, b topology.Network) int { return strings.Compare(string(a.ID), string(b.ID)) }),
			Endpoints: slices.SortedFunc(maps.Values(n.state.Endpoints), func(a, b topology.Endpoint) int { return strings.Compare(string(a.ID), string(b.ID)) }),
			Pools:     n.state.Pools(), Routes: make(map[string]netip.Addr, len(n.learnt)), Settled: n.settled, Counts: n.counts,
			FastPath: n.parts.Fast.Report(), Uplink: n.uplink, Isolation: n.standing(), Awaited: n.awaited(),
			L2: n.l2Report(), Doorways: n.state.Doorways(),
		}
		r.FastPath.Idle = n.idle
		if n.refused != nil {
			r.Refused = n.refused.Error()
		}
		for p, via := range n.learnt {
			r.Routes[p.String()] = via
		}
		return r, nil
	})
}

// spoofed is what the checks of sources dropped that stand beside the fast path. One that cannot be read counts nothing:
// the step that lays it says why.
func (n *Node) spoofed() uint64 {
	four, _ := n.parts.Gate.Spoofed()
	if n.parts.Six == nil {
		return four
	}
	six, _ := n.parts.Six.Dropped()
	return four + six
}

// remembered: a retry comes within seconds; this is hours of a busy node.
const remembered = 4096

// memory holds the last ids that were taken away.
type memory struct {
	known map[string]bool
	order []string
}

func newMemory() *memory { return &memory{known: map[string]bool{}} }

func (m *memory) add(id string) {
	if m.known[id] {
		return
	}
	m.known[id] = true
	m.order = append(m.order, id)
	if len(m.order) > remembered {
		delete(m.known, m.order[0])
		m.order = m.order[1:]
	}
}

func (m *memory) has(id string) bool { return m.known[id] }
