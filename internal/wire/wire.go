// Package wire is what an agent and the manager must agree on to have a line: names, paths, the shape of each message, and
// who each of them proves to be. It knows no socket, no Docker and no file; the two ends are agent/line and manager/line.
package wire

import (
	"errors"
	"net/netip"
	"time"
)

// Names that both ends, the stack file and `rolling line init` use.
const (
	// Port is where the manager listens for the agents.
	Port = 7420
	// Protocol is the line's name in TLS's ALPN: another version is another name, so strangers part in the handshake.
	Protocol = "rolling-line/1"
	// ManagerName is the name in the manager's certificate. It is no name of DNS: addresses may change, it does not.
	ManagerName = "manager.rolling.internal"
	// RoleManager and RoleAgent are the URI in a certificate that says which end its holder may be.
	RoleManager = "rolling://manager"
	RoleAgent   = "rolling://agent"
	// SecretManager and SecretAgent begin the names of the Swarm's secrets; "-" and a generation follow.
	SecretManager = "rolling-line-manager"
	SecretAgent   = "rolling-line-agent"
	// SecretPath is where either end finds its secret.
	SecretPath = "/run/secrets/rolling-line"
)

// What the manager asks of an agent. Each is a GET, answered in JSON; a refusal is a line of text.
const (
	PathHello  = "/v1/hello"
	PathLines  = "/v1/lines" // ?container=ID or ?task=ID, &n=COUNT
	PathRoutes = "/v1/routes"
	PathHealth = "/v1/health"
)

// Bounds of PathLines.
const (
	MaxLines     = 500
	MaxLineBytes = 4 << 10   // of one line; the rest is cut off
	MaxBytes     = 256 << 10 // of all lines together; the oldest go first
)

// MaxAnswer is the largest answer that the manager reads: 20,000 routes are some 2 MiB.
const MaxAnswer = 8 << 20

// ErrUnknown is of a container that is not on the node that was asked. On the wire it is HTTP's 404.
var ErrUnknown = errors.New("there is no such container on this node")

// Hello is how an agent names itself.
type Hello struct {
	NodeID   string `json:"nodeId"` // of Swarm
	Hostname string `json:"hostname"`
	Version  string `json:"version,omitempty"` // the agent's
}

// Lines are the last ones of a container, oldest first, of both streams as they came.
type Lines struct {
	Container string   `json:"container"`
	Lines     []string `json:"lines"`
	Cut       bool     `json:"cut,omitempty"` // a bound made them fewer or shorter than asked
}

// Origin says how a node comes to a route.
type Origin string

// The origins.
const (
	Local  Origin = "local"  // the address is on this node, which announces it
	Learnt Origin = "learnt" // another node announced it
)

// Route is a road to an address, as one node has it.
type Route struct {
	Prefix      netip.Prefix `json:"prefix"`
	NextHop     netip.Addr   `json:"nextHop,omitzero"` // of a local one the node itself, if it knows its address
	Origin      Origin       `json:"origin"`
	Project     string       `json:"project,omitempty"`
	Environment string       `json:"environment,omitempty"`
}

// Routes are all of a node's.
type Routes struct {
	Source string  `json:"source"` // plugin: what the network driver means; kernel: what it left there, while it does not answer
	Routes []Route `json:"routes"`
}

// Health says how an agent and its node do.
type Health struct {
	Ready    bool      `json:"ready"`
	Problems []string  `json:"problems,omitempty"`
	Now      time.Time `json:"now"` // the node's clock
}
