package isolation

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/internal/permits"
)

// packet is one of a connection's.
type packet struct {
	from, to netip.Addr
	protocol permits.Protocol
	port     uint16
	answer   bool
	stands   bool // its connection was answered
}

// passes goes through the rules as the kernel does.
func (w Wall) passes(t interface{ Fatalf(string, ...any) }, p packet) bool {
	for _, rule := range w.Rules {
		matched, target := true, ""
		for i := 0; i < len(rule); i++ {
			not := false
			switch word := rule[i]; word {
			case "-m", "!":
			case "-p":
				i++
				matched = matched && rule[i] == string(p.protocol)
			case "--ctdir":
				i++
				matched = matched && p.answer
			case "--ctstate":
				i++
				matched = matched && p.stands && rule[i] == "ESTABLISHED"
			case "--dport":
				i++
				matched = matched && rule[i] == strconv.Itoa(int(p.port))
			case "--match-set":
				not = rule[i-1] == "!"
				matched = matched && w.holds(t, rule[i+1], rule[i+2], p) != not
				i += 2
			case "-j":
				i++
				target = rule[i]
			case "set", "conntrack", "tcp", "udp":
			default:
				t.Fatalf("unknown word %q in %q", word, rule)
			}
		}
		if matched {
			return target == "RETURN"
		}
	}
	return true
}

func (w Wall) holds(t interface{ Fatalf(string, ...any) }, set, sides string, p packet) bool {
	s, there := w.Sets[set]
	if !there {
		t.Fatalf("there is no set %s", set)
	}
	a := p.from
	if sides == "dst" {
		a = p.to
	}
	for e := range s.Entries {
		if e.Prefix.Contains(a) && (s.Type != Doors || e.Port == p.port && e.Protocol == p.protocol) {
			return true
		}
	}
	return false
}

var projects = []string{"", "orders", "payments", "gateway", "stock"}

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 210, byte(i >> 8), byte(i)}) }

// books of any content: few projects, so that they meet.
func books() *rapid.Generator[Book] {
	return rapid.Custom(func(t *rapid.T) Book {
		var d permits.Document
		d.Projects = rapid.SliceOf(rapid.SampledFrom(projects[1:])).Draw(t, "projects")
		if rapid.Bool().Draw(t, "with pools") {
			d.Pools = []netip.Prefix{netip.MustParsePrefix("10.210.0.0/24")}
		}
		for range rapid.IntRange(0, 6).Draw(t, "permits") {
			d.Permits = append(d.Permits, permits.Permit{
				From: rapid.SampledFrom(append([]string{permits.Outside}, projects[1:]...)).Draw(t, "from"), To: rapid.SampledFrom(projects[1:]).Draw(t, "to"),
				Port: rapid.SampledFrom([]uint16{0, 0, 80, 443}).Draw(t, "port"),
			})
			if p := &d.Permits[len(d.Permits)-1]; p.Port != 0 {
				p.Protocol = rapid.SampledFrom([]permits.Protocol{"", permits.TCP, permits.UDP}).Draw(t, "protocol")
			}
		}
		b := Book{Here: map[netip.Addr]Class{}, Far: map[netip.Addr]Number{}, Outside: rapid.Bool().Draw(t, "outside")}
		class := func() Class {
			c := Class{Project: rapid.SampledFrom(projects).Draw(t, "project")}
			c.Open = c.Project != "" && rapid.IntRange(0, 3).Draw(t, "open") == 0
			return c
		}
		var own []Class
		for i := range rapid.IntRange(0, 5).Draw(t, "here") {
			c := class()
			b.Here[address(i)] = c
			own = append(own, c)
		}
		for i := range rapid.IntRange(0, 6).Draw(t, "far") {
			b.Far[address(300+i)] = rapid.SampledFrom([]Number{None, class().Number(), class().Number(), 12345}).Draw(t, "mark")
		}
		b.Policy = NewPolicy(d, own)
		return b
	})
}

