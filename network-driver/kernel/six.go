package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// sixTable is ours alone: what containers may send by IPv6, and what of the host's switches is to be given back.
	sixTable = "rolling-six"
	// turnedSet names what is to be undone: interfaces that take their own address from a router, and the two below,
	// which are no interfaces' names. It lives in the kernel, and ends with it, as what it names does.
	turnedSet = "turned"
	// wholeNode: the node did not forward before. firewalled: ip6tables has rules of ours. madeTable: it had no table.
	wholeNode, firewalled, madeTable = "/forwarding", "/ip6tables", "/table"

	forwarding = "net/ipv6/conf/all/forwarding"
	// acceptRA of an interface: 1 takes addresses and default routes from routers unless the node forwards, 2 in any case.
	acceptRA = "net/ipv6/conf/%s/accept_ra"
)

// Six is what the node's kernel needs for IPv6 beside links and routes: the check of what containers send, the
// firewall's accept rules, and forwarding, which is on while a network has IPv6, and off again after it if it was off.
type Six struct {
	nl   *listing.Handle
	conn *nftables.Conn
	gate *sixGate
	log  *slog.Logger
	last []topology.SixLeg // that the table holds, as far as we know
	left string            // said why forwarding stays on
}

// OpenSix works in the network namespace of the calling thread; the switches and ip6tables are those of the thread that
// calls Set. It is told both ip6tables programs.
func OpenSix(nft, legacy string, log *slog.Logger) (*Six, error) {
	nl, err := open()
	if err != nil {
		return nil, err
	}
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		nl.Close()
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &Six{nl: nl, conn: conn, gate: newSixGate(nft, legacy), log: log}, nil
}

// Close gives the sockets back; rules and switches stay.
func (s *Six) Close() {
	s.nl.Close()
	_ = s.conn.CloseLasting()
}

// Set makes all of it so. The check of sources comes first, and forwarding is turned on only behind the firewall's rules.
func (s *Six) Set(want topology.Six) error {
	there, err := s.table()
	if err != nil {
		return err
	}
	if len(want.Legs) == 0 && !want.Wanted && !there {
		return nil
	}
	if err := s.check(want.Legs, there); err != nil {
		return err
	}
	if want.Wanted {
		return s.open(want.Pools)
	}
	kept, err := s.shut()
	if err == nil && len(want.Legs) == 0 && !kept {
		err = s.removeTable()
	}
	return err
}

// Check makes only the check of sources so: what a container that comes or goes needs.
func (s *Six) Check(legs []topology.SixLeg) error {
	there, err := s.table()
	if err != nil {
		return err
	}
	if len(legs) == 0 && !there {
		return nil
	}
	return s.check(legs, there)
}

func (s *Six) table() (bool, error) { return s.has(sixTable) }

func (s *Six) has(name string) (bool, error) {
	tables, err := s.conn.ListTablesOfFamily(nftables.TableFamilyIPv6)
	if err != nil {
		return false, fmt.Errorf("list the tables of nftables: %w", err)
	}
	for _, t := range tables {
		if t.Name == name {
			return true, nil
		}
	}
	return false, nil
}

// open lets the pools pass, and turns forwarding on.
func (s *Six) open(pools []netip.Prefix) error {
	s.left = ""
	turned, err := s.turned()
	if err != nil {
		return err
	}
	on, err := readSwitch(forwarding)
	if errors.Is(err, unix.ENOENT) {
		return errors.New("this node's kernel has no IPv6: start it without ipv6.disable=1")
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", forwarding, err)
	}
	if !turned[firewalled] {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if err := s.gate.set(pools, turned[wholeNode] || on == "0"); err != nil || on != "0" {
		return err
	}
	if err := s.keepRouters(); err != nil {
		return err
	}
	if err := s.note(wholeNode, true); err != nil {
		return err
	}
	s.log.Info("a network has IPv6: the node forwards it from now on, between containers and others only")
	return writeSwitch(forwarding, "1")
}

// begin writes down that ip6tables gets rules of ours.
func (s *Six) begin() error {
	there, err := s.has(table)
	if err == nil && !there {
		err = s.note(madeTable, true)
	}
	if err == nil {
		err = s.note(firewalled, true)
	}
	return err
}

// dropTable removes the table that ip6tables made for our first rule, if nobody else has put anything into it.
func (s *Six) dropTable() error {
	chains, err := s.conn.ListChainsOfTableFamily(nftables.TableFamilyIPv6)
	if err != nil {
		return fmt.Errorf("list the chains of ip6tables: %w", err)
	}
	for _, c := range chains {
		if c.Table.Name != table {
			continue
		}
		rules, err := s.conn.GetRules(c.Table, c)
		if err != nil {
			return fmt.Errorf("list the rules of ip6tables: %w", err)
		}
		if dropping := c.Policy != nil && *c.Policy != nftables.ChainPolicyAccept; len(rules) > 0 || c.Hooknum == nil || dropping {
			return nil
		}
	}
	s.conn.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyIPv6})
	if err := s.conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the empty table of ip6tables: %w", err)
	}
	return nil
}

