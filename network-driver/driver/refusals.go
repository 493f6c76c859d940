package driver

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/docker/go-plugins-helpers/network"
)

// keptRefusals is how many are remembered: Swarm asks after its own answer went out, so nobody else tells people why.
const keptRefusals = 16

// Refusal is a network of the Swarm's that its leader was told no for.
type Refusal struct {
	At      time.Time `json:"at"`
	Network string    `json:"network"` // id
	Subnet  string    `json:"subnet"`  // as it was asked for
	Why     string    `json:"why"`
}

type refusals struct {
	mu   sync.Mutex // guards last
	last []Refusal  // oldest first
}

// note keeps the last no to each network: Swarm asks again and again.
func (r *refusals) note(n network.AllocateNetworkRequest, why error) {
	said := Refusal{At: time.Now().UTC(), Network: n.NetworkID[:min(len(n.NetworkID), 64)], Why: why.Error()}
	for _, pool := range n.IPv4Data {
		said.Subnet = pool.Pool[:min(len(pool.Pool), 64)]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = slices.DeleteFunc(r.last, func(o Refusal) bool { return o.Network == said.Network })
	r.last = append(r.last[max(0, len(r.last)+1-keptRefusals):], said)
}

// Refusals serves what the leader was told no for.
func (d *Door) Refusals() http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		d.refusals.mu.Lock()
		all := append([]Refusal{}, d.refusals.last...)
		d.refusals.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all) // who asked has gone
	}
}
