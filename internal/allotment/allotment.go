// Package allotment is the text in which operators settle addresses before any network asks for them: named pools, and
// addresses that are reserved. The manager writes it as the Swarm Config rolling.ipam.N, every manager's IPAM plugin reads
// it. It knows the text and what contradicts itself in it; it knows no Swarm and no lease.
package allotment

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// Version is of the text's form. A program refuses a higher one whole: it would drop what it does not know.
const Version = 1

// MaxText is what every engine's Swarm takes as one Config.
const MaxText = 500 << 10

// ConfigPrefix begins the Configs' names; the number follows.
const ConfigPrefix = "rolling.ipam."

// ConfigName is the name of the Config with that number. Configs never change, so each change is a higher number.
func ConfigName(n uint64) string { return ConfigPrefix + strconv.FormatUint(n, 10) }

// Number is the number in a Config's name; ok is false if it is none of ours.
func Number(name string) (n uint64, ok bool) {
	digits, ours := strings.CutPrefix(name, ConfigPrefix)
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, ours && err == nil && n > 0 && ConfigName(n) == name
}

// Plan is what the operators have settled. The zero value is a Swarm where nobody settled anything.
type Plan struct {
	Pools        []Pool        `json:"pools"`
	Reservations []Reservation `json:"reservations"`
}

// Pool is a prefix with a name, and what its networks get unless they say otherwise.
type Pool struct {
	Name   string       `json:"name"`
	Prefix netip.Prefix `json:"prefix"`
	Block  int          `json:"block,omitempty"` // length of the blocks that a network holds; 0: no blocks
	Quota  int          `json:"quota,omitempty"` // most addresses that networks with equal options lease at once; 0: no limit
	Why    string       `json:"why,omitempty"`
}

// Reservation keeps an address for somebody. One of Network, Project and Owner says for whom; addresses of an Owner
// are given to no network at all.
type Reservation struct {
	Address     netip.Addr `json:"address"`
	Network     string     `json:"network,omitempty"`     // by name
	Project     string     `json:"project,omitempty"`     // its networks
	Environment string     `json:"environment,omitempty"` // of the project; "": all of them
	Owner       string     `json:"owner,omitempty"`       // in words: a printer, a router, another platform
	Why         string     `json:"why"`
	By          string     `json:"by,omitempty"`
	At          time.Time  `json:"at,omitzero"`
}

// For says for whom an address is kept, in words.
func (r Reservation) For() string {
	switch {
	case r.Network != "":
		return "network " + r.Network
	case r.Environment != "":
		return "project " + r.Project + " in " + r.Environment
	case r.Project != "":
		return "project " + r.Project
	}
	return r.Owner
}

// Text writes a plan in a fixed order. A plan that Parse would refuse is an error.
func (p Plan) Text() ([]byte, error) {
	p = p.sorted()
	text, err := json.MarshalIndent(struct {
		Version int `json:"version"`
		Plan
	}{Version, p}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write named pools and reservations: %w", err)
	}
	text = append(text, '\n')
	_, err = Parse(text)
	return text, err
}

func (p Plan) sorted() Plan {
	p.Pools = append([]Pool{}, p.Pools...)
	p.Reservations = append([]Reservation{}, p.Reservations...)
	slices.SortFunc(p.Pools, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Reservations, func(a, b Reservation) int { return a.Address.Compare(b.Address) })
	return p
}

// Named finds a pool, or says which there are.
func (p Plan) Named(name string) (Pool, error) {
	var known []string
	for _, pool := range p.Pools {
		if pool.Name == name {
			return pool, nil
		}
		known = append(known, pool.Name)
	}
	slices.Sort(known)
	if len(known) == 0 {
		return Pool{}, fmt.Errorf("pool %q: no pool has a name yet: make it by rolling pool create, or give the subnet", name)
	}
	text := fmt.Sprintf("pool %q is none of %s", name, strings.Join(known, ", "))
	if near := contract.Nearest(name, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return Pool{}, fmt.Errorf("%s", text)
}

// Reserved finds an address's reservation.
func (p Plan) Reserved(a netip.Addr) (Reservation, bool) {
	i := slices.IndexFunc(p.Reservations, func(r Reservation) bool { return r.Address == a })
	if i < 0 {
		return Reservation{}, false
	}
	return p.Reservations[i], true
}

// Copy is one Config's number and text.
type Copy struct {
	Number uint64
	Text   []byte
}

// Newest reads the highest copy that makes sense: the same one wherever it is done. Why those above it do not is in bad.
// Number 0: there is none that makes sense.
func Newest(all []Copy) (number uint64, p Plan, bad []error) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Copy) int { return cmp.Compare(b.Number, a.Number) })
	for _, c := range all {
		p, err := Parse(c.Text)
		if err == nil {
			return c.Number, p, bad
		}
		bad = append(bad, fmt.Errorf("config %s is refused whole: %w", ConfigName(c.Number), err))
	}
	return 0, Plan{}, bad
}
