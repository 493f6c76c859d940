package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// Watch looks at the firewall for people, beside the Gate that keeps it. It changes nothing.
type Watch struct {
	mu   sync.Mutex // guards gate
	gate *Gate
}

// NewWatch is told both iptables programs.
func NewWatch(nft, legacy string) *Watch { return &Watch{gate: NewGate(nft, legacy)} }

// Look reads what packets to and from the pools meet, in the tables that Docker uses.
func (w *Watch) Look(pools []netip.Prefix) (topology.Firewall, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last topology.Firewall
	for i, path := range w.gate.programs() {
		c, err := w.gate.chains(path)
		if err != nil {
			return last, fmt.Errorf("read the firewall (%s): %w", path, err)
		}
		if f := topology.ReadFirewall(c, pools); i == 0 || len(c.Docker) > 0 {
			last = f
		}
		if len(c.Docker) > 0 {
			break
		}
	}
	return last, nil
}

func (g *Gate) chains(path string) (topology.Chains, error) {
	c := topology.Chains{DockerName: dockerChain, OwnName: gateChain}
	ipt, err := g.program(path)
	if err != nil {
		return c, err
	}
	have, err := ipt.ListChains(table)
	if err != nil {
		return c, err
	}
	var problems []error
	for chain, into := range map[string]*[]string{forwardChain: &c.Forward, dockerChain: &c.Docker, gateChain: &c.Own} {
		if !slices.Contains(have, chain) {
			continue
		}
		if *into, err = ipt.List(table, chain); err != nil {
			problems = append(problems, fmt.Errorf("list %s: %w", chain, err))
		}
	}
	return c, errors.Join(problems...)
}
