package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	natTable = "nat"
	// doorChain turns the host's ports into containers', and hairpinChain hides a container that comes to itself by its
	// node: it would take its own address for a forged one.
	doorChain    = "ROLLING-PORTS"
	hairpinChain = "ROLLING-HAIRPIN"
	// localChain, in mangle, drops what containers send to 127.0.0.0/8 and is no answer.
	localChain = "ROLLING-LOCAL"
	// routeLocal of a link lets packets from 127.0.0.1 leave by it.
	routeLocal = "net/ipv4/conf/%s/route_localnet"
)

// layBy makes the rules of IPv4 true in one program, and the links' switches.
func (d *Doors) layBy(path string, doors []topology.Doorway, local []string) error {
	ipt, err := d.gate.program(path)
	if err == nil && len(local) > 0 {
		err = guardLocal(ipt)
	}
	if err == nil {
		err = routeLocally(local)
	}
	if err == nil {
		err = lead(ipt, doors, false)
	}
	if err == nil && len(local) == 0 {
		err = unguardLocal(ipt)
	}
	if err != nil {
		return fmt.Errorf("published ports (%s): %w", path, err)
	}
	return nil
}

// clearBy takes ours from the program that Docker does not use.
func (d *Doors) clearBy(path string) error {
	ipt, err := d.gate.program(path)
	if err == nil {
		err = errors.Join(lead(ipt, nil, false), unguardLocal(ipt))
	}
	if err != nil {
		return fmt.Errorf("published ports (%s): %w", path, err)
	}
	return nil
}

func (d *Doors) laySixBy(path string, doors []topology.Doorway) error {
	ipt, err := d.gate.program(path)
	if err == nil {
		err = lead(ipt, doors, true)
	}
	if err != nil {
		return fmt.Errorf("published ports (%s): %w", path, err)
	}
	return nil
}

