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
	// Younger than the first agents, so one may not know them: see ErrOlder.
	PathChecks  = "/v1/checks"  // ?container=ID or ?task=ID
	PathSamples = "/v1/samples" // ?task=ID&task=ID…, MaxTasks at most
)

// Bounds of PathLines.
const (
	MaxLines     = 500
	MaxLineBytes = 4 << 10   // of one line; the rest is cut off
	MaxBytes     = 256 << 10 // of all lines together; the oldest go first
)

// Bounds of PathChecks and PathSamples.
const (
	MaxChecks     = 5       // the engine itself keeps no more
	MaxCheckBytes = 4 << 10 // of what one check wrote; the rest is cut off
	MaxTasks      = 100     // in one question; a task's answer is some 4 KiB
	MaxSamples    = 180     // of one task; the oldest go first
)

// MaxAnswer is the largest answer that the manager reads: 20,000 routes are some 2 MiB.
const MaxAnswer = 8 << 20

// ErrUnknown is of a container that is not on the node that was asked. On the wire it is HTTP's 404.
var ErrUnknown = errors.New("there is no such container on this node")

// ErrOlder is of a question that the agent's release does not know yet.
var ErrOlder = errors.New("its agent is older than this question: bring it to the manager's release")

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

// Checks are what a container's health check has said last, oldest first. The engine keeps them beyond the container's end.
type Checks struct {
	Container string  `json:"container"`
	Failed    int     `json:"failed"`    // checks in a row, the last one included; 0: it passed, has just begun, or there is none
	Unhealthy bool    `json:"unhealthy"` // so many that the engine calls the container unhealthy, and Swarm ends it
	Checks    []Check `json:"checks,omitempty"`
}

// Check is one run of a health check.
type Check struct {
	Ended    time.Time `json:"ended"`
	ExitCode int       `json:"exitCode"` // 0: it passed; -1: it did not end in time, or could not be run
	Output   string    `json:"output,omitempty"`
}

// Samples are the recent measurements of tasks on a node. Who is not measured there is missing.
type Samples struct {
	IntervalSeconds int               `json:"intervalSeconds"`
	End             time.Time         `json:"end"` // of the last sample of each
	Tasks           map[string]Sample `json:"tasks"`
}

// Sample is one task's, oldest first; null was not measured.
type Sample struct {
	CPUCores    []*float64 `json:"cpuCores"`
	MemoryBytes []*float64 `json:"memoryBytes"`
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
	Since       time.Time    `json:"since,omitzero"` // of a local one: its container got the address
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
