package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-iptables/iptables"
)

const (
	table = "filter"
	// dockerChain is Docker's promise to others: it runs first in FORWARD, and Docker never empties it.
	dockerChain = "DOCKER-USER"
	// gateChain is ours alone.
	gateChain = "ROLLING-FORWARD"
	// lockWait, in seconds: the door's answer is due after two.
	lockWait = 1
)

// Gate is the accept rules for the pools' prefixes: Docker sets the policy of FORWARD to DROP when it is the one that
// turns forwarding on. The rules stand in a chain of our own, jumped to from DOCKER-USER.
type Gate struct {
	nft, legacy string
	mu          sync.Mutex                    // guards known: counters are read beside what is laid
	known       map[string]*iptables.IPTables // by path
	before      int
}

// Before is how many rules of the administrators stood before ours at the last Set: they judge what the fast path would
// carry past them.
func (g *Gate) Before() int { return g.before }

// NewGate is told both iptables programs; the one whose table has Docker's chain is used.
func NewGate(nft, legacy string) *Gate {
	return &Gate{nft: nft, legacy: legacy, known: map[string]*iptables.IPTables{}}
}

// Set makes the accepted prefixes exactly these; with none, chain and jump are removed. Where Docker has not made its
// chain (its engine still starts, or keeps its hands off iptables) there is nothing to open yet, and no error.
func (g *Gate) Set(pools []netip.Prefix) error {
	g.before = 0
	var problems []error
	for _, path := range g.programs() {
		done, err := g.set(path, pools)
		if err != nil {
			problems = append(problems, fmt.Errorf("firewall (%s): %w", path, err))
		}
		if done {
			break
		}
	}
	if len(pools) > 0 {
		problems = append(problems, forwards())
	}
	return errors.Join(problems...)
}

// forwards: in a managed plugin /proc/sys is read-only, so the switch can only be asked for.
func forwards() error {
	on, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return fmt.Errorf("read whether the node forwards: %w", err)
	}
	if strings.TrimSpace(string(on)) == "0" {
		return errors.New("the node does not forward: containers reach nobody: set net.ipv4.ip_forward=1 (the engine does, unless its option ip-forward is false)")
	}
	return nil
}

// programs leaves legacy out where nobody uses it: asking would load its tables, through which every packet then goes.
func (g *Gate) programs() []string {
	names, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err == nil && strings.Contains(string(names), table) {
		return []string{g.nft, g.legacy}
	}
	return []string{g.nft}
}

func (g *Gate) program(path string) (*iptables.IPTables, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ipt, ok := g.known[path]; ok {
		return ipt, nil
	}
	ipt, err := iptables.New(iptables.Path(path), iptables.Timeout(lockWait))
	if err != nil {
		return nil, fmt.Errorf("%w: the plugin's root file system should hold it", err)
	}
	g.known[path] = ipt
	return ipt, nil
}

// set says whether Docker uses this program's table.
func (g *Gate) set(path string, pools []netip.Prefix) (bool, error) {
	ipt, err := g.program(path)
	if err != nil {
		return false, err
	}
	chains, err := ipt.ListChains(table)
	if err != nil {
		return false, fmt.Errorf("list chains: %w", err)
	}
	docker, own := slices.Contains(chains, dockerChain), slices.Contains(chains, gateChain)
	switch {
	case docker && len(pools) > 0:
		return docker, g.open(ipt, own, pools)
	case own:
		return docker, closeGate(ipt, docker)
	}
	return docker, nil
}

func (g *Gate) open(ipt *iptables.IPTables, exists bool, pools []netip.Prefix) (err error) {
	if err := acceptPools(ipt, exists, pools); err != nil {
		return err
	}
	g.before, err = jump(ipt)
	return err
}

func rules(pools []netip.Prefix) [][]string {
	var all [][]string
	for _, p := range pools {
		all = append(all, []string{"-s", p.String(), "-j", "ACCEPT"}, []string{"-d", p.String(), "-j", "ACCEPT"})
	}
	return all
}

// text is the rule as iptables -S prints it.
func text(rule []string) string { return "-A " + gateChain + " " + strings.Join(rule, " ") }

// jump stands after the administrators' own rules, so that theirs win, and before the RETURN with which older engines
// end the chain.
//
// It tells how many rules stand before it.
func jump(ipt *iptables.IPTables) (before int, err error) {
	have, err := ipt.List(table, dockerChain)
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", dockerChain, err)
	}
	if i := slices.Index(have, "-A "+dockerChain+" -j "+gateChain); i > 0 {
		return i - 1, nil
	}
	before = len(have) - 1
	at := 0 // rules are counted from 1; the list starts with the chain itself
	if n := len(have); n > 1 && have[n-1] == "-A "+dockerChain+" -j RETURN" {
		at, before = n-1, n-2
	}
	if at > 0 {
		err = ipt.Insert(table, dockerChain, at, "-j", gateChain)
	} else {
		err = ipt.Append(table, dockerChain, "-j", gateChain)
	}
	if err != nil {
		return 0, fmt.Errorf("jump from %s: %w", dockerChain, err)
	}
	return before, nil
}

func closeGate(ipt *iptables.IPTables, docker bool) error {
	if docker {
		if err := ipt.DeleteIfExists(table, dockerChain, "-j", gateChain); err != nil {
			return fmt.Errorf("remove the jump from %s: %w", dockerChain, err)
		}
	}
	if err := ipt.ClearAndDeleteChain(table, gateChain); err != nil {
		return fmt.Errorf("remove chain %s: %w", gateChain, err)
	}
	return nil
}
