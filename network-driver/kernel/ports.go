package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	// portTable is ours alone, of the family bridge.
	portTable = "rolling-l2"
	portChain = "source"
	// The MACs of ports, their MAC and address pairs, and which ports there are.
	portNames, portMACs, portPairs = "ports", "macs", "pairs"
	portRules                      = 5
	// beforeBridging: nothing has learnt the MAC by then.
	beforeBridging = -300
	// A message's attribute has 64 KiB at most.
	elementsAtOnce = 400
	nameBytes      = unix.IFNAMSIZ
)

// Registers of nf_tables: the key's parts lie one behind the other, each in words of four bytes.
const (
	nameRegister    = unix.NFT_REG_1
	macRegister     = unix.NFT_REG_2
	addressRegister = unix.NFT_REG32_06
)

// Ports is the check of what containers send into a bridge: their own MAC, and in IPv4 and ARP their own addresses. All
// else, of every protocol, is dropped, so that nobody can take another's place in the network: not with another's MAC
// or address, nor as the router, nor as a switch, nor by a VLAN's tag.
type Ports struct{ conn *nftables.Conn }

// OpenPorts works in the network namespace of the calling thread, also when other threads call later.
func OpenPorts() (*Ports, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &Ports{conn}, nil
}

// Close gives the netlink socket back; the check stays.
func (p *Ports) Close() error { return p.conn.CloseLasting() }

// Set makes the checked ports exactly these. The table changes as a whole: there is no moment without it.
func (p *Ports) Set(ports []topology.Port) error {
	if err := p.set(ports); err != nil {
		return fmt.Errorf("source check of bridges: %w", err)
	}
	return nil
}

func (p *Ports) set(ports []topology.Port) error {
	have, exists, err := p.look()
	if err != nil {
		return err
	}
	want, err := portKeys(ports)
	if err != nil {
		return err
	}
	table := &nftables.Table{Name: portTable, Family: nftables.TableFamilyBridge}
	switch {
	case len(ports) == 0 && !exists, len(ports) > 0 && exists && slices.EqualFunc(have, want, bytes.Equal):
		return nil
	case exists:
		p.conn.DelTable(table)
	}
	if len(ports) > 0 {
		if err := p.build(table, ports); err != nil {
			return err
		}
	}
	return p.conn.Flush()
}

// look tells the pairs that the kernel checks, sorted; none if the table is not whole.
func (p *Ports) look() (keys [][]byte, exists bool, err error) {
	tables, err := p.conn.ListTablesOfFamily(nftables.TableFamilyBridge)
	if err != nil {
		return nil, false, fmt.Errorf("list tables: %w", err)
	}
	at := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == portTable })
	if at < 0 {
		return nil, false, nil
	}
	rules, err := p.conn.GetRules(tables[at], &nftables.Chain{Name: portChain, Table: tables[at]})
	if err != nil || len(rules) != portRules {
		return nil, true, nil //nolint:nilerr // it is built anew
	}
	s, err := p.conn.GetSetByName(tables[at], portPairs)
	if err != nil {
		return nil, true, nil //nolint:nilerr // the same
	}
	elements, err := p.conn.GetSetElements(s)
	if err != nil {
		return nil, true, fmt.Errorf("list %s: %w", portPairs, err)
	}
	for _, e := range elements {
		keys = append(keys, e.Key)
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys, true, nil
}

