package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	natTable = "nat"
	// doorChain turns the host's ports into containers', and hairpinChain hides a container that comes to itself by its
	// node: it would take its own address for a forged one.
	doorChain    = "ROLLING-PORTS"
	hairpinChain = "ROLLING-HAIRPIN"
)

// Doors are published ports: rules that lead to containers, and sockets that are bound so that no program of the host
// takes the port, and never read or listened on. The client's address is kept.
type Doors struct {
	gate *Gate
	held map[topology.Publication]int // sockets; one caller at a time
}

// NewDoors uses the firewall's programs.
func NewDoors(g *Gate) *Doors { return &Doors{g, map[topology.Publication]int{}} }

// Hold takes a port of the host, or says who has it.
func (d *Doors) Hold(p topology.Publication) error {
	if _, held := d.held[p]; held {
		return nil
	}
	kind := unix.SOCK_STREAM
	if p.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("port %s of the node: open a socket: %w", p, err)
	}
	at := &unix.SockaddrInet4{Port: int(p.HostPort)}
	if p.HostIP.IsValid() {
		at.Addr = p.HostIP.As4()
	}
	switch err := unix.Bind(fd, at); {
	case errors.Is(err, unix.EADDRINUSE):
		return errors.Join(fmt.Errorf("port %s of the node is taken: by another container or a program of the node (ss -lnp tells which): publish another, or stop that", p), unix.Close(fd))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return errors.Join(fmt.Errorf("port %s of the node: %s is none of its addresses", p, p.HostIP), unix.Close(fd))
	case err != nil:
		return errors.Join(fmt.Errorf("port %s of the node: bind it: %w", p, err), unix.Close(fd))
	}
	d.held[p] = fd
	return nil
}

// Set makes the doorways exactly these, and gives other ports back.
func (d *Doors) Set(doors []topology.Doorway) error {
	stays := map[topology.Publication]bool{}
	var problems []error
	for _, w := range doors {
		stays[w.Publication] = true
		problems = append(problems, d.Hold(w.Publication))
	}
	for p, fd := range d.held {
		if !stays[p] {
			delete(d.held, p)
			problems = append(problems, unix.Close(fd))
		}
	}
	for _, path := range d.gate.dockersFirst() {
		ipt, err := d.gate.program(path)
		if err == nil {
			err = lead(ipt, doors)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("published ports (%s): %w", path, err))
		}
		doors = nil // one program does it, and the other has nothing of ours
	}
	return errors.Join(problems...)
}

// entrance is a jump to a chain of ours.
type entrance struct {
	from, to string
	match    []string
}

func entrances() []entrance {
	local := []string{"-m", "addrtype", "--dst-type", "LOCAL"}
	return []entrance{
		{"PREROUTING", doorChain, local},
		{"OUTPUT", doorChain, append([]string{"!", "-d", "127.0.0.0/8"}, local...)}, // from there no route leads to a container
		{"POSTROUTING", hairpinChain, nil},
	}
}

func lead(ipt *iptables.IPTables, doors []topology.Doorway) error {
	chains, err := ipt.ListChains(natTable)
	if err != nil {
		return fmt.Errorf("list chains: %w", err)
	}
	if len(doors) == 0 {
		return unlead(ipt, chains)
	}
	for chain, want := range map[string][][]string{doorChain: doorRules(doors), hairpinChain: hairpinRules(doors)} {
		if !slices.Contains(chains, chain) {
			if err := ipt.NewChain(natTable, chain); err != nil {
				return fmt.Errorf("make chain %s: %w", chain, err)
			}
		}
		if err := equalize(ipt, chain, want); err != nil {
			return err
		}
	}
	for _, e := range entrances() {
		if err := ipt.AppendUnique(natTable, e.from, append(slices.Clone(e.match), "-j", e.to)...); err != nil {
			return fmt.Errorf("jump from %s: %w", e.from, err)
		}
	}
	return nil
}

func unlead(ipt *iptables.IPTables, chains []string) error {
	var problems []error
	for _, e := range entrances() {
		if slices.Contains(chains, e.to) {
			problems = append(problems, ipt.DeleteIfExists(natTable, e.from, append(slices.Clone(e.match), "-j", e.to)...))
		}
	}
	for _, chain := range []string{doorChain, hairpinChain} {
		if slices.Contains(chains, chain) {
			problems = append(problems, ipt.ClearAndDeleteChain(natTable, chain))
		}
	}
	return errors.Join(problems...)
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

func hairpinRules(doors []topology.Doorway) [][]string {
	var all [][]string
	for _, w := range doors {
		own := host(w.To).String()
		r := []string{"-s", own, "-d", own, "-p", w.Proto, "-m", w.Proto, "--dport", fmt.Sprint(w.Port), "-j", "MASQUERADE"}
		if !slices.ContainsFunc(all, func(o []string) bool { return slices.Equal(o, r) }) {
			all = append(all, r)
		}
	}
	return all
}
