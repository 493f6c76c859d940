package nat

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// A router moves flows between the nodes that announce a virtual address whenever their set changes. What comes to a node
// that does not know its flow is therefore sent on: of connections, which cannot begin in the middle, from node to node
// round the ring until one knows it; datagrams, of which none says that it is the first, to the container that all nodes
// count from the client's address and port.
//
// On its way between nodes a packet has a container's address as its target, so that it goes the way of all packets to
// there, behind routers, too, and a mark in the bits for its class of service, where each node puts the virtual address
// back before its conntrack sees the packet. It is sent as a copy, and the packet itself dropped, so that no node remembers
// flows that are not its own.

// IPv4's header: the class of service, its checksum, and TCP's and ICMP's fields.
const (
	classAt = 1
	sumAt   = 10
	portsAt = 0
	flagsAt = 13
	typeAt  = 0
	synFlag = 1 << 1
	// pseudoHeader is NFT_PAYLOAD_L4CSUM_PSEUDOHDR of linux/netfilter/nf_tables.h: sums of TCP and UDP follow an address.
	pseudoHeader = 1
	// seed is any but 0, for which the kernel would draw one; the same on every node.
	seed = 0x526f6c6c
	// A router's words on a packet that was too large, that was too long on its way, or that reached nobody.
	unreachable, exceeded, problem = 3, 11, 12
	// marked: of the six bits, the lower two are set, as in those that RFC 4594 leaves to networks themselves; the upper
	// four are the step.
	marked   = 3 << 2
	classes  = 0xfc // less the two bits of ECN
	wordSize = 8    // of a register that a hash is made of, the first of which is
	words    = 8
)

// Steps of the search.
const (
	fresh   = 0  // from a client
	counted = 1  // by another node's count of the slot
	round   = 2  // and more: by the ring, from its first
	settled = 15 // nobody knew it
	longest = settled - round
)

func step(n int) byte { return byte(n<<4 | marked) }

// searches are the chains before and after conntrack's look at a packet.
func searches(p vip.Plan) []chain {
	if len(p.Ways) == 0 {
		return nil
	}
	var virtual, here, by []netip.Addr
	for _, w := range p.Ways {
		virtual = append(virtual, w.VIP)
		for _, a := range w.Here {
			here, by = append(here, a), append(by, w.VIP)
		}
	}
	back := &choice{key: nftables.TypeIPAddr, after: []expr.Any{retarget()}}
	for i, a := range here {
		back.elements = append(back.elements, nftables.SetElement{Key: a.AsSlice(), Val: by[i].AsSlice()})
	}
	// Between conntrack's look and the rewriting.
	const after, last = -150, -149
	stop := &expr.Verdict{Kind: expr.VerdictReturn}
	others := oneOf(virtual, stop)
	others.without = true
	arrive := []rule{{text: "not sent", what: append(class(marked, expr.CmpOpNeq, marked), stop)}}
	arrive = append(append(arrive, leave(p.Pools)...), rule{text: remarkOf("sent here", slices.Concat(here, by)), what: []expr.Any{load(targetAt)}, choice: back})
	search := []rule{{text: remarkOf("others", virtual), what: []expr.Any{load(targetAt)}, choice: others}, {text: "known", what: append(status(dnatDone, expr.CmpOpNeq), stop)}}
	search = append(append(search, leave(p.Pools)...), entries(p.Ways)...)
	unmark := rule{text: remarkOf("arrived", virtual), what: append(class(marked, expr.CmpOpEq, marked), load(targetAt)), choice: oneOf(virtual, reclass(0)...)}
	all := []chain{
		{name: "arrive", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, first: nftables.ChainPriorityRaw, rules: arrive},
		{name: "search", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, first: nftables.ChainPriorityRef(after), rules: search},
		{name: "unmark", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPrerouting, first: nftables.ChainPriorityRef(last), rules: []rule{unmark}},
	}
	for _, w := range p.Ways {
		all = append(all, chain{name: seek(w.VIP), rules: rounds(w)})
	}
	return all
}

func seek(v netip.Addr) string { return "seek-" + v.String() }

// leave lets alone what containers send: the fast path carries answers to them, so their flows stay on this node.
func leave(pools []netip.Prefix) []rule {
	var rules []rule
	for _, p := range pools {
		rules = append(rules, rule{text: "from " + p.String(), what: append(from(p), &expr.Verdict{Kind: expr.VerdictReturn})})
	}
	return rules
}