func (p *Ports) build(table *nftables.Table, ports []topology.Port) error {
	p.conn.AddTable(table)
	pairs, err := portKeys(ports)
	if err != nil {
		return err
	}
	var names, macs [][]byte
	for _, k := range pairs {
		names, macs = append(names, k[:nameBytes]), append(macs, k[:nameBytes+8])
	}
	sets := map[string]*nftables.Set{}
	for _, c := range []struct {
		name string
		of   []nftables.SetDatatype
		keys [][]byte
	}{
		{portNames, []nftables.SetDatatype{nftables.TypeIFName}, names},
		{portMACs, []nftables.SetDatatype{nftables.TypeIFName, nftables.TypeEtherAddr}, macs},
		{portPairs, []nftables.SetDatatype{nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIPAddr}, pairs},
	} {
		kind, err := nftables.ConcatSetType(c.of...)
		if err != nil {
			return fmt.Errorf("set %s: %w", c.name, err)
		}
		s := &nftables.Set{Table: table, Name: c.name, KeyType: kind, Concatenation: len(c.of) > 1}
		if err := p.fill(s, c.keys); err != nil {
			return err
		}
		sets[c.name] = s
	}
	accept := nftables.ChainPolicyAccept
	chain := p.conn.AddChain(&nftables.Chain{Table: table, Name: portChain, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRef(beforeBridging), Policy: &accept})
	for _, exprs := range checks(sets) {
		p.conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
	}
	return nil
}

// fill makes the set, with its elements some hundred a message.
func (p *Ports) fill(s *nftables.Set, keys [][]byte) error {
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	if err := p.conn.AddSet(s, nil); err != nil {
		return fmt.Errorf("set %s: %w", s.Name, err)
	}
	for some := range slices.Chunk(keys, elementsAtOnce) {
		var elements []nftables.SetElement
		for _, k := range some {
			elements = append(elements, nftables.SetElement{Key: k})
		}
		if err := p.conn.SetAddElements(s, elements); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	return nil
}

// portKeys are interface, MAC and address, one behind the other and sorted.
func portKeys(ports []topology.Port) ([][]byte, error) {
	var all [][]byte
	for _, p := range ports {
		mac, err := net.ParseMAC(p.MAC)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("port %s: %q is no MAC", p.Name, p.MAC)
		}
		for _, a := range p.Sources {
			if !a.Is4() {
				continue
			}
			k := append([]byte(p.Name), strings.Repeat("\x00", nameBytes-len(p.Name))...)
			k = append(append(k, mac...), 0, 0)
			all = append(all, append(k, a.AsSlice()...))
		}
	}
	slices.SortFunc(all, bytes.Compare)
	return slices.CompactFunc(all, bytes.Equal), nil
}

// checks are the chain's rules.
func checks(sets map[string]*nftables.Set) [][]expr.Any {
	name := &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: nameRegister}
	source := &expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6, DestRegister: macRegister}
	in := func(set string, not bool) *expr.Lookup {
		return &expr.Lookup{SourceRegister: nameRegister, SetName: set, SetID: sets[set].ID, Invert: not}
	}
	kind := func(ethertype uint16) []expr.Any {
		return []expr.Any{
			&expr.Payload{Base: expr.PayloadBaseLLHeader, Offset: 12, Len: 2, DestRegister: nameRegister},
			&expr.Cmp{Op: expr.CmpOpEq, Register: nameRegister, Data: binaryutil.BigEndian.PutUint16(ethertype)},
		}
	}
	network := func(offset, length, register uint32) *expr.Payload {
		return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length, DestRegister: register}
	}
	accept, drop := &expr.Verdict{Kind: expr.VerdictAccept}, &expr.Verdict{Kind: expr.VerdictDrop}
	return [][]expr.Any{
		{name, in(portNames, true), accept},
		{name, source, in(portMACs, true), &expr.Counter{}, drop},
		append(kind(unix.ETH_P_IP), name, source, network(12, 4, addressRegister), in(portPairs, false), accept),
		append(kind(unix.ETH_P_ARP), name, network(8, 6, macRegister), network(14, 4, addressRegister), in(portPairs, false), accept),
		{&expr.Counter{}, drop},
	}
}

// Dropped is how many frames the check has dropped since it was built last.
func (p *Ports) Dropped() (uint64, error) {
	table := &nftables.Table{Name: portTable, Family: nftables.TableFamilyBridge}
	rules, err := p.conn.GetRules(table, &nftables.Chain{Name: portChain, Table: table})
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count what the source check of bridges dropped: %w", err)
	}
	return counted(rules), nil
}
