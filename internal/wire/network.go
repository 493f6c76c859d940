package wire

import (
	"net/netip"
	"time"
)

// What the manager asks about a node's network, and tells it.
const (
	PathNetwork = "/v1/network" // GET: Network
	PathDrain   = "/v1/drain"   // POST ?on=true|false: marks all that the node announces for a shutdown, or no longer
)

// Bounds of Network: what is beyond is cut off, and Cut says so.
const (
	MaxLinks  = 200  // of the node's own; containers' are left out
	MaxRoutes = 2000 // of others than Rolling
)

// Network is how a node's network stands, as facts: what they mean the manager decides.
type Network struct {
	Now     time.Time `json:"now"`     // the node's clock
	Host    Host      `json:"host"`    // from the kernel, by the agent itself
	Plugins []Plugin  `json:"plugins"` // Rolling's, as the agent keeps them
	Driver  *Driver   `json:"driver,omitempty"`
	// Silence is why there is no Driver: rolling/net does not answer.
	Silence string `json:"silence,omitempty"`
}

// Host is what the kernel of a node says.
type Host struct {
	Forwarding bool        `json:"forwarding"`      // net.ipv4.ip_forward
	Links      []Link      `json:"links"`           // but those of containers
	Routes     []HostRoute `json:"routes"`          // of the main table, but Rolling's own
	Cut        bool        `json:"cut,omitempty"`   // a bound made them fewer
	Fault      string      `json:"fault,omitempty"` // what could not be read
}

// Link is one of a node's interfaces.
type Link struct {
	Name      string         `json:"name"`
	MTU       int            `json:"mtu"`
	Up        bool           `json:"up"`
	Addresses []netip.Prefix `json:"addresses,omitempty"` // with the length of their network
	// Source is how the kernel checks where packets claim to come from (rp_filter, with that of "all"): 0 not at all, 1
	// strictly, 2 loosely.
	Source int `json:"source"`
}

// HostRoute is a route to somewhere that is not Rolling's.
type HostRoute struct {
	Prefix netip.Prefix `json:"prefix"` // of length 0: the default route
	Via    netip.Addr   `json:"via,omitzero"`
	Link   string       `json:"link,omitempty"`
}

// Plugin is one of Rolling's on a node.
type Plugin struct {
	Alias   string `json:"alias"`
	Build   string `json:"build,omitempty"`
	Ready   bool   `json:"ready"` // it runs, as the agent wants it
	Problem string `json:"problem,omitempty"`
}

// Driver is what rolling/net says of itself on its own page.
type Driver struct {
	Ready      bool              `json:"ready"`
	Refused    string            `json:"refused,omitempty"`
	Problems   map[string]string `json:"problems,omitempty"`
	Self       netip.Addr        `json:"self,omitzero"`
	Manager    bool              `json:"manager"`
	MTU        int               `json:"mtu"`               // of the uplink
	Uplinks    []string          `json:"uplinks,omitempty"` // interfaces by which other nodes may send
	Pools      []netip.Prefix    `json:"pools,omitempty"`
	Endpoints  []Endpoint        `json:"endpoints,omitempty"`
	Neighbours []Neighbour       `json:"neighbours,omitempty"`
	Held       int               `json:"held"`      // routes to other nodes' containers
	Announced  int               `json:"announced"` // prefixes
	Drained    bool              `json:"drained"`
	Settled    bool              `json:"settled"` // the fabric's routes are known
	FastPath   string            `json:"fastPath,omitempty"`
	Idle       string            `json:"idle,omitempty"` // why the fast path carries nothing
	Firewall   *Firewall         `json:"firewall,omitempty"`
	Access     *Access           `json:"access,omitempty"` // absent: an older plugin
}

// Endpoint is a container's leg on a network, as the driver has it.
type Endpoint struct {
	Address netip.Addr `json:"address"`
	MTU     int        `json:"mtu,omitempty"`
	Project string     `json:"project,omitempty"` // of its network
	Open    bool       `json:"open,omitempty"`    // everybody may connect
	Since   time.Time  `json:"since,omitzero"`    // it was joined
	Awaited bool       `json:"awaited,omitempty"`
}

// Neighbour is a BGP session that a node should have.
type Neighbour struct {
	Address netip.Addr `json:"address"`
	Router  bool       `json:"router,omitempty"`
	State   string     `json:"state"`
	Since   time.Time  `json:"since,omitzero"`
	Flaps   int        `json:"flaps,omitempty"`
	CutOff  bool       `json:"cutOff,omitempty"` // it sent more prefixes than it may
	Silent  bool       `json:"silent,omitempty"` // its node's kernel does not answer
}

// Established is the state of a session that works.
const Established = "established"

// Firewall is what forwarding meets in iptables.
type Firewall struct {
	Policy  string   `json:"policy"`            // of FORWARD: ACCEPT or DROP
	Open    bool     `json:"open"`              // Rolling's own rules are there and are reached
	Before  []string `json:"before,omitempty"`  // rules of others that drop or reject, and are met before them
	Problem string   `json:"problem,omitempty"` // it could not be read
}
