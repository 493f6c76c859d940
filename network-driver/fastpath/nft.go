package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	mdl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/internal/listing"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// nft is the fast path by a table of the family netdev. An earlier process's table goes on until ours, under the other
// name, is whole: both may stand at the same time, the first that knows a packet takes it.
type nft struct {
	nl      *listing.Handle
	conn    *nftables.Conn
	raw     *mdl.Conn
	table   string // "" while there is none of ours
	have    elements
	groups  map[topology.Group]bool // those that have set and chains
	pairs   []topology.Pair
	links   links
	devices map[string]bool // that have a chain
}

// elements are the contents of the sets: set → key → value.
type elements map[string]map[string]string

func (e elements) put(set string, key, val []byte) {
	if e[set] == nil {
		e[set] = map[string]string{}
	}
	e[set][string(key)] = string(val)
}

// tableNames are the two that take turns.
func tableNames() []string { return []string{"rolling", "rolling-next"} }

const (
	// A message's attribute has 64 KiB at most, and its answers must fit into the socket's buffer.
	elementsAtOnce = 500
	devicesAtOnce  = 50
)

func openNFT(nl *listing.Handle) (*nft, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	raw, err := mdl.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open nftables: %w", err), conn.CloseLasting())
	}
	return &nft{nl: nl, conn: conn, raw: raw, have: elements{}, groups: map[topology.Group]bool{}}, nil
}

func (n *nft) close() {
	_ = n.conn.CloseLasting()
	_ = n.raw.Close()
}

// probeNFT makes a whole table in a network namespace that ends with the try.
func probeNFT() error {
	return apart(func() error {
		nl, err := listing.Open()
		if err != nil {
			return err
		}
		defer nl.Close()
		n, err := openNFT(nl)
		if err != nil {
			return err
		}
		defer n.close()
		return n.set(topology.Fast{Uplinks: []string{"lo"}, Legs: []topology.Leg{{Name: "none"}}, Far: map[netip.Addr]topology.Group{}})
	})
}

// set makes the table what it should be: first what is new, and only then is taken away what is stale.
func (n *nft) set(f topology.Fast) error {
	if f.Touched != nil && n.table != "" && len(f.Legs) > 0 {
		return n.follow(f)
	}
	tables, chains, err := n.look()
	if err != nil {
		return err
	}
	if len(f.Legs) == 0 {
		n.table, n.have, n.groups, n.devices = "", elements{}, map[topology.Group]bool{}, nil
		return n.remove(tables)
	}
	if _, err := n.links.look(n.nl, nil); err != nil {
		return err
	}
	if !n.sound(chains) {
		if err := n.build(tables); err != nil {
			return err
		}
		chains = nil
	}
	n.pairs = f.Pairs
	want, at, problems := n.wanted(f)
	problems = append(problems, n.far(f, want), n.put(want), n.sit(at, chains[n.table]), n.keep(want), n.disband(f))
	if err := few(problems); err != nil {
		return err
	}
	return n.remove(slices.DeleteFunc(tables, func(t string) bool { return t == n.table }))
}

// gather makes set and chains of the groups that have none.
func (n *nft) gather(f topology.Fast) error {
	t := &nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}
	for _, g := range slices.Sorted(maps.Keys(groupsOf(f))) {
		if n.groups[g] {
			continue
		}
		name := strconv.FormatUint(uint64(g), 10)
		s, err := setOf(t, ofGroup+name)
		if err == nil {
			err = n.conn.AddSet(s, nil)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", n.table, err)
		}
		n.conn.AddChain(&nftables.Chain{Table: t, Name: ofBoxes + name})
		n.conn.AddChain(&nftables.Chain{Table: t, Name: ofPeers + name})
		if err := n.conn.Flush(); err != nil {
			return fmt.Errorf("table %s: group %s: %w", n.table, name, err)
		}
		if err := write(n.raw, n.table, groupRules(name)); err != nil {
			return err
		}
		n.groups[g] = true
	}
	return nil
}

