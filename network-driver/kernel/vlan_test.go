package kernel

import (
	"fmt"
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