func (b Book) everybody() []netip.Addr {
	all := []netip.Addr{netip.MustParseAddr("10.99.0.1"), address(99)} // the company's, and one in a pool that nobody has
	for a := range b.Here {
		all = append(all, a)
	}
	for a := range b.Far {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

func TestTheWallSaysWhatTheVerdictSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := books().Draw(t, "book")
		w := b.Wall(Four, nil)
		for _, from := range b.everybody() {
			for _, to := range b.everybody() {
				_, fromHere := b.Here[from]
				if _, toHere := b.Here[to]; from == to || !fromHere && !toHere {
					continue
				}
				for _, protocol := range []permits.Protocol{permits.TCP, permits.UDP, "icmp"} {
					for _, port := range []uint16{80, 443, 8080} {
						v := b.Judge(from, to, protocol, port)
						p := packet{from: from, to: to, protocol: protocol, port: port}
						if w.passes(t, p) != v.Allowed && (b.Isolates() || v.From.Kind == Local && v.To.Kind == Local) {
							t.Fatalf("the wall lets %+v pass: %t; the verdict is %+v\n%s", p, !v.Allowed, v, w)
						}
						if w.Eased().passes(t, p) != w.passes(t, p) {
							t.Fatalf("the eased wall judges %+v, which begins, otherwise\n%s", p, w)
						}
						p.stands = true
						if w.passes(t, p) != v.Allowed && b.Isolates() {
							t.Fatalf("%+v stands, and passes: %t; the verdict is %+v\n%s", p, !v.Allowed, v, w)
						}
						if !w.Eased().passes(t, p) {
							t.Fatalf("%+v stands, and the eased wall keeps it back\n%s", p, w)
						}
						if p.answer = true; b.Isolates() && !w.passes(t, p) {
							t.Fatalf("an answer %+v is kept back\n%s", p, w)
						}
					}
				}
			}
		}
	})
}

func TestAnEasedWallIsTheSameWall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := books().Draw(t, "book").Wall(Four, nil)
		if e := w.Eased(); e.Exceeds(w) || w.Exceeds(e) {
			t.Fatalf("to ease it opens or closes something:\n%s", w)
		}
	})
}

// String is the wall as people read it.
func (w Wall) String() string {
	var lines []string
	for _, r := range w.Rules {
		lines = append(lines, strings.Join(r, " "))
	}
	for name, s := range w.Sets {
		for e := range s.Entries {
			lines = append(lines, fmt.Sprintf("%s %s %s %d", name, e.Prefix, e.Protocol, e.Port))
		}
	}
	return strings.Join(lines, "\n")
}

// The fast path knows no connections: what it carries must be allowed either way, whatever the port.
func TestTheFastPathCarriesOnlyWhatIsAllowedBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := books().Draw(t, "book")
		carried := map[[2]Number]bool{}
		for _, p := range b.Pairs() {
			carried[p] = true
		}
		for _, from := range b.everybody() {
			for _, to := range b.everybody() {
				g, o := b.Group(from), b.Group(to)
				if g == None || o == None || from == to || g != o && !carried[[2]Number{g, o}] {
					continue
				}
				for _, port := range []uint16{80, 9999} {
					for _, v := range []Verdict{b.Judge(from, to, permits.TCP, port), b.Judge(to, from, permits.UDP, port)} {
						if !v.Allowed {
							t.Fatalf("it carries what is denied: %+v", v)
						}
					}
				}
			}
		}
	})
}

