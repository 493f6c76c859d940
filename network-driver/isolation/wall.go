package isolation

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/permits"
)

// Set types, in ipset's words.
const (
	Addresses = "hash:ip"
	Networks  = "hash:net"
	Doors     = "hash:ip,port"
)

// Entry is one of a set.
type Entry struct {
	Prefix   netip.Prefix     // one address, but in Networks
	Protocol permits.Protocol // of a door
	Port     uint16
	Note     string // told back, and matched by nothing
}

// Set is one of the kernel's.
type Set struct {
	Type    string
	Entries map[Entry]bool
}

// Wall is what the firewall should hold for one family of addresses: sets, the rules that ask them, in order, and the
// ports of the node itself that containers must leave alone. With no rules there is nothing.
type Wall struct {
	Sets  map[string]Set
	Rules [][]string // of the chain that judges; what comes to its end may pass
	Guard [][]string // of the chain before the node's own ports
	// Bridges are those by which containers hang on physical networks: what they carry from port to port is judged, too.
	Bridges []string
}

// Deny, as a rule's target, drops and counts.
const Deny = "ROLLING-DENIED"

// prefix begins our sets' names; the family follows.
const prefix = "rolling"

// Names of sets without their family. Those of a class end with its number.
const (
	inside  = "-inside" // all pools, and containers outside them
	open    = "-open"   // containers that everybody may connect to
	unowned = "-anyone" // containers of no project
	known   = "-known"  // all containers, noted with their marks: asked by no rule, told to the next process
	members = "-to-"
	whole   = "-from-" // who may connect to all ports of a class
	byPort  = "-port-" // and by which one
)

// Family is 4 or 6.
type Family int

// The families.
const (
	Four Family = 4
	Six  Family = 6
)

func (f Family) has(a netip.Addr) bool { return a.Is4() == (f == Four) }

// SetName is the whole name; all of a family's begin with SetName("").
func (f Family) SetName(name string) string { return prefix + strconv.Itoa(int(f)) + name }

// Known is the set in which the kernel remembers what the fabric told.
func (f Family) Known() string { return f.SetName(known) }

// Port is one of the node's own.
type Port struct {
	Protocol permits.Protocol
	Number   uint16
}

