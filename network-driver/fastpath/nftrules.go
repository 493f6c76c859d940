package fastpath

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	mdl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// The names of the table's sets and chains. Each group has a set of the addresses that it may send to, and two chains that
// ask it: one for the group's containers here, one for those of other nodes.
const (
	setBoxes   = "boxes"   // address of a container here → its group's chain
	setPeers   = "peers"   // address of another node's container → its group's chain
	setHere    = "here"    // address of a container here → host end
	setHops    = "hops"    // address of another node's container → next hop
	setOuts    = "outs"    // the same → interface to the next hop
	setSources = "sources" // host end . MAC . address
	ofGroup    = "to-"     // addresses, by the group that may send to them

	chainBox     = "from-container"
	chainARP     = "arp"
	chainFour    = "ipv4"
	chainSix     = "ipv6"
	chainUp      = "from-uplink"
	chainSend    = "send"
	chainDeliver = "deliver"
	// ofBoxes and ofPeers begin the names of the groups' chains, ofDevice those at the interfaces' entrance.
	ofBoxes  = "boxes-"
	ofPeers  = "peers-"
	ofDevice = "at-"
)

// Registers of 32 bits.
const (
	regA = 8 + iota
	regB
	_
	regD
)

// shape is what a set holds.
type shape struct{ key, val []nftables.SetDatatype }

func shapeOf(set string) shape {
	one := func(t ...nftables.SetDatatype) []nftables.SetDatatype { return t }
	switch set {
	case setBoxes, setPeers:
		return shape{one(nftables.TypeIPAddr), one(nftables.TypeVerdict)}
	case setHere, setOuts:
		return shape{one(nftables.TypeIPAddr), one(nftables.TypeIFIndex)}
	case setHops:
		return shape{one(nftables.TypeIPAddr), one(nftables.TypeIPAddr)}
	case setSources:
		return shape{one(nftables.TypeIFIndex, nftables.TypeEtherAddr, nftables.TypeIPAddr), nil}
	}
	return shape{one(nftables.TypeIPAddr), nil}
}

// fixedSets are those that do not come and go with groups.
func fixedSets() []string { return []string{setBoxes, setPeers, setHere, setHops, setOuts, setSources} }

func fixedChains() []string {
	return []string{chainBox, chainARP, chainFour, chainSix, chainUp, chainSend, chainDeliver}
}

func setOf(t *nftables.Table, name string) (*nftables.Set, error) {
	b := shapeOf(name)
	s := &nftables.Set{Table: t, Name: name, KeyType: b.key[0], Concatenation: len(b.key) > 1}
	if len(b.key) > 1 {
		var err error
		if s.KeyType, err = nftables.ConcatSetType(b.key...); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	if b.val != nil {
		s.IsMap, s.DataType = true, b.val[0]
	}
	return s, nil
}

// rule is one of a chain. A rule that sends ends with send, which the library does not know.
type rule struct {
	chain string
	exprs []expr.Any
	send  bool // to the address in regA, by the interface in regB
}

// rules are the same for every table of ours: what differs is in the sets.
func rules() []rule {
	return []rule{
		{chainBox, join(proto(unix.ETH_P_ARP), goTo(chainARP)), false},
		{chainBox, join(proto(unix.ETH_P_IP), goTo(chainFour)), false},
		{chainBox, join(proto(unix.ETH_P_IPV6), goTo(chainSix)), false},
		{chainBox, drop(), false},

		{chainARP, join(nh(14, 4, regA), equal(regA, make([]byte, 4)), verdict(expr.VerdictAccept)), false},
		{chainARP, join(sourceOf(expr.PayloadBaseLLHeader, 6, 14), hasNot(regA, setSources), drop()), false},
		{chainARP, join(sourceOf(expr.PayloadBaseNetworkHeader, 8, 14), hasNot(regA, setSources), drop()), false},

		{chainFour, join(sourceOf(expr.PayloadBaseLLHeader, 6, 12), hasNot(regA, setSources), drop()), false},
		{chainFour, join(routableRule(), nh(12, 4, regA), judge(setBoxes)), false},
		{chainFour, tally(topology.WayStack), false},

		// What a container may send of IPv6 is checked on the ordinary way.
		{chainSix, verdict(expr.VerdictAccept), false},

		// Only from another node's container: one of this node does not send from outside.
		{chainUp, join(proto(unix.ETH_P_IP), routableRule(), nh(12, 4, regA), judge(setPeers)), false},

		{chainSend, join(nh(16, 4, regA), get(regA, regB, setHere), tally(topology.WayLocal)), true},
		{chainSend, join(nh(16, 4, regA), get(regA, regB, setOuts), get(regA, regA, setHops), tally(topology.WayOut)), true},
		{chainDeliver, join(nh(16, 4, regA), get(regA, regB, setHere), tally(topology.WayIn)), true},
	}
}

// groupRules let a group send to the addresses of its set.
func groupRules(group string) []rule {
	may := func() []expr.Any { return join(nh(16, 4, regA), has(regA, ofGroup+group)) }
	return []rule{
		{ofBoxes + group, join(may(), []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chainSend}}), false},
		{ofPeers + group, join(may(), []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chainDeliver}}), false},
	}
}

// judge looks the verdict for the address in regA up.
func judge(set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: regA, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: set}}
}