// keepRouters lets interfaces that learn their address or default route from a router go on doing so: a node that
// forwards is taken for a router itself, and forgets them.
func (s *Six) keepRouters() error {
	links, err := s.nl.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		name := l.Attrs().Name
		if ours(l) || l.Attrs().Flags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		key := fmt.Sprintf(acceptRA, name)
		if was, err := readSwitch(key); err != nil || was != "1" {
			continue // gone meanwhile, or without IPv6
		}
		if err := errors.Join(s.note(name, true), writeSwitch(key, "2")); err != nil {
			return err
		}
	}
	return nil
}

// shut gives forwarding back, and takes the rules away. Whoever else needs it by now keeps it, and kept says so.
func (s *Six) shut() (kept bool, err error) {
	turned, err := s.turned()
	if err != nil || len(turned) == 0 {
		return false, err
	}
	user, err := s.user()
	if err != nil {
		return false, err
	}
	if turned[wholeNode] && user != "" {
		if s.left != user {
			s.log.Warn("no network has IPv6 any more; the node forwards it still, since a bridge has addresses of another network", "bridge", user)
			s.left = user
			err = s.gate.set(nil, true)
		}
		return true, err
	}
	if err := s.giveBack(turned); err != nil {
		return false, err
	}
	if err := s.gate.set(nil, false); err != nil {
		return false, err
	}
	if turned[madeTable] {
		if err := s.dropTable(); err != nil {
			return false, err
		}
	}
	for name := range turned {
		if err := s.note(name, false); err != nil {
			return false, err
		}
	}
	s.log.Info("no network has IPv6 any more: the node's firewall and switches are as they were before")
	return false, nil
}

// giveBack turns the switches to where they were. One that somebody else has turned since stays.
func (s *Six) giveBack(turned map[string]bool) error {
	if turned[wholeNode] {
		if err := writeSwitch(forwarding, "0"); err != nil {
			return err
		}
	}
	for name := range turned {
		key := fmt.Sprintf(acceptRA, name)
		if strings.HasPrefix(name, "/") {
			continue
		}
		if now, err := readSwitch(key); err == nil && now == "2" {
			if err := writeSwitch(key, "1"); err != nil {
				return err
			}
		}
	}
	return nil
}

// user names an interface that makes it likely that somebody else wants the node to forward: a bridge with an address.
func (s *Six) user() (string, error) {
	links, err := s.nl.LinkList()
	if err != nil {
		return "", fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if l.Type() != "bridge" {
			continue
		}
		addrs, err := s.nl.AddrList(l, unix.AF_INET6)
		if err != nil {
			return "", fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
		}
		for _, a := range addrs {
			if !a.IP.IsLinkLocalUnicast() {
				return l.Attrs().Name, nil
			}
		}
	}
	return "", nil
}

// turned reads what was changed, also by an earlier process.
func (s *Six) turned() (map[string]bool, error) {
	set := &nftables.Set{Table: &nftables.Table{Name: sixTable, Family: nftables.TableFamilyIPv6}, Name: turnedSet, KeyType: nftables.TypeIFName}
	elements, err := s.conn.GetSetElements(set)
	if errors.Is(err, unix.ENOENT) {
		return map[string]bool{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which switches were turned: %w", err)
	}
	all := map[string]bool{}
	for _, e := range elements {
		all[strings.TrimRight(string(e.Key), "\x00")] = true
	}
	return all, nil
}

func (s *Six) note(name string, turned bool) error {
	set := &nftables.Set{Table: &nftables.Table{Name: sixTable, Family: nftables.TableFamilyIPv6}, Name: turnedSet, KeyType: nftables.TypeIFName}
	element := []nftables.SetElement{{Key: ifname(name)}}
	change := s.conn.SetAddElements
	if !turned {
		change = s.conn.SetDeleteElements
	}
	if err := errors.Join(change(set, element), s.conn.Flush()); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("write down that the switch of %s was turned: %w", name, err)
	}
	return nil
}

func ifname(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}
