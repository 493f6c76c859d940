package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// wallTable: what is dropped there stays dropped, whatever Docker and the administrators accept in the table filter
	// afterwards, and Docker's engine never empties it.
	wallTable    = "mangle"
	isolateChain = "ROLLING-ISOLATE"
	guardChain   = "ROLLING-GUARD"
	denyChain    = isolation.Deny
)

// Wall keeps projects apart: rules of iptables in chains of our own, which ask sets of ipset, so that a packet costs the
// same however many containers there are. Its order of steps never opens what neither the old nor the new wall lets pass.
type Wall struct {
	gate  *Gate
	sets  *sets
	rules [2]string // of each family, what was laid last, as text; "" while that is not known
}

// OpenWall works in the network namespace of the calling thread, also when other threads call later; its iptables runs in
// that of the process. The gate tells which iptables Docker uses.
func OpenWall(gate *Gate) (*Wall, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink for netfilter: %w: the plugin needs CAP_NET_ADMIN on the host's network", err)
	}
	wire, err := dialSets()
	if err != nil {
		nl.Close()
		return nil, fmt.Errorf("open netlink for ipset: %w: the plugin needs CAP_NET_ADMIN on the host's network", err)
	}
	return &Wall{gate: gate, sets: &sets{nl: nl, wire: wire, have: map[string]isolation.Set{}}}, nil
}

// Close gives the netlink socket back; the wall stands.
func (w *Wall) Close() {
	w.sets.nl.Close()
	w.sets.wire.socket.Close()
}

// Doubt lets the next Set compare with what the kernel has, and not with what was laid.
func (w *Wall) Doubt() { w.rules, w.sets.known = [2]string{}, false }

// Recall tells what the fabric told the process before this one, as far as a wall stands.
func (w *Wall) Recall() (map[netip.Addr]isolation.Number, error) {
	all := map[netip.Addr]isolation.Number{}
	for _, f := range []isolation.Family{isolation.Four, isolation.Six} {
		s, err := w.sets.list(f.Known())
		if err != nil {
			return nil, err
		}
		for e := range s.Entries {
			if n, err := strconv.ParseUint(e.Note, 16, 32); err == nil {
				all[e.Prefix.Addr()] = isolation.Number(n)
			}
		}
	}
	return all, nil
}

// Set makes sets and rules of both families exactly these; with no rules all of one's is removed. Said twice it changes
// nothing.
func (w *Wall) Set(four, six isolation.Wall) error {
	sets := maps.Clone(four.Sets)
	if sets == nil {
		sets = map[string]isolation.Set{}
	}
	maps.Copy(sets, six.Sets)
	if err := w.sets.grow(sets); err != nil {
		return fmt.Errorf("isolation: %w", err)
	}
	for i, want := range []isolation.Wall{four, six} {
		if text := fmt.Sprint(want.Rules, want.Guard, want.Bridges); w.rules[i] != text {
			w.rules[i] = ""
			if err := w.lay(want, i == 1); err != nil {
				return err
			}
			w.rules[i] = text
		}
	}
	if err := w.sets.shrink(sets); err != nil {
		return fmt.Errorf("isolation: %w", err)
	}
	return nil
}

// lay makes the rules true in the program that Docker uses, and takes ours from the other. Each has a sister for IPv6,
// which stands beside it.
func (w *Wall) lay(want isolation.Wall, six bool) error {
	var problems []error
	for i, path := range w.gate.dockersFirst() {
		if i > 0 {
			want = isolation.Wall{}
		}
		if six {
			path = sister(path)
		}
		ipt, err := w.gate.program(path)
		if err == nil {
			err = layWall(ipt, path, want)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("isolation (%s): %w", path, err))
		}
	}
	return errors.Join(problems...)
}

// jumps lead packets to and from containers, each once, to the chain that judges; what a border only passes on is judged
// where the container is. The other one stands before the node's own ports.
func jumps(bridged bool) map[string][][]string {
	here := topology.HostEnds + "+"
	judged := [][]string{{"FORWARD", "-i", here, "-j", isolateChain}, {"FORWARD", "!", "-i", here, "-o", here, "-j", isolateChain}}
	if bridged {
		judged = append(judged, bridgeJumps()...)
	}
	return map[string][][]string{isolateChain: judged, guardChain: {{"INPUT", "-j", guardChain}}}
}

// layWall fills the chains before anything jumps there, and empties none that is jumped to.
func layWall(ipt *iptables.IPTables, path string, want isolation.Wall) error {
	have, err := wallRules(path)
	if err != nil {
		return err
	}
	if err := shown(want.Bridges); err != nil {
		return err
	}
	if done, err := wholly(path, have, want); done || err != nil {
		return err
	}
	chains := map[string][][]string{isolateChain: want.Rules, guardChain: want.Guard}
	if len(want.Rules)+len(want.Guard) > 0 {
		if err := fillChain(ipt, have, denyChain, [][]string{{"-j", "DROP"}}); err != nil {
			return err
		}
	}
	for _, chain := range slices.Sorted(maps.Keys(chains)) {
		if len(chains[chain]) == 0 {
			if err := dropChain(ipt, have, chain); err != nil {
				return err
			}
			continue
		}
		if err := fillChain(ipt, have, chain, chains[chain]); err != nil {
			return err
		}
		if err := jumpTo(ipt, have, chain, len(want.Bridges) > 0); err != nil {
			return err
		}
	}
	if len(want.Bridges) == 0 {
		if err := takeJumps(ipt, have, bridgeJumps()); err != nil {
			return err
		}
	}
	if len(want.Rules)+len(want.Guard) == 0 {
		return dropChain(ipt, have, denyChain)
	}
	return nil
}

