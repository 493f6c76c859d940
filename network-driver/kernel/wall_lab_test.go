//go:build lab

package kernel

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/rolling-swarm/rolling/internal/permits"
	"github.com/rolling-swarm/rolling/network-driver/isolation"
	"github.com/rolling-swarm/rolling/network-driver/lan"
)

func address(text string) netip.Addr { return netip.MustParseAddr(text) }

// shops is a node with two projects, of which one lets the other in by a port, and a gateway that it knows of.
func shops(d permits.Document) isolation.Book {
	orders, payments := isolation.Class{Project: "orders"}, isolation.Class{Project: "payments"}
	return isolation.Book{
		Here:  map[netip.Addr]isolation.Class{address("10.210.3.7"): orders, address("10.210.4.7"): payments, address("10.210.5.7"): {}},
		Far:   map[netip.Addr]isolation.Number{address("10.210.3.9"): orders.Number(), address("10.211.0.9"): isolation.Class{Project: "gateway"}.Number(), address("10.210.3.10"): 0},
		Pools: []netip.Prefix{netip.MustParsePrefix("10.210.3.0/24"), netip.MustParsePrefix("10.210.4.0/24")}, Policy: isolation.NewPolicy(d, []isolation.Class{orders, payments}), Outside: true,
	}
}

func document(allow ...string) permits.Document {
	d := permits.Document{Projects: []string{"orders", "payments", "gateway"}}
	for _, label := range allow {
		p, _ := permits.ParseAllowFrom(label, "orders", "orders_web")
		d.Permits = append(d.Permits, p...)
	}
	return d.Seal()
}

type site struct {
	t    *testing.T
	s    lan.Space
	wall *Wall
}

func (x site) set(w isolation.Wall) string {
	x.t.Helper()
	x.s.Do(func() error { return x.wall.Set(w, shops6(w)) })
	return x.picture()
}

// picture is rules and sets.
func (x site) picture() string {
	x.t.Helper()
	text := ""
	for line := range strings.Lines(x.s.Must(nft+" -t mangle -S") + x.s.Must(legacy+" -t mangle -S") + x.s.Must("ip6tables-nft -t mangle -S") + x.s.Must("ip6tables-legacy -t mangle -S")) {
		if !strings.HasPrefix(line, "#") { // that there is also the other kind
			text += line
		}
	}
	x.s.Do(func() error {
		all, err := x.wall.sets.nl.IpsetListAll()
		var lines []string
		for _, r := range all {
			set, err := x.wall.sets.list(r.SetName)
			if err != nil {
				return err
			}
			for e := range set.Entries {
				lines = append(lines, r.SetName+" "+strings.Join([]string{e.Prefix.String(), string(e.Protocol), e.Note}, " "))
			}
			lines = append(lines, r.SetName+" "+r.TypeName)
		}
		slices.Sort(lines)
		text += strings.Join(lines, "\n")
		return err
	})
	return text
}