// entries tell what is to be searched for, and by which way.
func entries(ways []vip.Way) []rule {
	var rules []rule
	for _, w := range ways {
		add := func(what string, c *choice, asks ...[]expr.Any) {
			rules = append(rules, rule{text: fmt.Sprintf("vip %s %s", w.VIP, what), what: append(target(w.VIP), slices.Concat(asks...)...), choice: c})
		}
		jump := []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: seek(w.VIP)}}
		add("connections", nil, carries(unix.IPPROTO_TCP), bits(flagsAt, synFlag, 0), jump)
		for _, kind := range []byte{unreachable, exceeded, problem} {
			add(fmt.Sprintf("errors %d", kind), nil, carries(unix.IPPROTO_ICMP), bits(typeAt, 0xff, kind), jump)
		}
		udp := carries(unix.IPPROTO_UDP)
		if far := only(w.Backends, func(a netip.Addr) bool { return !slices.Contains(w.Local, a) }); numbered(far).isMap() {
			add(remarkOf("count", far), numbered(far, sends(counted)...), udp, class(marked, expr.CmpOpNeq, marked), slot())
			add(remarkOf("counted", far), numbered(far, sends(settled)...), udp, class(classes, expr.CmpOpEq, step(counted)), slot())
		}
		if young := only(w.Backends, func(a netip.Addr) bool { return slices.Contains(w.Young, a) }); numbered(young).isMap() {
			add(remarkOf("young", young), numbered(young, jump...), udp, class(marked, expr.CmpOpNeq, marked), slot())
			add(remarkOf("young counted", young), numbered(young, jump...), udp, class(classes, expr.CmpOpEq, step(counted)), slot())
		}
		add("datagrams", nil, udp, class(marked, expr.CmpOpEq, marked), class(classes, expr.CmpOpNeq, step(counted)), class(classes, expr.CmpOpNeq, step(settled)), jump)
	}
	return rules
}

// rounds send on to the next node of the ring. Datagrams that none of them knows go where they are counted to.
func rounds(w vip.Way) []rule {
	var rules []rule
	for n := fresh; n < min(round+len(w.Ring), settled); n++ {
		asked, begin := class(classes, expr.CmpOpEq, step(n)), max(n-round+1, 0)
		if n == fresh {
			asked = class(marked, expr.CmpOpNeq, marked)
		}
		if to := w.Next(begin); to < min(len(w.Ring), longest) {
			a := w.Ring[to]
			rules = append(rules, rule{text: fmt.Sprintf("vip %s step %d to %s %d", w.VIP, n, a, to+round),
				what: slices.Concat(asked, []expr.Any{&expr.Immediate{Register: register, Data: a.AsSlice()}}, sends(to+round))})
		}
	}
	if far := only(w.Backends, func(a netip.Addr) bool { return !slices.Contains(w.Local, a) }); numbered(far).isMap() {
		what := slices.Concat(carries(unix.IPPROTO_UDP), class(classes, expr.CmpOpNeq, step(settled)), slot())
		rules = append(rules, rule{text: remarkFor(w.VIP, "unknown", far), what: what, choice: numbered(far, sends(settled)...)})
	}
	return rules
}

// datagrams are rewritten to their slot's container, or to another here where nodes do not see the same.
func datagrams(ways []vip.Way) []rule {
	var rules []rule
	for _, w := range ways {
		if len(w.Local) < 2 {
			continue // one has them all
		}
		var all []netip.Addr
		for i := range vip.Slots {
			all = append(all, w.Server(i))
		}
		rules = append(rules, rule{text: remarkFor(w.VIP, "datagrams", all), backends: w.Local,
			what: slices.Concat(target(w.VIP), carries(unix.IPPROTO_UDP), slot()), choice: numbered(all, rewrite())})
	}
	return rules
}

// only leaves the slots whose containers are asked for.
func only(slots [vip.Slots]netip.Addr, asked func(netip.Addr) bool) []netip.Addr {
	for i, a := range slots {
		if !asked(a) {
			slots[i] = netip.Addr{}
		}
	}
	return slots[:]
}

// slot counts it from the client's address and both ports.
func slot() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: words, Base: expr.PayloadBaseNetworkHeader, Offset: sourceAt, Len: 4},
		&expr.Payload{DestRegister: words + 1, Base: expr.PayloadBaseTransportHeader, Offset: portsAt, Len: 4},
		&expr.Hash{SourceRegister: words, DestRegister: register, Length: wordSize, Modulus: vip.Slots, Seed: seed, Type: expr.HashTypeJenkins},
	}
}

func carries(protocol byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, equal(expr.CmpOpEq, protocol)}
}

// bits asks for those of one byte behind IPv4's header.
func bits(at uint32, mask, value byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: at, Len: 1},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		equal(expr.CmpOpEq, value),
	}
}

func equal(op expr.CmpOp, value byte) expr.Any {
	return &expr.Cmp{Op: op, Register: register, Data: []byte{value}}
}

// class asks for bits of the class of service.
func class(mask byte, op expr.CmpOp, value byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: classAt, Len: 1},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		equal(op, value),
	}
}

// reclass writes all but the two bits of ECN. Checksums are of pairs of bytes, so both of the pair are written.
func reclass(value byte) []expr.Any {
	const other = 2 // another register: the first may have an address
	return []expr.Any{
		&expr.Payload{DestRegister: other, Base: expr.PayloadBaseNetworkHeader, Offset: classAt - 1, Len: 2},
		&expr.Bitwise{SourceRegister: other, DestRegister: other, Len: 2, Mask: []byte{0xff, ^byte(classes)}, Xor: []byte{0, value}},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: other, Base: expr.PayloadBaseNetworkHeader, Offset: classAt - 1, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: sumAt},
	}
}

// retarget writes the register's address as the packet's target.
func retarget() expr.Any {
	return &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: targetAt, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: sumAt, CsumFlags: pseudoHeader}
}

// sends lets a copy go to the register's address, as that step, and the packet end here.
func sends(n int) []expr.Any {
	return slices.Concat([]expr.Any{retarget()}, reclass(step(n)), []expr.Any{&expr.Dup{RegAddr: register}, &expr.Verdict{Kind: expr.VerdictDrop}})
}