// routeLocally makes the links whose packets may come from 127.0.0.1 exactly these. One that has gone needs no switch.
func routeLocally(wanted []string) error {
	all, err := filepath.Glob("/proc/sys/" + fmt.Sprintf(routeLocal, topology.HostEnds+"*"))
	if err != nil {
		return err
	}
	var problems []error
	for _, path := range all {
		name := filepath.Base(filepath.Dir(path))
		if !topology.OwnName(name) {
			continue
		}
		want := "0"
		if slices.Contains(wanted, name) {
			want = "1"
		}
		have, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(have)) != want {
			err = writeSwitch(fmt.Sprintf(routeLocal, name), want)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func localJump() []string {
	return []string{"-d", "127.0.0.0/8", "-i", topology.HostEnds + "+", "-m", "conntrack", "--ctdir", "ORIGINAL", "-j", localChain}
}

func guardLocal(ipt *iptables.IPTables) error {
	exists, err := ipt.ChainExists(wallTable, localChain)
	if err == nil && !exists {
		err = ipt.NewChain(wallTable, localChain)
	}
	if err == nil {
		err = ipt.AppendUnique(wallTable, localChain, "-j", "DROP")
	}
	if err == nil {
		err = ipt.InsertUnique(wallTable, "INPUT", 1, localJump()...)
	}
	if err != nil {
		return fmt.Errorf("keep containers from the node's 127.0.0.0/8: %w", err)
	}
	return nil
}

func unguardLocal(ipt *iptables.IPTables) error {
	chains, err := ipt.ListChains(wallTable)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	if !slices.Contains(chains, localChain) {
		return nil
	}
	return errors.Join(ipt.DeleteIfExists(wallTable, "INPUT", localJump()...), ipt.ClearAndDeleteChain(wallTable, localChain))
}

// entrance is a jump to a chain of ours.
type entrance struct {
	from, to string
	match    []string
}

// entrances: by IPv6 the kernel sends nothing from ::1 to a container, and a container knows no way to a neighbour's
// link-local address.
func entrances(six bool) []entrance {
	local := []string{"-m", "addrtype", "--dst-type", "LOCAL"}
	in, out := local, local
	if six {
		in, out = append([]string{"!", "-d", "fe80::/10"}, local...), append([]string{"!", "-d", "::1/128"}, local...)
	}
	return []entrance{{"PREROUTING", doorChain, in}, {"OUTPUT", doorChain, out}, {"POSTROUTING", hairpinChain, nil}}
}

// lead makes our chains in nat these, filled before anything jumps there.
func lead(ipt *iptables.IPTables, doors []topology.Doorway, six bool) error {
	chains, err := ipt.ListChains(natTable)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	want := map[string][][]string{doorChain: doorRules(doors), hairpinChain: hairpinRules(doors)}
	for _, chain := range []string{doorChain, hairpinChain} {
		exists := slices.Contains(chains, chain)
		switch {
		case len(doors) == 0 && !exists:
			continue
		case len(doors) > 0 && !exists:
			if err := ipt.NewChain(natTable, chain); err != nil {
				return fmt.Errorf("make chain %s: %w", chain, err)
			}
		}
		if len(doors) > 0 {
			if err := equalize(ipt, chain, want[chain]); err != nil {
				return err
			}
		}
		for _, e := range entrances(six) {
			if e.to == chain {
				if err := enter(ipt, e, len(doors) > 0); err != nil {
					return err
				}
			}
		}
		if len(doors) == 0 {
			if err := ipt.ClearAndDeleteChain(natTable, chain); err != nil {
				return fmt.Errorf("remove chain %s: %w", chain, err)
			}
		}
	}
	return nil
}

// enter makes an entrance's jump the only one from there, or none at all: an older version may have left another.
func enter(ipt *iptables.IPTables, e entrance, wanted bool) error {
	have, err := ipt.List(natTable, e.from)
	if err != nil {
		return fmt.Errorf("list %s: %w", e.from, err)
	}
	jump := append(slices.Clone(e.match), "-j", e.to)
	there := false
	for _, h := range have {
		switch {
		case !strings.HasSuffix(h, " -j "+e.to):
		case wanted && !there && h == "-A "+e.from+" "+strings.Join(jump, " "):
			there = true
		default:
			if err := ipt.Delete(natTable, e.from, strings.Fields(h)[2:]...); err != nil {
				return fmt.Errorf("remove %q: %w", h, err)
			}
		}
	}
	if wanted && !there {
		if err := ipt.Append(natTable, e.from, jump...); err != nil {
			return fmt.Errorf("jump from %s: %w", e.from, err)
		}
	}
	return nil
}

// equalize makes a chain's rules exactly these, of which no order matters but that those for one address come first.
func equalize(ipt *iptables.IPTables, chain string, want [][]string) error {
	have, err := ipt.List(natTable, chain)
	if err != nil {
		return fmt.Errorf("list %s: %w", chain, err)
	}
	line := func(r []string) string { return "-A " + chain + " " + strings.Join(r, " ") }
	for _, h := range have {
		if strings.HasPrefix(h, "-A ") && !slices.ContainsFunc(want, func(r []string) bool { return line(r) == h }) {
			if err := ipt.Delete(natTable, chain, strings.Fields(h)[2:]...); err != nil {
				return fmt.Errorf("remove %q: %w", h, err)
			}
		}
	}
	for _, r := range want {
		if slices.Contains(have, line(r)) {
			continue
		}
		add := func() error { return ipt.Append(natTable, chain, r...) }
		if r[0] == "-d" {
			add = func() error { return ipt.Insert(natTable, chain, 1, r...) }
		}
		if err := add(); err != nil {
			return fmt.Errorf("add %q: %w", r, err)
		}
	}
	return nil
}

// doorRules are written as iptables -S prints them.
func doorRules(doors []topology.Doorway) [][]string {
	var all [][]string
	for _, w := range doors {
		var r []string
		if w.HostIP.IsValid() && !w.HostIP.IsUnspecified() {
			r = []string{"-d", host(w.HostIP).String()}
		}
		all = append(all, append(r, "-p", w.Proto, "-m", w.Proto, "--dport", fmt.Sprint(w.HostPort),
			"-j", "DNAT", "--to-destination", netip.AddrPortFrom(w.To, w.Port).String()))
	}
	return all
}

// hairpinRules are for who comes to itself, and for the node that asked 127.0.0.1: a container could not answer that.
func hairpinRules(doors []topology.Doorway) [][]string {
	var all [][]string
	for _, w := range doors {
		own := host(w.To).String()
		sources := []string{own}
		if !w.Six() {
			sources = append(sources, "127.0.0.0/8")
		}
		for _, s := range sources {
			r := []string{"-s", s, "-d", own, "-p", w.Proto, "-m", w.Proto, "--dport", fmt.Sprint(w.Port), "-j", "MASQUERADE"}
			if !slices.ContainsFunc(all, func(o []string) bool { return slices.Equal(o, r) }) {
				all = append(all, r)
			}
		}
	}
	return all
}
