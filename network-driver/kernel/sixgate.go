package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
)

// restChain is at the end of FORWARD while the node forwards IPv6 only for us: what nobody accepted before it is
// dropped, as it was when the node did not forward.
const restChain = "ROLLING-REST"

// sixGate is the accept rules for the pools' IPv6 prefixes. Where Docker has its chain they hang from it, as those of
// IPv4 do, else from FORWARD itself.
type sixGate struct {
	nft, legacy string
	known       map[string]*iptables.IPTables // by path; one caller at a time
}

func newSixGate(nft, legacy string) *sixGate {
	return &sixGate{nft: nft, legacy: legacy, known: map[string]*iptables.IPTables{}}
}

// set makes the accepted prefixes exactly these. Alone says that nobody else makes the node forward.
func (g *sixGate) set(pools []netip.Prefix, alone bool) error {
	for _, path := range g.programs() {
		ipt, err := g.program(path)
		if err != nil {
			return fmt.Errorf("firewall (IPv6): %w", err)
		}
		docker, err := g.fill(ipt, pools, alone)
		if err != nil {
			return fmt.Errorf("firewall (%s): %w", path, err)
		}
		if docker {
			pools, alone = nil, false // the other has nothing of ours
		}
	}
	return nil
}

// programs: the one whose table has Docker's chain comes first; legacy only where it is used.
func (g *sixGate) programs() []string {
	names, err := os.ReadFile("/proc/thread-self/net/ip6_tables_names")
	if err != nil || !strings.Contains(string(names), table) {
		return []string{g.nft}
	}
	if ipt, err := g.program(g.legacy); err == nil {
		if docker, err := ipt.ChainExists(table, dockerChain); err == nil && docker {
			return []string{g.legacy, g.nft}
		}
	}
	return []string{g.nft, g.legacy}
}

func (g *sixGate) program(path string) (*iptables.IPTables, error) {
	if ipt, ok := g.known[path]; ok {
		return ipt, nil
	}
	ipt, err := iptables.New(iptables.IPFamily(iptables.ProtocolIPv6), iptables.Path(path), iptables.Timeout(lockWait))
	if err != nil {
		return nil, fmt.Errorf("%w: the plugin's root file system should hold it", err)
	}
	g.known[path] = ipt
	return ipt, nil
}

// fill says whether the table has our rules now.
func (g *sixGate) fill(ipt *iptables.IPTables, pools []netip.Prefix, alone bool) (bool, error) {
	chains, err := ipt.ListChains(table)
	if err != nil {
		return false, fmt.Errorf("list chains: %w", err)
	}
	docker, own, rest := slices.Contains(chains, dockerChain), slices.Contains(chains, gateChain), slices.Contains(chains, restChain)
	if len(pools) == 0 {
		var problems []error
		if own {
			problems = append(problems, ipt.DeleteIfExists(table, forwardChain, "-j", gateChain), closeGate(ipt, docker))
		}
		return false, errors.Join(append(problems, dropRest(ipt, rest, alone))...)
	}
	if err := acceptPools(ipt, own, pools); err != nil {
		return false, err
	}
	if docker {
		if _, err := jump(ipt); err != nil {
			return false, err
		}
		// Docker's chain came after our first rules.
		err = ipt.DeleteIfExists(table, forwardChain, "-j", gateChain)
	} else {
		err = ipt.InsertUnique(table, forwardChain, 1, "-j", gateChain)
	}
	if err != nil {
		return false, fmt.Errorf("jump to %s: %w", gateChain, err)
	}
	return true, dropRest(ipt, rest, alone)
}

// forwardChain is where forwarded packets come by.
const forwardChain = "FORWARD"

func acceptPools(ipt *iptables.IPTables, exists bool, pools []netip.Prefix) error {
	if !exists {
		if err := ipt.NewChain(table, gateChain); err != nil {
			return fmt.Errorf("make chain %s: %w", gateChain, err)
		}
	}
	have, err := ipt.List(table, gateChain)
	if err != nil {
		return fmt.Errorf("list %s: %w", gateChain, err)
	}
	want := rules(pools)
	for _, r := range want {
		if !slices.Contains(have, text(r)) {
			if err := ipt.Append(table, gateChain, r...); err != nil {
				return fmt.Errorf("accept %q: %w", r, err)
			}
		}
	}
	for _, h := range have {
		fields := strings.Fields(h)
		if fields[0] == "-A" && !slices.ContainsFunc(want, func(r []string) bool { return text(r) == h }) {
			if err := ipt.Delete(table, gateChain, fields[2:]...); err != nil {
				return fmt.Errorf("remove %q: %w", h, err)
			}
		}
	}
	return nil
}

// dropRest puts the end of FORWARD there, or takes it away.
func dropRest(ipt *iptables.IPTables, exists, wanted bool) error {
	switch {
	case !exists && !wanted:
		return nil
	case exists && !wanted:
		return errors.Join(ipt.DeleteIfExists(table, forwardChain, "-j", restChain), ipt.ClearAndDeleteChain(table, restChain))
	case !exists:
		if err := ipt.NewChain(table, restChain); err != nil {
			return fmt.Errorf("make chain %s: %w", restChain, err)
		}
	}
	return errors.Join(ipt.AppendUnique(table, restChain, "-j", "DROP"), ipt.AppendUnique(table, forwardChain, "-j", restChain))
}