func join(parts ...[]expr.Any) []expr.Any {
	var all []expr.Any
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// proto is what the Ethernet header says: of a packet with a VLAN's tag that is the tag, which would go along to the
// uplink, and a container into any VLAN there.
func proto(p uint16) []expr.Any {
	return []expr.Any{load(expr.PayloadBaseLLHeader, 12, 2, regA), &expr.Cmp{Op: expr.CmpOpEq, Register: regA, Data: binary.BigEndian.AppendUint16(nil, p)}}
}

func goTo(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func drop() []expr.Any { return join(tally(topology.WaySpoofed), verdict(expr.VerdictDrop)) }

func tally(way string) []expr.Any {
	return []expr.Any{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: way}}
}

// nh loads bytes of the network header.
func nh(offset, length, reg uint32) []expr.Any {
	return []expr.Any{load(expr.PayloadBaseNetworkHeader, offset, length, reg)}
}

func load(base expr.PayloadBase, offset, length, reg uint32) expr.Any {
	return &expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: base, Offset: offset, Len: length}
}

func equal(reg uint32, data []byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}}
}

// sourceOf lays interface, MAC and address as the set has them.
func sourceOf(macBase expr.PayloadBase, mac, address uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: regA}, load(macBase, mac, 6, regB), load(expr.PayloadBaseNetworkHeader, address, 4, regD),
	}
}

func has(reg uint32, set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg, SetName: set}}
}

func hasNot(reg uint32, set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: reg, SetName: set, Invert: true}}
}

func get(from, to uint32, set string) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: from, DestRegister: to, IsDestRegSet: true, SetName: set}}
}

// routableRule lets only packets through that a router may send on without a second thought: meant for this host, no IP
// options, more than one hop to live, which the kernel takes from it.
func routableRule() []expr.Any {
	return join(
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyPKTTYPE, Register: regA}}, equal(regA, []byte{0}),
		nh(0, 1, regA), equal(regA, []byte{0x45}),
		nh(8, 1, regA), []expr.Any{&expr.Cmp{Op: expr.CmpOpGt, Register: regA, Data: []byte{1}}},
	)
}

// send is `fwd ip to REGISTER device REGISTER`: struct nft_fwd_neigh of the kernel.
func send() ([]byte, error) {
	word := func(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
	// NFTA_FWD_SREG_DEV, NFTA_FWD_SREG_ADDR, NFTA_FWD_NFPROTO
	inner, err := mdl.MarshalAttributes([]mdl.Attribute{{Type: 1, Data: word(regB)}, {Type: 2, Data: word(regA)}, {Type: 3, Data: word(unix.NFPROTO_IPV4)}})
	if err != nil {
		return nil, err
	}
	return mdl.MarshalAttributes([]mdl.Attribute{
		{Type: unix.NFTA_EXPR_NAME, Data: []byte("fwd\x00")}, {Type: unix.NLA_F_NESTED | unix.NFTA_EXPR_DATA, Data: inner},
	})
}

// message asks the kernel to append the rule.
func (r rule) message(table string) (mdl.Message, error) {
	var list []mdl.Attribute
	for _, e := range r.exprs {
		text, err := expr.Marshal(unix.NFPROTO_NETDEV, e)
		if err != nil {
			return mdl.Message{}, err
		}
		list = append(list, mdl.Attribute{Type: unix.NLA_F_NESTED | unix.NFTA_LIST_ELEM, Data: text})
	}
	if r.send {
		text, err := send()
		if err != nil {
			return mdl.Message{}, err
		}
		list = append(list, mdl.Attribute{Type: unix.NLA_F_NESTED | unix.NFTA_LIST_ELEM, Data: text})
	}
	exprs, err := mdl.MarshalAttributes(list)
	if err != nil {
		return mdl.Message{}, err
	}
	attributes, err := mdl.MarshalAttributes([]mdl.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: []byte(table + "\x00")}, {Type: unix.NFTA_RULE_CHAIN, Data: []byte(r.chain + "\x00")},
		{Type: unix.NLA_F_NESTED | unix.NFTA_RULE_EXPRESSIONS, Data: exprs},
	})
	if err != nil {
		return mdl.Message{}, err
	}
	return mdl.Message{
		Header: mdl.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE, Flags: mdl.Request | mdl.Acknowledge | mdl.Create | mdl.Append},
		Data:   append(genmsg(unix.NFPROTO_NETDEV, 0), attributes...),
	}, nil
}

// genmsg is struct nfgenmsg.
func genmsg(family byte, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
}

// write appends the rules to the table's chains, all or none.
func write(conn *mdl.Conn, table string, rules []rule) error {
	edge := func(kind mdl.HeaderType) mdl.Message {
		return mdl.Message{Header: mdl.Header{Type: kind, Flags: mdl.Request}, Data: genmsg(unix.NFPROTO_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)}
	}
	messages := []mdl.Message{edge(unix.NFNL_MSG_BATCH_BEGIN)}
	for _, r := range rules {
		m, err := r.message(table)
		if err != nil {
			return fmt.Errorf("rule of chain %s: %w", r.chain, err)
		}
		messages = append(messages, m)
	}
	if _, err := conn.SendMessages(append(messages, edge(unix.NFNL_MSG_BATCH_END))); err != nil {
		return fmt.Errorf("send the rules of table %s: %w", table, err)
	}
	for _, r := range rules {
		if _, err := conn.Receive(); err != nil {
			return fmt.Errorf("table %s: rule of chain %s: %w", table, r.chain, err)
		}
	}
	return nil
}