// disband takes away what groups had that are no more. Their elements went before.
func (n *nft) disband(f topology.Fast) error {
	t := &nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}
	stay := groupsOf(f)
	for g := range n.groups {
		if stay[g] {
			continue
		}
		name := strconv.FormatUint(uint64(g), 10)
		n.conn.DelChain(&nftables.Chain{Table: t, Name: ofBoxes + name})
		n.conn.DelChain(&nftables.Chain{Table: t, Name: ofPeers + name})
		n.conn.DelSet(&nftables.Set{Table: t, Name: ofGroup + name})
		if err := n.conn.Flush(); err != nil {
			return fmt.Errorf("table %s: remove group %s: %w", n.table, name, err)
		}
		delete(n.groups, g)
	}
	return nil
}

// groupsOf are all groups that have a member.
func groupsOf(f topology.Fast) map[topology.Group]bool {
	all := map[topology.Group]bool{}
	for _, l := range f.Legs {
		all[l.Group] = true
	}
	for _, g := range f.Far {
		all[g] = true
	}
	delete(all, 0)
	return all
}

// look tells our tables, and their chains.
func (n *nft) look() (tables []string, chains map[string][]string, err error) {
	all, err := n.conn.ListTablesOfFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return nil, nil, fmt.Errorf("list tables: %w", err)
	}
	for _, t := range all {
		if slices.Contains(tableNames(), t.Name) {
			tables = append(tables, t.Name)
		}
	}
	if len(tables) == 0 {
		return nil, nil, nil
	}
	chains = map[string][]string{}
	list, err := n.conn.ListChainsOfTableFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return nil, nil, fmt.Errorf("list chains: %w", err)
	}
	for _, c := range list {
		chains[c.Table.Name] = append(chains[c.Table.Name], c.Name)
	}
	return tables, chains, nil
}

// sound says that our table is there with all that never changes in it. `nft flush ruleset`, as a firewall's reload does it, takes
// tables away without a word.
func (n *nft) sound(chains map[string][]string) bool {
	if n.table == "" || !slices.Contains(chains[n.table], chainUp) {
		return false
	}
	t := &nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev}
	count := map[string]int{}
	for _, r := range rules() {
		count[r.chain]++
	}
	for name, want := range count {
		got, err := n.conn.GetRules(t, &nftables.Chain{Table: t, Name: name})
		if err != nil || len(got) != want {
			return false
		}
	}
	return true
}

func (n *nft) remove(tables []string) error {
	for _, t := range tables {
		n.conn.DelTable(&nftables.Table{Name: t, Family: nftables.TableFamilyNetdev})
	}
	if err := n.conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove tables %q: %w", tables, err)
	}
	return nil
}

// build makes a fresh table with empty sets, under the name that no sound one has.
func (n *nft) build(tables []string) error {
	name := tableNames()[0]
	if slices.Contains(tables, name) {
		name = tableNames()[1]
	}
	t := &nftables.Table{Name: name, Family: nftables.TableFamilyNetdev}
	if slices.Contains(tables, name) {
		n.conn.DelTable(t)
	}
	n.conn.AddTable(t)
	for _, set := range fixedSets() {
		s, err := setOf(t, set)
		if err == nil {
			err = n.conn.AddSet(s, nil)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	for _, way := range ways() {
		n.conn.AddObj(&nftables.CounterObj{Table: t, Name: way})
	}
	for _, c := range fixedChains() {
		n.conn.AddChain(&nftables.Chain{Table: t, Name: c})
	}
	if err := n.conn.Flush(); err != nil {
		return fmt.Errorf("make table %s: %w", name, err)
	}
	if err := write(n.raw, name, rules()); err != nil {
		return err
	}
	n.table, n.have, n.groups = name, elements{}, map[topology.Group]bool{}
	return nil
}

// wanted is what the sets should hold, and which chain each interface should have.
func (n *nft) wanted(f topology.Fast) (want elements, at map[string]string, problems []error) {
	want, at, problems = elements{}, map[string]string{}, []error{n.gather(f)}
	for _, name := range f.Uplinks {
		if n.links.ends[name] != nil {
			at[name] = chainUp
		}
	}
	for _, l := range f.Legs {
		end := n.links.ends[l.Name]
		if end == nil {
			continue // its container has ended, or the link is about to be mended
		}
		at[l.Name] = chainBox
		mac, err := net.ParseMAC(l.MAC)
		if err != nil || len(mac) != 6 {
			problems = append(problems, fmt.Errorf("link %s: MAC %q is not that of an interface", l.Name, l.MAC))
			continue
		}
		for _, a := range l.Sources {
			want.put(setSources, slices.Concat(index(end.Index), mac, []byte{0, 0}, a.AsSlice()), nil)
		}
		// These chains send packets on without a look at their size: only links that agree on it take part.
		if l.Group != 0 && l.MTU == f.MTU {
			want.put(setBoxes, l.Address.AsSlice(), chainFor(ofBoxes, l.Group))
			want.put(setHere, l.Address.AsSlice(), index(end.Index))
			n.admit(want, l.Address, l.Group)
		}
	}
	return want, at, problems
}

// far adds the addresses of other nodes, by the next hops that the kernel's routes have.
func (n *nft) far(f topology.Fast, want elements) error {
	routes, err := n.nl.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: contract.RouteProtocol, Table: unix.RT_TABLE_MAIN},
		netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes of protocol %d: %w", contract.RouteProtocol, err)
	}
	for _, r := range routes {
		if r.Gw == nil || r.Dst == nil || r.Gw.To4() == nil {
			continue
		}
		a, _ := netip.AddrFromSlice(r.Dst.IP.To4())
		if g := f.Far[a]; g != 0 && want[setHere][string(a.AsSlice())] == "" {
			n.road(want, a, g, r)
		}
	}
	return nil
}

