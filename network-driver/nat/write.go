package nat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// choice asks a set, or a map whose answer comes into the register, and then goes on. What is not in it ends the rule.
type choice struct {
	key      nftables.SetDatatype
	elements []nftables.SetElement // with values in a map
	after    []expr.Any
	without  bool // goes on for what is not in the set
}

// numbered answers a number by an address. The zero address is none.
func numbered(all []netip.Addr, after ...expr.Any) *choice {
	c := &choice{key: nftables.TypeInteger, after: after}
	for i, a := range all {
		if a.IsValid() {
			c.elements = append(c.elements, nftables.SetElement{Key: binary.NativeEndian.AppendUint32(nil, uint32(i)), Val: a.AsSlice()})
		}
	}
	return c
}

// oneOf goes on for an address that is among these.
func oneOf(all []netip.Addr, after ...expr.Any) *choice {
	c := &choice{key: nftables.TypeIPAddr, after: after}
	for _, a := range all {
		c.elements = append(c.elements, nftables.SetElement{Key: a.AsSlice()})
	}
	return c
}

func (c *choice) isMap() bool { return len(c.elements) > 0 && c.elements[0].Val != nil }

// write makes the table what it should be, in one step: no packet meets half of it. A chain that is right stays as it is.
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
	has, stays := map[string]string{}, map[string]bool{}
	for _, c := range have {
		has[c.name] = texts([]chain{c})
	}
	changed := slices.DeleteFunc(slices.Clone(want), func(c chain) bool { stays[c.name] = true; return has[c.name] == texts([]chain{c}) })
	var made []*nftables.Chain
	for _, c := range changed { // all before the first rule, which may jump to any
		k := conn.AddChain(&nftables.Chain{Table: t, Name: c.name, Type: c.kind, Hooknum: c.hook, Priority: c.first})
		conn.FlushChain(k)
		made = append(made, k)
	}
	for i, c := range changed {
		for j, r := range c.rules {
			if err := add(conn, made[i], r, uint32(i<<16|j+1)); err != nil {
				return err
			}
		}
	}
	gone := slices.DeleteFunc(slices.Clone(have), func(c chain) bool { return stays[c.name] })
	for _, c := range gone { // all before the first goes: one may jump to another
		conn.FlushChain(&nftables.Chain{Table: t, Name: c.name})
	}
	for _, c := range gone {
		conn.DelChain(&nftables.Chain{Table: t, Name: c.name})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("write table %s: %w", tableName, err)
	}
	return nil
}

// add appends a rule. Its set's number is its own within the step: the library's counter is shared with others.
func add(conn *nftables.Conn, k *nftables.Chain, r rule, number uint32) error {
	what := r.what
	if c := r.choice; c != nil {
		s := &nftables.Set{Table: k.Table, ID: number, Name: "__set%d", Anonymous: true, Constant: true, KeyType: c.key}
		look := &expr.Lookup{SourceRegister: register, SetID: number, Invert: c.without}
		if c.isMap() {
			s.Name, s.IsMap, s.DataType = "__map%d", true, nftables.TypeIPAddr
			look.DestRegister, look.IsDestRegSet = register, true
		}
		look.SetName = s.Name
		if err := conn.AddSet(s, c.elements); err != nil {
			return fmt.Errorf("addresses of %s: %w", r.text, err)
		}
		what = append(append(slices.Clone(what), look), c.after...)
	}
	conn.AddRule(&nftables.Rule{Table: k.Table, Chain: k, Exprs: what, UserData: userdata.AppendString(nil, userdata.TypeComment, r.text)})
	return nil
}
