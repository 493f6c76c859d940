package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// sourceChain is ours alone.
const sourceChain = "ROLLING-SOURCE"

// Check makes the firewall look at what containers send: only the addresses and the MAC that each has pass. It is for a
// node without a fast path, which does this on its own; with no links chain and jump are removed. It costs a rule an
// address, gone through one by one.
func (g *Gate) Check(legs []topology.Leg) error {
	for _, path := range g.dockersFirst() {
		ipt, err := g.program(path)
		if err != nil {
			return fmt.Errorf("source check: %w", err)
		}
		if err := check(ipt, legs); err != nil {
			return fmt.Errorf("source check (%s): %w", path, err)
		}
		legs = nil // one program does it, and the other has nothing of ours
	}
	return nil
}

// dockersFirst puts the program whose table Docker uses before the other.
func (g *Gate) dockersFirst() []string {
	all := g.programs()
	for i, path := range all {
		ipt, err := g.program(path)
		if err != nil {
			continue
		}
		if docker, err := ipt.ChainExists(table, dockerChain); err == nil && docker && i > 0 {
			slices.Reverse(all)
		}
	}
	return all
}

func check(ipt *iptables.IPTables, legs []topology.Leg) error {
	chains, err := ipt.ListChains(table)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	own := slices.Contains(chains, sourceChain)
	if len(legs) == 0 {
		if !own {
			return nil
		}
		var problems []error
		for _, chain := range hooks() {
			problems = append(problems, ipt.DeleteIfExists(table, chain, jumpToCheck()...))
		}
		return errors.Join(append(problems, ipt.ClearAndDeleteChain(table, sourceChain))...)
	}
	if !own {
		if err := ipt.NewChain(table, sourceChain); err != nil {
			return fmt.Errorf("make chain %s: %w", sourceChain, err)
		}
	}
	return fill(ipt, legs)
}

// fill puts what may pass before the drop at the chain's end, and only then the jump.
func fill(ipt *iptables.IPTables, legs []topology.Leg) error {
	have, err := ipt.List(table, sourceChain)
	if err != nil {
		return fmt.Errorf("list %s: %w", sourceChain, err)
	}
	want := sourceRules(legs)
	equal := func(h string) func([]string) bool {
		return func(r []string) bool { return strings.EqualFold(h, "-A "+sourceChain+" "+strings.Join(r, " ")) }
	}
	for _, r := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return equal(h)(r) }) {
			if err := ipt.Insert(table, sourceChain, 1, r...); err != nil {
				return fmt.Errorf("let %q pass: %w", r, err)
			}
		}
	}
	for _, h := range have {
		if strings.HasPrefix(h, "-A ") && !strings.HasSuffix(h, "-j DROP") && !slices.ContainsFunc(want, equal(h)) {
			if err := ipt.Delete(table, sourceChain, strings.Fields(h)[2:]...); err != nil {
				return fmt.Errorf("remove %q: %w", h, err)
			}
		}
	}
	if err := ipt.AppendUnique(table, sourceChain, "-j", "DROP"); err != nil {
		return fmt.Errorf("drop the rest: %w", err)
	}
	for _, chain := range hooks() {
		if err := ipt.InsertUnique(table, chain, 1, jumpToCheck()...); err != nil {
			return fmt.Errorf("jump from %s: %w", chain, err)
		}
	}
	return nil
}

// hooks are where a container's packet comes by, wherever it goes.
func hooks() []string { return []string{"INPUT", "FORWARD"} }

func jumpToCheck() []string { return []string{"-i", topology.HostEnds + "+", "-j", sourceChain} }

func sourceRules(legs []topology.Leg) [][]string {
	var all [][]string
	for _, l := range legs {
		for _, a := range l.Sources {
			all = append(all, []string{"-s", host(a).String(), "-i", l.Name, "-m", "mac", "--mac-source", l.MAC, "-j", "RETURN"})
		}
	}
	return all
}

// Spoofed is how many packets the check has dropped since its chain was made.
func (g *Gate) Spoofed() (uint64, error) {
	ipt, err := g.program(g.dockersFirst()[0])
	if err != nil {
		return 0, err
	}
	return drops(ipt, table, sourceChain)
}

// drops are the packets that a chain's rule DROP has counted; none without the chain.
func drops(ipt *iptables.IPTables, table, chain string) (uint64, error) {
	lines, err := ipt.ListWithCounters(table, chain)
	if err != nil {
		return 0, nil //nolint:nilerr // there is no such chain
	}
	for _, l := range lines {
		f := strings.Fields(l)
		at := slices.Index(f, "-c")
		if len(f) > 4 && f[0] == "-A" && slices.Contains(f, "DROP") && at > 0 && at+1 < len(f) {
			return strconv.ParseUint(f[at+1], 10, 64)
		}
	}
	return 0, nil
}