func (n *nft) road(e elements, a netip.Addr, g topology.Group, r netlink.Route) {
	e.put(setPeers, a.AsSlice(), chainFor(ofPeers, g))
	e.put(setHops, a.AsSlice(), r.Gw.To4())
	e.put(setOuts, a.AsSlice(), index(r.LinkIndex))
	n.admit(e, a, g)
}

// admit puts an address into the sets of the groups that may send to its own.
func (n *nft) admit(e elements, a netip.Addr, g topology.Group) {
	for from := range n.groups {
		if from == g || slices.Contains(n.pairs, topology.Pair{From: from, To: g}) {
			e.put(string(chainFor(ofGroup, from)), a.AsSlice(), nil)
		}
	}
}

func chainFor(kind string, g topology.Group) []byte {
	return strconv.AppendUint([]byte(kind), uint64(g), 10)
}

func index(i int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(i)) }

// learn takes single changes of other nodes' containers; a zero group takes an address out. It asks the kernel for each
// next hop, since the route was just laid.
func (n *nft) learn(far map[netip.Addr]topology.Group) error {
	if n.table == "" {
		return nil
	}
	want, drop := elements{}, map[string]bool{}
	var problems []error
	for a, g := range far {
		key := string(a.AsSlice())
		if _, here := n.have[setHere][key]; here {
			continue
		}
		r, err := n.nl.RouteGet(a.AsSlice())
		if g != 0 && n.groups[g] && err == nil && len(r) == 1 && r[0].Gw.To4() != nil {
			n.road(want, a, g, r[0])
			continue
		}
		drop[key] = true
		if g != 0 && err != nil {
			problems = append(problems, fmt.Errorf("ask for the route to %s: %w", a, err))
		}
	}
	problems = append(problems, n.put(want), n.each(n.have, func(set, key, _ string) (bool, bool) {
		return false, drop[key] && (set == setPeers || set == setHops || set == setOuts || strings.HasPrefix(set, ofGroup))
	}))
	return few(problems)
}

func (n *nft) report(r *topology.FastReport) {
	r.Devices, r.Entries = len(n.devices), len(n.have[setBoxes])+len(n.have[setPeers])
	if n.table == "" {
		return
	}
	r.Packets = map[string]uint64{}
	objects, err := n.conn.GetObjects(&nftables.Table{Name: n.table, Family: nftables.TableFamilyNetdev})
	if err != nil {
		return
	}
	for _, o := range objects {
		if c, is := o.(*nftables.CounterObj); is {
			r.Packets[c.Name] = c.Packets
		}
	}
}