func TestTheWallConvergesWhereDockersRulesAre(t *testing.T) {
	for _, program := range []string{nft, legacy} {
		t.Run(program, func(t *testing.T) {
			s := lan.New(t, "wall")
			s.Must(program + " -N DOCKER-USER")
			s.Must(program + " -t mangle -A FORWARD -s 192.0.2.1 -j ACCEPT")
			s.Must(program + " -t mangle -N THEIRS") // of administrators: none of it may ever change
			s.Must(program + " -t mangle -A THEIRS -p tcp -m tcp --dport 22 -j ACCEPT")
			s.Must(program + " -t mangle -A INPUT -j THEIRS")
			x := site{t: t, s: s}
			s.Do(func() (err error) { x.wall, err = OpenWall(NewGate(nft, legacy)); return err })
			t.Cleanup(x.wall.Close)
			s.Do(func() error { return x.wall.sets.nl.IpsetCreate("theirs", "hash:ip", netlink.IpsetCreateOptions{}) })
			before := x.picture()
			guard := []isolation.Port{{Protocol: permits.TCP, Number: 1790}}

			x.set(shops(document()).Wall(isolation.Four, guard))
			once := x.set(shops(document("payments:8080", "gateway")).Wall(isolation.Four, guard))
			for _, want := range []string{
				"-A FORWARD ! -i rl+ -o rl+ -j ROLLING-ISOLATE\n", "-A FORWARD -i rl+ -j ROLLING-ISOLATE\n", "-A INPUT -j ROLLING-GUARD\n",
				"-A ROLLING-GUARD -p tcp -m tcp --dport 1790 -m set --match-set rolling4-inside src -j ROLLING-DENIED\n", "-A ROLLING-DENIED -j DROP\n",
				"rolling4-inside 10.210.3.0/24", "rolling4-inside 10.211.0.9/32", "rolling4-known 10.210.3.10/32  0\n", "-A ROLLING-ISOLATE -m set --match-set rolling6-inside dst -j ROLLING-DENIED\n", "rolling6-to-325e96ec fd00::a/128",
			} {
				if !strings.Contains(once, want) {
					t.Errorf("lacks %q:\n%s", want, once)
				}
			}
			if i, j := strings.Index(once, "-A FORWARD -i rl+"), strings.Index(once, "-A FORWARD -s 192.0.2.1"); i < 0 || j < i {
				t.Errorf("a rule of others stands before ours, or is gone:\n%s", once)
			}
			if twice := x.set(shops(document("payments:8080", "gateway")).Wall(isolation.Four, guard)); twice != once {
				t.Errorf("the second Set changed something:\n%s\nwas:\n%s", twice, once)
			}

			bridged := shops(document("payments:8080", "gateway"))
			bridged.Bridges = []string{"rb-eth1"}
			frames := x.set(bridged.Wall(isolation.Four, guard))
			for _, want := range []string{"-A FORWARD -m physdev --physdev-in rl+ --physdev-is-bridged -j ROLLING-ISOLATE\n", "-A FORWARD -m physdev ! --physdev-in rl+ --physdev-out rl+ --physdev-is-bridged -j ROLLING-ISOLATE\n"} {
				if !strings.Contains(frames, want) {
					t.Errorf("with a container on a bridge it lacks %q:\n%s", want, frames)
				}
			}
			if twice := x.set(bridged.Wall(isolation.Four, guard)); twice != frames {
				t.Errorf("the second Set with a bridge changed something:\n%s\nwas:\n%s", twice, frames)
			}
			s.Must(program + " -t mangle -D FORWARD -m physdev --physdev-in rl+ --physdev-is-bridged -j ROLLING-ISOLATE")
			x.wall.Doubt()
			if mended := x.set(bridged.Wall(isolation.Four, guard)); sorted(mended) != sorted(frames) {
				t.Errorf("a jump that others took away is not there again:\n%s", mended)
			}
			if routed := x.set(shops(document("payments:8080", "gateway")).Wall(isolation.Four, guard)); sorted(routed) != sorted(once) {
				t.Errorf("when the last has left the bridge:\n%s\nwant:\n%s", routed, once)
			}

			w := shops(document("payments:8080", "gateway")).Wall(isolation.Four, guard)
			const ease = "-A ROLLING-ISOLATE -m conntrack --ctstate ESTABLISHED -j RETURN\n"
			if eased := x.set(w.Eased()); !strings.Contains(eased, "-N ROLLING-ISOLATE\n") || strings.Index(eased, ease) != strings.Index(eased, "-A ROLLING-ISOLATE") {
				t.Errorf("what stands is not let go on first of all:\n%s", eased)
			}
			if strict := x.set(w); sorted(strict) != sorted(once) {
				t.Errorf("no more eased it is\n%s\nwas:\n%s", strict, once)
			}

			s.Must(program + " -t mangle -F ROLLING-DENIED")
			s.Must(program + " -t mangle -D FORWARD -i rl+ -j ROLLING-ISOLATE")
			s.Must(program + " -t mangle -A ROLLING-ISOLATE -s 192.0.2.9 -j ACCEPT")
			s.Do(func() error { return x.wall.sets.nl.IpsetFlush("rolling4-inside") })
			x.wall.Doubt()
			if mended := x.set(shops(document("payments:8080", "gateway")).Wall(isolation.Four, guard)); sorted(mended) != sorted(once) {
				t.Errorf("what others broke is not mended:\n%s\nwas:\n%s", mended, once)
			}

			var next *Wall // of the process after a kill
			s.Do(func() (err error) { next, err = OpenWall(NewGate(nft, legacy)); return err })
			t.Cleanup(next.Close)
			x.wall = next
			recalled, err := next.Recall()
			if err != nil || len(recalled) != 7 || recalled[address("10.210.3.9")] != (isolation.Class{Project: "orders"}).Number() {
				t.Errorf("it recalls %v, %v", recalled, err)
			}
			if again := x.set(shops(document("payments:8080", "gateway")).Wall(isolation.Four, guard)); sorted(again) != sorted(once) {
				t.Errorf("another process changed something:\n%s\nwas:\n%s", again, once)
			}
			if less := x.set(isolation.Book{Here: map[netip.Addr]isolation.Class{address("10.210.5.7"): {}}}.Wall(isolation.Four, guard)); strings.Contains(less, "ISOLATE") || !strings.Contains(less, "ROLLING-GUARD") {
				t.Errorf("without a project:\n%s", less)
			}
			if after := x.set(isolation.Wall{}); after != before {
				t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// sorted: jumps to one chain may stand in any order.
func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// shops6 is the wall of a container with both families, unless there is none at all.
func shops6(four isolation.Wall) isolation.Wall {
	if len(four.Rules) == 0 {
		return isolation.Wall{}
	}
	orders := isolation.Class{Project: "orders"}
	return isolation.Book{Here: map[netip.Addr]isolation.Class{address("fd00::a"): orders}, Policy: isolation.NewPolicy(document(), nil), Outside: true}.Wall(isolation.Six, nil)
}