// A second model, as short as it can be said, without a look at the code's own words.
func TestTheVerdictIsTheSimpleOne(t *testing.T) {
	here := func(project string) netip.Addr { return address(slices.Index(projects, project)) }
	own := map[netip.Addr]Class{}
	var classes []Class
	for _, p := range projects {
		own[here(p)] = Class{Project: p}
		classes = append(classes, Class{Project: p})
	}
	d := permits.Document{Permits: []permits.Permit{
		{From: "gateway", To: "orders", By: "orders_web"}, {From: "payments", To: "orders", Port: 80, Protocol: permits.TCP, By: "orders_web"},
		{From: permits.Outside, To: "stock", Port: 443},
	}}
	for _, outside := range []bool{true, false} {
		b := Book{Here: own, Pools: []netip.Prefix{netip.MustParsePrefix("10.210.0.0/24")}, Policy: NewPolicy(d, classes), Outside: outside}
		for _, from := range projects {
			for _, to := range projects {
				for _, port := range []uint16{80, 443} {
					want := from == to || to == "" || from == "gateway" && to == "orders" || from == "payments" && to == "orders" && port == 80 ||
						from == "" && (outside || to == "stock" && port == 443)
					if v := b.Judge(here(from), here(to), permits.TCP, port); v.Allowed != want {
						t.Errorf("outside %t: %q → %q:%d: %+v, want %t", outside, from, to, port, v, want)
					}
				}
			}
		}
	}
}

func TestTwoNamesWithOneNumberAreTrustedByNobody(t *testing.T) {
	const one, two = "lsexqzd", "ztxtxde"
	p := NewPolicy(permits.Document{Projects: []string{one, two, "orders"}}, []Class{{Project: one}})
	if len(p.Clashes) != 1 || !strings.Contains(p.Clashes[0], one) || !strings.Contains(p.Clashes[0], two) {
		t.Fatalf("clashes: %q", p.Clashes)
	}
	a, o := address(1), address(2)
	b := Book{Here: map[netip.Addr]Class{a: {Project: one}, o: {Project: one}}, Policy: p, Outside: true}
	if v := b.Judge(a, o, permits.TCP, 80); v.Allowed || v.From.Kind != Stranger || b.Group(a) != None {
		t.Errorf("%+v", v)
	}
	if n := p.Trusted(Class{Project: "orders"}); n == None {
		t.Error("a third name is not trusted")
	}
}

func TestANodeWithoutContainersHasNoWall(t *testing.T) {
	b := Book{Far: map[netip.Addr]Number{address(1): 7}, Pools: []netip.Prefix{netip.MustParsePrefix("10.210.0.0/16")}}
	if w := b.Wall(Four, []Port{{permits.TCP, 1790}}); len(w.Rules)+len(w.Guard)+len(w.Sets) != 0 {
		t.Errorf("%+v", w)
	}
	b.Here = map[netip.Addr]Class{address(2): {}}
	if w := b.Wall(Four, []Port{{permits.TCP, 1790}}); len(w.Rules) != 0 || len(w.Guard) != 1 || len(w.Sets) != 2 {
		t.Errorf("with containers of no project alone: %+v", w)
	}
	b.Here = map[netip.Addr]Class{address(2): {Project: "orders"}}
	if w := b.Wall(Six, nil); len(w.Rules)+len(w.Sets) != 0 {
		t.Errorf("of a family that no container has: %+v", w)
	}
}

func TestARangeThatHoldsANodeCutsNobodyOff(t *testing.T) {
	wide, narrow := netip.MustParsePrefix("10.5.0.16/28"), netip.MustParsePrefix("10.5.0.128/25")
	node, stranger := netip.MustParseAddr("10.5.0.21"), netip.MustParseAddr("10.5.0.150")
	b := Book{Policy: NewPolicy(permits.Document{Pools: []netip.Prefix{wide, narrow}}, nil)}
	if k := b.Who(node).Kind; k != Stranger {
		t.Errorf("before the node is known its address is %s", k)
	}
	b = b.Without([]netip.Addr{node})
	if k := b.Who(node).Kind; k != Company {
		t.Errorf("a node is %s", k)
	}
	if k := b.Who(stranger).Kind; k != Stranger {
		t.Errorf("whom nobody vouches for is %s", k)
	}
}
