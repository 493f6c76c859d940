package nat

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/vip"
)

// chain is one of our table's, with the rules that it should have.
type chain struct {
	name  string
	kind  nftables.ChainType
	hook  *nftables.ChainHook
	first *nftables.ChainPriority
	rules []rule
}

// rule is known in the kernel by its text, which stands beside it as a remark: a rule is never changed, only replaced.
type rule struct {
	text     string
	backends []netip.Addr // to which it rewrites
	what     []expr.Any
	choice   *choice // what follows, if the rule asks a set or a map
}

// boxChains are those of a container's namespace: what it sends to a virtual address goes to a backend. The first stays
// also without a rule, and a refusal asks for a flow's state: the kernel goes on rewriting the flows that stand only while
// there is a chain of that kind and a rule that needs conntrack.
func boxChains(all []vip.Balance) []chain {
	if len(all) == 0 {
		return nil
	}
	return full(1,
		chain{name: "output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, first: nftables.ChainPriorityNATDest, rules: rewrites(all)},
		chain{name: "refuse", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookOutput, first: nftables.ChainPriorityFilter, rules: refusals(all)},
	)
}

// nodeChains are those of the node: for clients outside, for its own processes, and for the answers to containers of
// pools, who came to the node since their own namespace does not know the address: the fast path would carry a backend's
// answer past the node, so such a client is shown to the backend as the node itself.
func nodeChains(p vip.Plan) []chain {
	all := full(0,
		chain{name: "output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, first: nftables.ChainPriorityNATDest, rules: rewrites(p.Node)},
		chain{name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, first: nftables.ChainPriorityNATSource, rules: returns(p)},
		chain{name: "prerouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting, first: nftables.ChainPriorityNATDest, rules: slices.Concat(datagrams(p.Ways), rewrites(p.Node))},
	)
	all = append(all, searches(p)...)
	slices.SortFunc(all, func(a, b chain) int { return strings.Compare(a.name, b.name) })
	return all
}

// full leaves out chains without a rule, but for the first few.
func full(stay int, all ...chain) []chain {
	return append(all[:stay:stay], slices.DeleteFunc(all[stay:], func(c chain) bool { return len(c.rules) == 0 })...)
}

// IPv4's header: where the addresses stand.
const (
	sourceAt = 12
	targetAt = 16
	register = 1
	// dnatDone is IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h.
	dnatDone = 1 << 5
	// stands: established or related, as NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h counts.
	stands = 1<<1 | 1<<2
)

func rewrites(all []vip.Balance) []rule {
	var rules []rule
	for _, b := range all {
		if len(b.Backends) == 0 {
			continue
		}
		r := rule{text: remarkFor(b.VIP, "to", b.Backends), backends: b.Backends, what: target(b.VIP)}
		if len(b.Backends) == 1 {
			r.what = append(r.what, &expr.Immediate{Register: register, Data: b.Backends[0].AsSlice()}, rewrite())
		} else {
			r.what = append(r.what, &expr.Numgen{Register: register, Modulus: uint32(len(b.Backends)), Type: unix.NFT_NG_INCREMENTAL})
			r.choice = numbered(b.Backends, rewrite())
		}
		rules = append(rules, r)
	}
	return rules
}

func rewrite() expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: register, RegAddrMax: register}
}

// refusals answer at once where nobody is there to: a client should not wait for its own patience to end.
func refusals(all []vip.Balance) []rule {
	var rules []rule
	for _, b := range all {
		if len(b.Backends) == 0 {
			const portUnreachable = 3
			rules = append(rules, rule{text: remarkFor(b.VIP, "refused", nil), what: append(target(b.VIP),
				&expr.Ct{Register: register, Key: expr.CtKeySTATE},
				&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, stands), Xor: make([]byte, 4)},
				&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: make([]byte, 4)},
				&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: portUnreachable})})
		}
	}
	return rules
}

func returns(p vip.Plan) []rule {
	var all []netip.Addr
	for _, b := range p.Node {
		all = append(all, b.Backends...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	var rules []rule
	for _, pool := range p.Pools {
		if len(all) == 0 {
			break
		}
		what := slices.Concat(from(pool), status(dnatDone, expr.CmpOpNeq), []expr.Any{load(targetAt)})
		rules = append(rules, rule{text: remarkOf(fmt.Sprintf("from %s to %d", pool, len(all)), all), what: what, choice: oneOf(all, &expr.Masq{})})
	}
	return rules
}

// from asks whether the packet's sender is in the pool.
func from(pool netip.Prefix) []expr.Any {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-pool.Bits()))
	return []expr.Any{
		load(sourceAt),
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: pool.Masked().Addr().AsSlice()},
	}
}

// status asks whether the packet's flow has one of the bits (Neq) or none of them (Eq). One without a flow is neither.
func status(bits uint32, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: register, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: register, Data: make([]byte, 4)},
	}
}

// load reads one of the packet's addresses.
func load(at uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: at, Len: 4}
}

func target(a netip.Addr) []expr.Any {
	return []expr.Any{
		load(targetAt),
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: a.AsSlice()},
	}
}

// remarkFor names the virtual address for people, and all backends by a digest: a remark has 128 bytes at most.
func remarkFor(v netip.Addr, what string, backends []netip.Addr) string {
	return remarkOf(fmt.Sprintf("vip %s %s %d", v, what, len(backends)), backends)
}

func remarkOf(what string, addresses []netip.Addr) string {
	h := sha256.New()
	for _, a := range addresses {
		b := a.As16() // the zero address is one, too
		h.Write(b[:])
	}
	return what + " " + hex.EncodeToString(h.Sum(nil))[:16]
}

// subject is the virtual address that a remark names.
func subject(text string) (netip.Addr, bool) {
	f := strings.Fields(text)
	if len(f) < 2 || f[0] != "vip" {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(f[1])
	return a, err == nil
}

func remark(r *nftables.Rule) string {
	text, _ := userdata.GetString(r.UserData, userdata.TypeComment)
	return text
}

// texts are all rules in one: two tables with the same texts are the same.
func texts(all []chain) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "%s\n", c.name)
		for _, r := range c.rules {
			fmt.Fprintf(&b, "  %s\n", r.text)
		}
	}
	return b.String()
}
