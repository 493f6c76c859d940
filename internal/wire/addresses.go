package wire

import (
	"errors"
	"net/netip"
	"time"

	"github.com/rolling-swarm/rolling/internal/allotment"
)

// What the manager asks about addresses. Only the plugin of the Swarm's leader knows the Swarm's.
const (
	PathAddresses = "/v1/addresses"         // GET ?lease=IP for one lease, &leases=true for all; without, none
	PathFree      = "/v1/addresses/free"    // POST ?address=IP&force=true
	PathSettled   = "/v1/addresses/settled" // POST: named pools and reservations are to be read now
)

// ErrRefused is of a wish that the plugin says no to: its text says why. On the wire it is HTTP's 409.
var ErrRefused = errors.New("the IPAM plugin refuses it")

// Addresses are what a node's IPAM plugin knows, in the form of its own page.
type Addresses struct {
	Ready    bool             `json:"ready"`
	Fault    string           `json:"fault,omitempty"`
	Warnings []string         `json:"warnings"`
	Engine   AddressSight     `json:"engine"`
	Settled  AddressSettled   `json:"settled"`
	Refusals []AddressRefusal `json:"refusals"`
	Networks []NetworkRefusal `json:"networks,omitempty"` // that the network plugin refuses
	Prefixes []AddressPrefix  `json:"prefixes"`
	Shares   []AddressShare   `json:"shares"`
	Leases   []AddressLease   `json:"leases"`
}

// AddressSight is what the plugin knows of its node.
type AddressSight struct {
	Leads bool `json:"leads"` // its node led the Swarm when that was last asked
}

// AddressSettled are the named pools and reservations that rule in the plugin.
type AddressSettled struct {
	Number   uint64         `json:"number"`
	Plan     allotment.Plan `json:"plan"`
	Problems []string       `json:"problems"`
	Trespass []string       `json:"trespass"`
}

// AddressRefusal is a call of the engine's that was answered with an error.
type AddressRefusal struct {
	Seq     uint64            `json:"seq"`
	At      time.Time         `json:"at"`
	Call    string            `json:"call"`
	Subnet  string            `json:"subnet,omitempty"`
	Options map[string]string `json:"options,omitempty"`
	Pool    string            `json:"pool,omitempty"`
	Address string            `json:"address,omitempty"` // that was named
	Why     string            `json:"why"`
}

// NetworkRefusal is a network that the network plugin of the Swarm's leader said no to.
type NetworkRefusal struct {
	At      time.Time `json:"at"`
	Network string    `json:"network"` // id
	Subnet  string    `json:"subnet"`
	Why     string    `json:"why"`
}

// AddressPrefix is a whole subnet.
type AddressPrefix struct {
	Subnet   netip.Prefix `json:"subnet"`
	Name     string       `json:"name,omitempty"`
	Size     int          `json:"size"`
	Used     int          `json:"used"`
	Resting  int          `json:"resting"`
	Reserved int          `json:"reserved"`
	Given    int          `json:"given"`
	Networks int          `json:"networks"`
}

// AddressShare is what networks with equal options draw from a subnet together.
type AddressShare struct {
	Key         string         `json:"pool"`
	Space       string         `json:"space"`
	Subnet      netip.Prefix   `json:"subnet"`
	Called      []string       `json:"called"` // its networks' names
	Blocks      []netip.Prefix `json:"blocks,omitempty"`
	Block       int            `json:"block,omitempty"`
	Range       string         `json:"range,omitempty"`
	Quota       int            `json:"quota,omitempty"`
	Rest        string         `json:"rest"`
	Size        int            `json:"size"`
	Used        int            `json:"used"`
	Leased      int            `json:"leased"`
	Unconfirmed int            `json:"unconfirmed"`
	Resting     int            `json:"resting"`
	Lost        int            `json:"lost"`
	Reserved    int            `json:"reserved"`
}

// AddressLease is an address that somebody has, or that rests.
type AddressLease struct {
	Address netip.Addr    `json:"address"`
	Pool    string        `json:"pool"`
	State   string        `json:"state"`
	Gateway bool          `json:"gateway,omitempty"`
	Owner   *AddressOwner `json:"owner,omitempty"`
	Since   time.Time     `json:"since"`
	Freed   *time.Time    `json:"freed,omitempty"`
	Until   *time.Time    `json:"until,omitempty"`
	Why     string        `json:"why,omitempty"`
}

// AddressOwner is who has it, as the plugin last saw.
type AddressOwner struct {
	Kind        string `json:"kind"`
	Task        string `json:"task,omitempty"`
	Service     string `json:"service,omitempty"`
	Slot        string `json:"slot,omitempty"`
	Node        string `json:"node,omitempty"`
	Project     string `json:"project,omitempty"`
	Environment string `json:"environment,omitempty"`
}
