package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"reflect"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

const (
	sixChain   = "from-containers"
	sourcesSet = "sources" // host end . MAC . address
	// atOnce: a message's attribute has 64 KiB at most.
	atOnce = 500
	// early is before connection tracking: what is dropped leaves no trace there.
	early = -300

	// RFC 4861: what a container may say without an address of its own is who it is on its link, and the question who
	// others are. Advertisements of routers, and redirects, are not among it.
	neighbourSolicitation  = 135
	neighbourAdvertisement = 136
)

// Registers of 32 bits.
const sixReg = 8

func tableSix() *nftables.Table {
	return &nftables.Table{Name: sixTable, Family: nftables.TableFamilyIPv6}
}

func sources() (*nftables.Set, error) {
	key, err := nftables.ConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr, nftables.TypeIP6Addr)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", sourcesSet, err)
	}
	return &nftables.Set{Table: tableSix(), Name: sourcesSet, KeyType: key, Concatenation: true}, nil
}

// check makes the table let each container send from its own addresses alone: in one transaction, so that nothing slips
// through between two states of it. A table that stands as it was told last is not touched.
func (s *Six) check(legs []topology.SixLeg, there bool) error {
	if there && s.last != nil && reflect.DeepEqual(s.last, legs) {
		return nil
	}
	set, err := sources()
	if err != nil {
		return err
	}
	if !there {
		err = s.build(set)
	} else {
		s.conn.FlushSet(set)
	}
	elements, bad := elementsOf(legs)
	for len(elements) > 0 && err == nil {
		n := min(len(elements), atOnce)
		err = s.conn.SetAddElements(set, elements[:n])
		elements = elements[n:]
	}
	if err := errors.Join(err, s.conn.Flush()); err != nil {
		s.last = nil
		return fmt.Errorf("check what containers send by IPv6: table %s: %w", sixTable, err)
	}
	s.last = legs
	return bad
}

func elementsOf(legs []topology.SixLeg) (all []nftables.SetElement, bad error) {
	for _, l := range legs {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("link %s: %w", l.Name, err))
			continue
		}
		for _, a := range l.Sources {
			key := append(ifname(l.Name), mac...)
			key = append(append(key, 0, 0), a.AsSlice()...)
			all = append(all, nftables.SetElement{Key: key})
		}
	}
	return all, bad
}

// build makes the table, its sets and its chain.
func (s *Six) build(set *nftables.Set) error {
	t := s.conn.AddTable(tableSix())
	err := errors.Join(s.conn.AddSet(set, nil),
		s.conn.AddSet(&nftables.Set{Table: t, Name: turnedSet, KeyType: nftables.TypeIFName}, nil))
	accept := nftables.ChainPolicyAccept
	c := s.conn.AddChain(&nftables.Chain{Name: sixChain, Table: t, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting,
		Priority: nftables.ChainPriorityRef(early), Policy: &accept})
	for _, exprs := range sixRules() {
		s.conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: exprs})
	}
	return err
}

func (s *Six) removeTable() error {
	s.conn.DelTable(tableSix())
	s.last = nil
	if err := s.conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove table %s: %w", sixTable, err)
	}
	return nil
}

// sixRules: from whom it comes, its own addresses, what is said on the link, and nothing else.
func sixRules() [][]expr.Any {
	load := func(base expr.PayloadBase, offset, n, reg uint32) expr.Any {
		return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: n}
	}
	is := func(op expr.CmpOp, data ...byte) expr.Any { return &expr.Cmp{Op: op, Register: sixReg, Data: data} }
	verdict := func(k expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: k} }
	name := func(reg uint32) expr.Any { return &expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg} }
	onLink := func(kind byte, source ...expr.Any) []expr.Any {
		return append(source,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: sixReg}, is(expr.CmpOpEq, unix.IPPROTO_ICMPV6),
			load(expr.PayloadBaseTransportHeader, 0, 1, sixReg), is(expr.CmpOpEq, kind), verdict(expr.VerdictAccept))
	}
	linkLocal := func() []expr.Any {
		return []expr.Any{load(expr.PayloadBaseNetworkHeader, 8, 2, sixReg),
			&expr.Bitwise{SourceRegister: sixReg, DestRegister: sixReg, Len: 2, Mask: []byte{0xff, 0xc0}, Xor: []byte{0, 0}},
			is(expr.CmpOpEq, binary.BigEndian.AppendUint16(nil, 0xfe80)...)}
	}
	none := []expr.Any{load(expr.PayloadBaseNetworkHeader, 8, 16, sixReg), is(expr.CmpOpEq, make([]byte, 16)...)}
	return [][]expr.Any{
		{name(sixReg), is(expr.CmpOpNeq, []byte(topology.HostEnds)...), verdict(expr.VerdictAccept)},
		{name(sixReg), load(expr.PayloadBaseLLHeader, 6, 6, sixReg+4), load(expr.PayloadBaseNetworkHeader, 8, 16, sixReg+6),
			&expr.Lookup{SourceRegister: sixReg, SetName: sourcesSet}, verdict(expr.VerdictAccept)},
		onLink(neighbourSolicitation, linkLocal()...),
		onLink(neighbourAdvertisement, linkLocal()...),
		onLink(neighbourSolicitation, none...),
		{&expr.Counter{}, verdict(expr.VerdictDrop)},
	}
}

// Dropped is how many packets the check has dropped since its table was made.
func (s *Six) Dropped() (uint64, error) {
	rules, err := s.conn.GetRules(tableSix(), &nftables.Chain{Name: sixChain, Table: tableSix()})
	if errors.Is(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("count what the check of IPv6 sources dropped: %w", err)
	}
	return counted(rules), nil
}

// counted is the sum of the rules' counters.
func counted(rules []*nftables.Rule) (n uint64) {
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				n += c.Packets
			}
		}
	}
	return n
}
