package fastpath

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// put makes these elements true, and leaves others. An element that changes goes and comes in one step.
func (n *nft) put(want elements) error {
	return n.each(want, func(set, key, val string) (add, drop bool) {
		old, known := n.have[set][key]
		return !known || old != val, known && old != val
	})
}

// keep takes away all elements but these.
func (n *nft) keep(want elements) error {
	return n.each(n.have, func(set, key, _ string) (add, drop bool) {
		_, stays := want[set][key]
		return false, !stays
	})
}

// each asks what to do with every element, and does it some hundred at a time.
func (n *nft) each(all elements, judge func(set, key, val string) (add, drop bool)) error {
	var problems []error
	for _, set := range slices.Sorted(maps.Keys(all)) {
		s, err := setOf(&nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}, set)
		if err != nil {
			return err
		}
		added, dropped := map[string]string{}, map[string]string{}
		flush := func() {
			problems = append(problems, n.change(s, added, dropped))
			added, dropped = map[string]string{}, map[string]string{}
		}
		for key, val := range all[set] {
			add, drop := judge(set, key, val)
			if drop {
				dropped[key] = n.have[set][key]
			}
			if add {
				added[key] = val
			}
			if len(added)+len(dropped) >= elementsAtOnce {
				flush()
			}
		}
		flush()
	}
	return few(problems)
}

// change does both in one transaction.
func (n *nft) change(s *nftables.Set, added, dropped map[string]string) error {
	if len(added)+len(dropped) == 0 {
		return nil
	}
	list := func(m map[string]string) (all []nftables.SetElement) {
		for key, val := range m {
			e := nftables.SetElement{Key: []byte(key)}
			switch {
			case s.IsMap && s.DataType == nftables.TypeVerdict:
				e.VerdictData = &expr.Verdict{Kind: expr.VerdictJump, Chain: val}
			case s.IsMap:
				e.Val = []byte(val)
			}
			all = append(all, e)
		}
		return all
	}
	var problems []error
	if len(dropped) > 0 {
		problems = append(problems, n.conn.SetDeleteElements(s, list(dropped)))
	}
	if len(added) > 0 {
		problems = append(problems, n.conn.SetAddElements(s, list(added)))
	}
	if err := errors.Join(append(problems, n.conn.Flush())...); err != nil {
		return fmt.Errorf("set %s of table %s: %w", s.Name, n.table, err)
	}
	for key := range dropped {
		delete(n.have[s.Name], key)
	}
	for key, val := range added {
		n.have.put(s.Name, []byte(key), []byte(val))
	}
	return nil
}

// sit gives each interface its chain, and takes ours from all others.
func (n *nft) sit(at map[string]string, chains []string) error {
	t := &nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}
	var problems []error
	waiting := 0
	flush := func() {
		if err := n.conn.Flush(); err != nil {
			problems = append(problems, fmt.Errorf("chains of table %s: %w", n.table, err))
		}
		waiting = 0
	}
	for _, name := range chains {
		if device, ours := strings.CutPrefix(name, ofDevice); ours && at[device] == "" {
			n.conn.DelChain(&nftables.Chain{Table: t, Name: name})
			flush()
		}
	}
	n.devices = map[string]bool{}
	for _, device := range slices.Sorted(maps.Keys(at)) {
		n.devices[device] = true
		if slices.Contains(chains, ofDevice+device) {
			continue
		}
		n.chain(t, device, at[device])
		if waiting++; waiting == devicesAtOnce {
			flush()
		}
	}
	flush()
	return few(problems)
}

func (n *nft) chain(t *nftables.Table, device, to string) {
	c := n.conn.AddChain(&nftables.Chain{
		Table: t, Name: ofDevice + device, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookIngress,
		Priority: nftables.ChainPriorityRef(filterPriority), Device: device,
	})
	n.conn.AddRule(&nftables.Rule{Table: t, Chain: c, Exprs: goTo(to)})
}
