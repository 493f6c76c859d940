package pool

import (
	"net/netip"
	"time"
)

// State is where a lease stands: free (no lease) → reserved → confirmed → unconfirmed (new term) → resting → free.
type State string

// The states that people see. A lease keeps facts; the state is derived from them.
const (
	Reserved    State = "reserved"    // handed out in this term
	Confirmed   State = "confirmed"   // Swarm was seen to hold it in this term
	Unconfirmed State = "unconfirmed" // from before this term, or unheard of since
	Resting     State = "resting"     // freed, not to be used yet
	Free        State = "free"        // freed, its rest is over
)

type leaseState byte

const (
	held leaseState = iota
	resting
)

// lease is one address that is, or was, somebody's. Times are milliseconds since 1970.
type lease struct {
	share   *share
	addr    uint32
	term    uint32 // the share's term when a call last named it
	seen    uint32 // the share's term when Swarm was last seen to hold it
	viewed  int64  // when the view that showed it began
	state   leaseState
	gateway bool   // a router's address, not a task's
	asked   bool   // the last call named the address, so the same call again is a repeat
	old     bool   // read from the ledger, not named by a call since
	again   bool   // the last call named what was leased before it: a replay
	lost    bool   // resting for long: its node was not ready when Swarm let it go
	dead    bool   // somebody made sure that its last holder is dead
	seq     uint64 // of the last call that named it
	since   int64
	touched int64
	freed   int64
	until   int64
	missed  int64  // when Swarm was first seen not to hold it; 0: it holds it, or was not asked
	node    string // the node that it is on, or was on when it was freed
	owner   *Owner
}

// Owner is who holds an address, in Swarm's words.
type Owner struct {
	Kind        string `json:"kind"` // task, attachment, vip, gateway
	Task        string `json:"task,omitempty"`
	Service     string `json:"service,omitempty"`
	Slot        string `json:"slot,omitempty"`
	Node        string `json:"node,omitempty"` // its id; people are shown its name
	Project     string `json:"project,omitempty"`
	Environment string `json:"environment,omitempty"`
}

func (o *Owner) String() string {
	if o == nil {
		return ""
	}
	s := o.Kind
	for _, p := range [][2]string{{" of service ", o.Service}, {" slot ", o.Slot}, {" ", o.Task}, {" on node ", o.Node}} {
		if p[1] != "" {
			s += p[0] + p[1]
		}
	}
	return s
}

// LeaseRecord is what the ledger keeps of an address.
type LeaseRecord struct {
	Pool    string     `json:"-"` // space and subnet; with Addr it is the record's key
	Addr    netip.Addr `json:"-"`
	Share   uint32     `json:"s"`
	Term    uint32     `json:"t,omitempty"`
	Resting bool       `json:"r,omitempty"`
	Gateway bool       `json:"g,omitempty"`
	Asked   bool       `json:"a,omitempty"`
	Lost    bool       `json:"l,omitempty"`
	Dead    bool       `json:"d,omitempty"`
	Seen    uint32     `json:"e,omitempty"`
	Seq     uint64     `json:"q,omitempty"`
	Since   int64      `json:"b,omitempty"`
	Touched int64      `json:"c,omitempty"`
	Freed   int64      `json:"f,omitempty"`
	Until   int64      `json:"u,omitempty"`
	Node    string     `json:"n,omitempty"`
}

// ShareRecord is what the ledger keeps of a share.
type ShareRecord struct {
	ID       uint32       `json:"id"`
	Key      Key          `json:"key"`
	Term     uint32       `json:"term"`
	Epoch    uint64       `json:"epoch"`
	Burst    uint64       `json:"burst"`
	Reign    uint32       `json:"reign,omitempty"` // the last term that surely was a replay: a gateway was named
	Networks int          `json:"networks"`
	Asked    int64        `json:"asked"`            // when RequestPool last came
	Unsure   int64        `json:"unsure,omitempty"` // until then what is unknown is handed out last
	ByName   bool         `json:"byName,omitempty"` // made from its PoolID alone: nothing is known of its addresses yet
	Inside   bool         `json:"inside,omitempty"` // its gateway lies in the subnet
	Own      bool         `json:"own,omitempty"`    // the gateway was this node's choice: one of Docker's own networks
	Offer    string       `json:"offer,omitempty"`  // the gateway offered by the last RequestPool
	Gateways []Gateway    `json:"gateways,omitempty"`
	Blocks   []netip.Addr `json:"blocks,omitempty"`
	Block    int          `json:"block,omitempty"` // length of its blocks: of its terms, or as its named pool had it when the share was made
	Quota    int          `json:"quota,omitempty"` // the same of its quota
}

// Gateway is a link-local gateway that a network of the share uses.
type Gateway struct {
	Addr    netip.Addr `json:"addr"`
	Touched int64      `json:"touched"`
	missed  int64
}

// Meta is what the ledger keeps of the book as a whole.
type Meta struct {
	Epoch uint64 `json:"epoch"`           // raised whenever an engine's allocator introduced itself
	Blind int64  `json:"blind,omitempty"` // when a ledger was lost: since then what is unknown is not known to be free
}

// Change is one decision, for the ledger to keep before the answer goes out. The later of two records wins.
type Change struct {
	Meta       *Meta // nil: unchanged
	Shares     []ShareRecord
	GoneShares []uint32
	Leases     []LeaseRecord
	GoneLeases []LeaseRecord // only Pool and Addr count
	Plan       *PlanRecord   // nil: unchanged
}

// IsZero reports whether there is nothing to keep.
func (c Change) IsZero() bool {
	return c.Meta == nil && len(c.Shares) == 0 && len(c.GoneShares) == 0 && len(c.Leases) == 0 && len(c.GoneLeases) == 0 && c.Plan == nil
}

// Records are all that a ledger holds.
type Records struct {
	Meta   Meta
	Shares []ShareRecord
	Leases []LeaseRecord
	Plan   *PlanRecord // nil: none was ever read
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func (l *lease) record() LeaseRecord {
	return LeaseRecord{
		Pool: l.share.pool.name, Addr: fromNumber(l.addr), Share: l.share.ID, Term: l.term, Resting: l.state == resting,
		Gateway: l.gateway, Asked: l.asked, Lost: l.lost, Dead: l.dead, Since: l.since, Touched: l.touched, Freed: l.freed, Until: l.until, Node: l.node, Seq: l.seq, Seen: l.seen,
	}
}

// current reports whether a call of the present term gave or replayed the lease.
func (l *lease) current() bool { return l.term == l.share.Term }

// known reports whether Swarm was seen to hold the lease since the last sure replay.
func (l *lease) known() bool { return l.seen > 0 && l.seen >= l.share.Reign }

func (l *lease) stands(now int64) State {
	switch {
	case l.state == resting && l.until > now:
		return Resting
	case l.state == resting:
		return Free
	case l.seen == l.share.Term && l.share.Term != 0:
		return Confirmed
	case l.term == l.share.Term:
		return Reserved
	}
	return Unconfirmed
}