// wallRules reads the table in one go: chain → rules as iptables prints them. A chain that is there has an entry.
func wallRules(path string) (map[string][]string, error) {
	out, err := exec.Command(path, "-w", strconv.Itoa(lockWait), "-t", wallTable, "-S").Output()
	if err != nil {
		return nil, fmt.Errorf("list table %s: %w", wallTable, err)
	}
	have := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && (f[0] == "-N" || f[0] == "-P"):
			have[f[1]] = []string{}
		case len(f) > 2 && f[0] == "-A":
			have[f[1]] = append(have[f[1]], strings.Join(f[2:], " "))
		}
	}
	return have, nil
}

// fillChain makes a chain's rules these. All but the last may stand in any order, since they all let pass or all keep
// back; the last stays the last.
func fillChain(ipt *iptables.IPTables, all map[string][]string, chain string, want [][]string) error {
	have, there := all[chain]
	if !there {
		if err := ipt.NewChain(wallTable, chain); err != nil {
			return fmt.Errorf("make chain %s: %w", chain, err)
		}
	}
	has := map[string]bool{}
	for _, h := range have {
		has[h] = true
	}
	last := strings.Join(want[len(want)-1], " ")
	misplaced := len(have) > 0 && have[len(have)-1] != last // somebody added to the chain
	has[last] = has[last] && !misplaced
	wanted := map[string]bool{}
	for i, r := range want {
		text := strings.Join(r, " ")
		if wanted[text] = true; has[text] {
			continue
		}
		at := min(i, max(len(have)-1, 0)) + 1
		var err error
		if len(have) == 0 || text == last {
			err = ipt.Append(wallTable, chain, r...)
		} else {
			err = ipt.Insert(wallTable, chain, at, r...)
		}
		if err != nil {
			return fmt.Errorf("rule %q of %s: %w", text, chain, err)
		}
		if len(have) > 0 {
			have = slices.Insert(slices.Clone(have), min(at-1, len(have)), text)
		}
	}
	if misplaced { // the first one that is found goes, the one at the end stays
		wanted[last] = false
	}
	return takeRules(ipt, all[chain], chain, wanted)
}

// takeRules takes away what a chain should not have, and doubles.
func takeRules(ipt *iptables.IPTables, have []string, chain string, wanted map[string]bool) error {
	seen := map[string]bool{}
	for _, h := range have {
		if wanted[h] && !seen[h] {
			seen[h] = true
			continue
		}
		if err := ipt.Delete(wallTable, chain, strings.Fields(h)...); err != nil {
			return fmt.Errorf("remove %q of %s: %w", h, chain, err)
		}
	}
	return nil
}

func jumpTo(ipt *iptables.IPTables, have map[string][]string, chain string, bridged bool) error {
	for _, j := range jumps(bridged)[chain] {
		if slices.Contains(have[j[0]], strings.Join(j[1:], " ")) {
			continue
		}
		if err := ipt.Insert(wallTable, j[0], 1, j[1:]...); err != nil {
			return fmt.Errorf("jump from %s to %s: %w", j[0], chain, err)
		}
	}
	return nil
}

func dropChain(ipt *iptables.IPTables, have map[string][]string, chain string) error {
	if _, there := have[chain]; !there {
		return nil
	}
	if err := takeJumps(ipt, have, jumps(true)[chain]); err != nil {
		return err
	}
	if err := ipt.ClearAndDeleteChain(wallTable, chain); err != nil {
		return fmt.Errorf("remove chain %s: %w", chain, err)
	}
	return nil
}

// Denied is how many packets of both families were kept back since the wall was laid.
func (w *Wall) Denied() (uint64, error) {
	path := w.gate.dockersFirst()[0]
	var all uint64
	for _, path := range []string{path, sister(path)} {
		ipt, err := w.gate.program(path)
		if err != nil {
			return 0, err
		}
		n, err := drops(ipt, wallTable, denyChain)
		if err != nil {
			return 0, err
		}
		all += n
	}
	return all, nil
}

// sister is the program of IPv6 beside one of IPv4.
func sister(path string) string {
	return filepath.Join(filepath.Dir(path), strings.Replace(filepath.Base(path), "iptables", "ip6tables", 1))
}

// Cut ends the connections that are not allowed any more: without their entry their packets are judged anew.
func (w *Wall) Cut(allowed func(from, to netip.Addr, protocol permits.Protocol, port uint16) bool) (int, error) {
	ended := 0
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		gone, err := w.sets.nl.ConntrackDeleteFilters(netlink.ConntrackTable, family, denied(allowed))
		if ended += int(gone); err != nil {
			return ended, fmt.Errorf("end connections that are not allowed any more: %w", err)
		}
	}
	return ended, nil
}

// denied looks at a connection as the wall does: after the destination was translated.
type denied func(from, to netip.Addr, protocol permits.Protocol, port uint16) bool

// MatchConntrackFlow says that the connection is to end.
func (d denied) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	protocol := permits.Protocol(strconv.Itoa(int(flow.Forward.Protocol)))
	switch flow.Forward.Protocol {
	case unix.IPPROTO_TCP:
		protocol = permits.TCP
	case unix.IPPROTO_UDP:
		protocol = permits.UDP
	}
	return !d(addrOf(flow.Forward.SrcIP), addrOf(flow.Reverse.SrcIP), protocol, flow.Reverse.SrcPort)
}
