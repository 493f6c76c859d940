package driver

import (
	"strings"
	"sync"
	"time"

	"github.com/docker/go-plugins-helpers/ipam"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// keptRefusals is how many are remembered: Swarm asks after its answer went out, so nobody else tells people why.
const keptRefusals = 64

// Refusal is a call that was answered with an error.
type Refusal struct {
	Seq     uint64            `json:"seq"` // rises while the process lives
	At      time.Time         `json:"at"`
	Call    string            `json:"call"`
	Subnet  string            `json:"subnet,omitempty"`
	Options map[string]string `json:"options,omitempty"` // rolling.* alone
	Pool    string            `json:"pool,omitempty"`    // PoolID
	Address string            `json:"address,omitempty"`
	Why     string            `json:"why"`
}

type refusals struct {
	mu   sync.Mutex // guards the rest
	seq  uint64
	last []Refusal // oldest first
}

func (r *refusals) note(at time.Time, call string, request any, why error) {
	n := Refusal{At: at.UTC(), Call: call, Why: why.Error()}
	switch q := request.(type) {
	case *ipam.RequestPoolRequest:
		n.Subnet, n.Options = clip(q.Pool), map[string]string{}
		for key, value := range q.Options {
			if strings.HasPrefix(key, contract.Prefix) && len(n.Options) < 16 {
				n.Options[clip(key)] = clip(value)
			}
		}
	case *ipam.RequestAddressRequest:
		n.Pool, n.Address = clip(q.PoolID), clip(q.Address)
	case *ipam.ReleaseAddressRequest:
		n.Pool, n.Address = clip(q.PoolID), clip(q.Address)
	case *ipam.ReleasePoolRequest:
		n.Pool = clip(q.PoolID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	n.Seq = r.seq
	// Swarm asks a full pool again and again: the same no replaces the one before.
	if last := len(r.last) - 1; last >= 0 && r.last[last].Call == n.Call && r.last[last].Pool == n.Pool && r.last[last].Address == n.Address && n.Pool != "" {
		r.last[last] = n
		return
	}
	r.last = append(r.last[max(0, len(r.last)+1-keptRefusals):], n)
}

// clip keeps a request of nonsense from filling the memory.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 200)], "") }

func (r *refusals) list() []Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Refusal{}, r.last...)
}
