package kernel

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rolling-swarm/rolling/network-driver/topology"
)

// calls is netlink, written down: a kernel need not have 8021q for it.
type calls struct {
	have  map[string]netlink.Link
	wrote []string
	fail  map[string]error
}

func (c *calls) say(call string, err error, format string, args ...any) error {
	c.wrote = append(c.wrote, call+" "+fmt.Sprintf(format, args...))
	return err
}

func (c *calls) LinkByName(name string) (netlink.Link, error) {
	if l, ok := c.have[name]; ok {
		return l, nil
	}
	return nil, netlink.LinkNotFoundError{}
}

func (c *calls) LinkAdd(l netlink.Link) error {
	v, ok := l.(*netlink.Vlan)
	if !ok {
		return fmt.Errorf("%T is no VLAN", l)
	}
	if err := c.fail["add"]; err != nil {
		return err
	}
	v.HardwareAddr = net.HardwareAddr{2, 0, 0, 0, 0, 7} // as the kernel gives it, its lower interface's
	c.have[v.Name] = v
	return c.say("add", nil, "%s tag %d (%s) on interface %d, mtu %d", v.Name, v.VlanId, v.VlanProtocol, v.ParentIndex, v.MTU)
}

func (c *calls) LinkDel(l netlink.Link) error {
	delete(c.have, l.Attrs().Name)
	return c.say("del", nil, "%s", l.Attrs().Name)
}

func (c *calls) LinkSetAlias(l netlink.Link, text string) error {
	l.Attrs().Alias = text
	return c.say("alias", c.fail["alias"], "%s %q", l.Attrs().Name, text)
}

func (c *calls) LinkSetUp(l netlink.Link) error {
	if c.fail["up"] == nil {
		l.Attrs().Flags |= net.FlagUp
	}
	return c.say("up", c.fail["up"], "%s", l.Attrs().Name)
}

func withEth1() *calls {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index, attrs.MTU = "eth1", 7, 9000
	return &calls{have: map[string]netlink.Link{"eth1": &netlink.Device{LinkAttrs: attrs}}, fail: map[string]error{}}
}

func TestAVLANIsMadeWithItsTagAndKnownByItsAlias(t *testing.T) {
	c, g := withEth1(), topology.Segment{Parent: "eth1.100", Attach: topology.Bridged}
	made, err := tag(c, g)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"add eth1.100 tag 100 (802.1q) on interface 7, mtu 9000", `alias eth1.100 "rolling vlan parent=eth1.100"`, "up eth1.100"}
	if strings.Join(c.wrote, "\n") != strings.Join(want, "\n") {
		t.Errorf("said\n%s\nwant\n%s", strings.Join(c.wrote, "\n"), strings.Join(want, "\n"))
	}
	if parent, ours := topology.VLANOf(made.Attrs().Alias); !ours || parent != "eth1.100" {
		t.Errorf("is read back as %q, %t", parent, ours)
	}
	if err := untag(c, made); err != nil || c.have["eth1.100"] != nil {
		t.Errorf("untag: %v; has %v", err, c.have)
	}
}

func TestAVLANThatCannotBeMadeIsNotLeft(t *testing.T) {
	g := topology.Segment{Parent: "eth1.100", Attach: topology.Bridged}
	for _, c := range []struct {
		name, call string
		err        error
		want       string
	}{
		{"the kernel has no 8021q", "add", unix.EOPNOTSUPP, "this kernel has no 8021q"},
		{"the tag exists under another name", "add", unix.EEXIST, "make VLAN 100 on eth1: file exists"},
		{"its alias is refused", "alias", unix.EINVAL, "invalid argument"},
		{"it cannot be set up", "up", unix.ENETDOWN, "network is down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := withEth1()
			k.fail[c.call] = c.err
			if _, err := tag(k, g); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("tag = %v; want %q", err, c.want)
			}
			if _, left := k.have["eth1.100"]; left {
				t.Error("it was left")
			}
		})
	}
	if _, err := tag(withEth1(), topology.Segment{Parent: "eth9.5"}); err == nil || !strings.Contains(err.Error(), "no interface eth9") {
		t.Errorf("on nothing: %v", err)
	}
}

// wholeWire is calls, as far as segments of macvlans go.
type wholeWire struct {
	segmentWire
	*calls
}

func (w wholeWire) LinkByName(name string) (netlink.Link, error) { return w.calls.LinkByName(name) }
func (w wholeWire) LinkAdd(l netlink.Link) error                 { return w.calls.LinkAdd(l) }
func (w wholeWire) LinkDel(l netlink.Link) error                 { return w.calls.LinkDel(l) }
func (w wholeWire) LinkSetAlias(l netlink.Link, text string) error {
	return w.calls.LinkSetAlias(l, text)
}
func (w wholeWire) LinkSetUp(l netlink.Link) error { return w.calls.LinkSetUp(l) }
func (w wholeWire) LinkList() (all []netlink.Link, err error) {
	for _, name := range slices.Sorted(maps.Keys(w.have)) {
		all = append(all, w.have[name])
	}
	return all, nil
}

// Set is told the segments that some network needs: a VLAN's interface is made with the first, once, and removed with the
// last; another tag on the same interface, and one that administrators made, are left alone.
func TestAVLANIsThereWhileASegmentNeedsIt(t *testing.T) {
	c := withEth1()
	theirs := netlink.NewLinkAttrs()
	theirs.Name, theirs.Index, theirs.Flags, theirs.HardwareAddr = "eth1.300", 9, net.FlagUp, net.HardwareAddr{2, 0, 0, 0, 0, 9}
	c.have["eth1.300"] = &netlink.Vlan{LinkAttrs: theirs, VlanId: 300}
	s := &Segments{nl: wholeWire{calls: c}}
	on := func(parent string) topology.Segment {
		return topology.Segment{Parent: parent, Attach: topology.Macvlan}
	}
	for _, step := range []struct {
		name   string
		wanted []topology.Segment
		said   string
	}{
		{"the first network", []topology.Segment{on("eth1.100")}, "add eth1.100 tag 100 (802.1q) on interface 7, mtu 9000; alias eth1.100 \"rolling vlan parent=eth1.100\"; up eth1.100"},
		{"the same once more", []topology.Segment{on("eth1.100")}, ""},
		{"another tag, and a VLAN of the administrators", []topology.Segment{on("eth1.100"), on("eth1.200"), on("eth1.300")}, "add eth1.200 tag 200 (802.1q) on interface 7, mtu 9000; alias eth1.200 \"rolling vlan parent=eth1.200\"; up eth1.200"},
		{"the first tag is needed no more", []topology.Segment{on("eth1.200"), on("eth1.300")}, "del eth1.100"},
		{"none is needed", nil, "del eth1.200"},
	} {
		c.wrote = nil
		if err := s.Set(step.wanted); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if got := strings.Join(c.wrote, "; "); got != step.said {
			t.Errorf("%s: said %q; want %q", step.name, got, step.said)
		}
	}
	made := func(t *testing.T) {
		t.Helper()
		if _, err := s.Lay(on("eth1.100")); err != nil {
			t.Fatal(err)
		}
	}
	made(t)
	c.have["eth1.100"].Attrs().Flags = 0 // a process died before it set it up
	c.wrote = nil
	if made(t); strings.Join(c.wrote, "; ") != "up eth1.100" {
		t.Errorf("one that is down: said %q", c.wrote)
	}
}
