package nat

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
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
	backends []netip.Addr
	what     []expr.Any
	spread   bool // over several backends, by a map of its own
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
	return full(0,
		chain{name: "output", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, first: nftables.ChainPriorityNATDest, rules: rewrites(p.Node)},
		chain{name: "postrouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, first: nftables.ChainPriorityNATSource, rules: returns(p)},
		chain{name: "prerouting", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting, first: nftables.ChainPriorityNATDest, rules: rewrites(p.Node)},
	)
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
		r := rule{text: remarkFor(b.VIP, "to", b.Backends), backends: b.Backends, what: target(b.VIP), spread: len(b.Backends) > 1}
		if !r.spread {
			r.what = append(r.what, &expr.Immediate{Register: register, Data: b.Backends[0].AsSlice()}, rewrite())
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
	var rules []rule
	var all []netip.Addr
	for _, b := range p.Node {
		all = append(all, b.Backends...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	for _, pool := range p.Pools {
		for _, a := range slices.Compact(slices.Clone(all)) {
			mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-pool.Bits()))
			what := []expr.Any{
				&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: sourceAt, Len: 4},
				&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: mask, Xor: make([]byte, 4)},
				&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: pool.Masked().Addr().AsSlice()},
			}
			what = append(append(what, target(a)...),
				&expr.Ct{Register: register, Key: expr.CtKeySTATUS},
				&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4, Mask: binary.NativeEndian.AppendUint32(nil, dnatDone), Xor: make([]byte, 4)},
				&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
				&expr.Masq{})
			rules = append(rules, rule{text: fmt.Sprintf("from %s to %s", pool, a), what: what})
		}
	}
	return rules
}

func target(a netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: targetAt, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: a.AsSlice()},
	}
}

// remarkFor names the virtual address for people, and all backends by a digest: a remark has 128 bytes at most.
func remarkFor(v netip.Addr, what string, backends []netip.Addr) string {
	h := sha256.New()
	for _, a := range backends {
		h.Write(a.AsSlice())
	}
	return fmt.Sprintf("vip %s %s %d %s", v, what, len(backends), hex.EncodeToString(h.Sum(nil))[:16])
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

// write makes the table what it should be, in one step: no packet meets half of it.
func write(conn *nftables.Conn, have, want []chain) error {
	t := &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
	if len(want) == 0 {
		conn.DelTable(t)
		if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove table %s: %w", tableName, err)
		}
		return nil
	}
	conn.AddTable(t)
	stays := map[string]bool{}
	for i, c := range want {
		stays[c.name] = true
		k := conn.AddChain(&nftables.Chain{Table: t, Name: c.name, Type: c.kind, Hooknum: c.hook, Priority: c.first})
		conn.FlushChain(k)
		for j, r := range c.rules {
			if err := add(conn, k, r, uint32(i<<16|j+1)); err != nil {
				return err
			}
		}
	}
	for _, c := range have {
		if !stays[c.name] {
			k := &nftables.Chain{Table: t, Name: c.name}
			conn.FlushChain(k)
			conn.DelChain(k)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write table %s: %w", tableName, err)
	}
	return nil
}

// add appends a rule. Its map's number is its own within the step: the library's counter is shared with others.
func add(conn *nftables.Conn, k *nftables.Chain, r rule, number uint32) error {
	what := r.what
	if r.spread {
		m := &nftables.Set{Table: k.Table, ID: number, Name: "__map%d", Anonymous: true, Constant: true, IsMap: true, KeyType: nftables.TypeInteger, DataType: nftables.TypeIPAddr}
		var values []nftables.SetElement
		for i, a := range r.backends {
			values = append(values, nftables.SetElement{Key: binary.NativeEndian.AppendUint32(nil, uint32(i)), Val: a.AsSlice()})
		}
		if err := conn.AddSet(m, values); err != nil {
			return fmt.Errorf("backends of %s: %w", r.text, err)
		}
		what = append(slices.Clone(what),
			&expr.Numgen{Register: register, Modulus: uint32(len(r.backends)), Type: unix.NFT_NG_INCREMENTAL},
			&expr.Lookup{SourceRegister: register, DestRegister: register, IsDestRegSet: true, SetName: m.Name, SetID: m.ID},
			rewrite())
	}
	conn.AddRule(&nftables.Rule{Table: k.Table, Chain: k, Exprs: what, UserData: userdata.AppendString(nil, userdata.TypeComment, r.text)})
	return nil
}