// Wall is the book for the firewall. Guarded are the node's ports that no container may ask. On a node without
// containers it is empty.
func (b Book) Wall(f Family, guarded []Port) Wall {
	w := Wall{Sets: map[string]Set{}}
	if !b.has(f) {
		return w
	}
	d := draft{Book: b, family: f, wall: &w, classes: map[Class][]netip.Addr{}}
	d.sort()
	d.set(inside, Networks)
	for _, p := range b.inside() {
		if f.has(p.Addr()) {
			d.add(inside, Entry{Prefix: p.Masked()})
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(b.Far), netip.Addr.Compare) {
		d.enclose(a)
	}
	for a := range b.Here {
		d.enclose(a)
	}
	d.remember()
	for _, p := range guarded {
		w.Guard = append(w.Guard, []string{"-p", string(p.Protocol), "-m", string(p.Protocol), "--dport", strconv.Itoa(int(p.Number)), "-m", "set", "--match-set", f.SetName(inside), "src", "-j", Deny})
	}
	if b.Isolates() {
		d.rules()
		w.Bridges = b.bridges(f)
	}
	return w
}

func (b Book) has(f Family) bool {
	for a := range b.Here {
		if f.has(a) {
			return true
		}
	}
	return false
}

// bridges: IPv6 is on none of them, the check of their ports lets no container send it.
func (b Book) bridges(f Family) []string {
	if f == Six {
		return nil
	}
	return b.Bridges
}

// draft is a wall while it is made.
type draft struct {
	Book
	family  Family
	wall    *Wall
	classes map[Class][]netip.Addr // all that are known and trusted
}

// sort puts each address to its class.
func (d draft) sort() {
	for a, c := range d.Here {
		if d.family.has(a) && d.Policy.Trusted(c) != None {
			d.classes[c] = append(d.classes[c], a)
		}
	}
	for a, n := range d.Far {
		if _, here := d.Here[a]; here || !d.family.has(a) {
			continue
		}
		if c, ok := d.Policy.ClassOf(n); ok {
			d.classes[c] = append(d.classes[c], a)
		}
	}
}

// enclose makes an address one of those inside, unless its pool is.
func (d draft) enclose(a netip.Addr) {
	if d.family.has(a) && !slices.ContainsFunc(d.inside(), func(p netip.Prefix) bool { return p.Contains(a) }) {
		d.add(inside, single(a))
	}
}

// remember notes whose each address is.
func (d draft) remember() {
	d.set(known, Addresses)
	marks := maps.Clone(d.Far)
	if marks == nil {
		marks = map[netip.Addr]Number{}
	}
	for a, c := range d.Here {
		marks[a] = c.Number()
	}
	for a, n := range marks {
		if d.family.has(a) {
			e := single(a)
			e.Note = strconv.FormatUint(uint64(n), 16)
			d.add(known, e)
		}
	}
}

func single(a netip.Addr) Entry { return Entry{Prefix: netip.PrefixFrom(a, a.BitLen())} }

func (d draft) set(name, kind string) {
	d.wall.Sets[d.family.SetName(name)] = Set{kind, map[Entry]bool{}}
}

func (d draft) add(set string, e Entry) { d.wall.Sets[d.family.SetName(set)].Entries[e] = true }

func (d draft) addAll(set string, all []netip.Addr) {
	for _, a := range all {
		d.add(set, single(a))
	}
}

// rule appends one, written in words.
func (d draft) rule(words string) { d.wall.Rules = append(d.wall.Rules, strings.Fields(words)) }

// match is the words that ask a set.
func (d draft) match(set, sides string) string {
	return "-m set --match-set " + d.family.SetName(set) + " " + sides + " "
}

func (d draft) no(set, sides string) string {
	return "-m set ! --match-set " + d.family.SetName(set) + " " + sides + " "
}

func (d draft) rules() {
	d.set(open, Addresses)
	d.set(unowned, Addresses)
	d.addAll(unowned, d.classes[Class{}])
	d.rule("-m conntrack --ctdir REPLY -j RETURN")
	icmp := "icmp"
	if d.family == Six {
		icmp = "ipv6-icmp"
	}
	d.rule("-p " + icmp + " -m conntrack --ctstate RELATED -j RETURN")
	d.rule(d.match(open, "dst") + "-j RETURN")
	for _, c := range slices.SortedFunc(maps.Keys(d.classes), Class.compare) {
		if c.everybody() {
			d.addAll(open, d.classes[c])
		} else if d.concerned(c) {
			d.class(c)
		}
	}
	if d.Outside {
		d.rule(d.no(inside, "src") + "-j RETURN")
		d.rule(d.match(unowned, "src") + "-j RETURN")
	}
	d.rule(d.match(inside, "dst") + "-j " + Deny)
}

// concerned says that packets to a class may come by here: it has a container here, or one that is here may connect to it.
func (d draft) concerned(to Class) bool {
	for _, c := range d.Here {
		if c == to || c.Project == to.Project || len(d.Policy.doors[pair{asker(c), to.Project}]) > 0 {
			return true
		}
	}
	return false
}

// asker is how permits name a class that asks.
func asker(c Class) string {
	if c.Project == "" {
		return permits.Outside
	}
	return c.Project
}

// class lets those in who may connect to it.
func (d draft) class(to Class) {
	n := strconv.FormatUint(uint64(to.Number()), 16)
	d.set(members+n, Addresses)
	d.set(whole+n, Addresses)
	d.set(byPort+n, Doors)
	d.addAll(members+n, d.classes[to])
	for from, all := range d.classes {
		if d.Policy.reaches(from, to, false) {
			d.addAll(whole+n, all)
			continue
		}
		for o := range d.Policy.doors[pair{asker(from), to.Project}] {
			for _, a := range all {
				for _, p := range o.protocols() {
					e := single(a)
					e.Protocol, e.Port = p, o.port
					d.add(byPort+n, e)
				}
			}
		}
	}
	d.rule(d.match(members+n, "dst") + d.match(whole+n, "src") + "-j RETURN")
	d.rule(d.match(members+n, "dst") + d.match(byPort+n, "src,dst") + "-j RETURN")
	if !d.Outside {
		d.fromOutside(to, members+n)
	}
}

// fromOutside lets in whom the label names @outside, where the setting lets in nobody.
func (d draft) fromOutside(to Class, set string) {
	doors := d.Policy.doors[pair{permits.Outside, to.Project}]
	for _, o := range slices.SortedFunc(maps.Keys(doors), compareDoors) {
		from := d.no(inside, "src") + d.match(set, "dst")
		if o.port == 0 {
			d.rule(from + "-j RETURN")
			continue
		}
		for _, p := range o.protocols() {
			d.rule(fmt.Sprintf("-p %s %s-m %s --dport %d -j RETURN", p, from, p, o.port))
		}
	}
}

func (d door) protocols() []permits.Protocol {
	switch {
	case d.port == 0:
		return nil
	case d.protocol == "":
		return []permits.Protocol{permits.TCP, permits.UDP}
	}
	return []permits.Protocol{d.protocol}
}

// ease lets pass what has been answered, either way.
const ease = "-m conntrack --ctstate ESTABLISHED -j RETURN"

// Eased is the wall while it owes nothing: all connections that stand are such as it would let begin. Their packets are
// not judged one by one then, which is what judging costs.
func (w Wall) Eased() Wall {
	if len(w.Rules) > 0 {
		w.Rules = slices.Concat([][]string{strings.Fields(ease)}, w.Rules)
	}
	return w
}

// Exceeds says that this wall let something pass that the other may keep back.
func (w Wall) Exceeds(o Wall) bool {
	if len(o.Rules) == 0 {
		return false
	}
	if len(w.Rules) == 0 || len(w.Bridges) == 0 && len(o.Bridges) > 0 {
		return true
	}
	rules := map[string]bool{ease: true}
	for _, r := range o.Rules {
		rules[strings.Join(r, " ")] = true
	}
	for _, r := range w.Rules {
		if !rules[strings.Join(r, " ")] {
			return true
		}
	}
	for name, s := range w.Sets {
		if strings.HasSuffix(name, inside) || strings.HasSuffix(name, known) {
			continue
		}
		for e := range s.Entries {
			if !o.Sets[name].Entries[e] {
				return true
			}
		}
	}
	return false
}
