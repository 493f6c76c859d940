package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bridge is the LAN's switch, and the router's own port in it.
const bridge = "lan"

// makeLAN makes the company's network: a namespace of its own without an uplink, so that no packet of a lab
// leaves it and nothing in the machine's own network changes.
func (l *Lab) makeLAN() error {
	if err := namespace.Make(l.space(Router)); err != nil {
		return err
	}
	err := namespace.Do(namespace.Path(l.space(Router)), func() error {
		if err := linkUp("lo"); err != nil {
			return err
		}
		if _, err := netlink.LinkByName(bridge); err != nil {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU, attrs.HardwareAddr = bridge, mtu, l.mac(Router)
			if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
				return fmt.Errorf("make bridge: %w", err)
			}
		}
		if err := errors.Join(addAddress(bridge, l.network(Router)), addAddress(bridge, l.network6(Router))); err != nil {
			return err
		}
		return routerSwitches()
	})
	if err != nil {
		return fmt.Errorf("lab %s: make the LAN: %w", l.name, err)
	}
	return nil
}

func routerSwitches() error {
	// A bridge is a switch: its frames are no business of iptables. The key is absent without br_netfilter.
	if _, err := os.Stat("/proc/sys/net/bridge"); err == nil {
		if err := namespace.Set("net/bridge/bridge-nf-call-iptables", "0"); err != nil {
			return err
		}
	}
	return errors.Join(
		namespace.Set("net/ipv4/ip_forward", "1"),
		namespace.Set("net/ipv6/conf/all/forwarding", "1"),
		// Without it the second refusal within a second is swallowed, and a task's start waits 5 s for a name server.
		namespace.Set("net/ipv4/icmp_ratelimit", "0"),
		// Equal routes to several nodes are chosen by flow: addresses and ports.
		namespace.Set("net/ipv4/fib_multipath_hash_policy", "1"),
	)
}

// plug makes the node's network namespace and its cable to the LAN, both fresh: a machine that boots has none of
// the routes, rules and links of its last life.
func (l *Lab) plug(node string) error {
	if err := l.unplug(node); err != nil {
		return err
	}
	if err := namespace.Make(l.space(node)); err != nil {
		return err
	}
	if err := l.addCable(node); err != nil {
		return fmt.Errorf("plug %s into the LAN: %w", node, err)
	}
	return namespace.Do(namespace.Path(l.space(node)), func() error {
		if err := linkUp("lo"); err != nil {
			return err
		}
		// The engine has to find forwarding off: it turns it on, and sets FORWARD to DROP as on a real host.
		if err := namespace.Set("net/ipv4/ip_forward", "0"); err != nil {
			return err
		}
		if err := errors.Join(addAddress("eth0", l.network(node)), addAddress("eth0", l.network6(node))); err != nil {
			return err
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		index := link.Attrs().Index
		return errors.Join(
			netlink.RouteReplace(&netlink.Route{LinkIndex: index, Gw: routerAddr.AsSlice()}),
			netlink.RouteReplace(&netlink.Route{LinkIndex: index, Gw: l.Address6(Router).AsSlice()}))
	})
}

// addCable makes the veth whose end in the LAN bears the node's name.
func (l *Lab) addCable(node string) error {
	other, err := os.Open(namespace.Path(l.space(node)))
	if err != nil {
		return err
	}
	defer other.Close() //nolint:errcheck // read only
	return namespace.Do(namespace.Path(l.space(Router)), func() error {
		lan, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.MasterIndex = node, mtu, lan.Attrs().Index
		cable := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerMTU: mtu, PeerHardwareAddr: l.mac(node),
			PeerNamespace: netlink.NsFd(int(other.Fd()))}
		if err := netlink.LinkAdd(cable); err != nil {
			return err
		}
		if l.isCut(node) {
			return nil
		}
		return linkUp(node)
	})
}

// unplug takes the cable and the namespace away. The cable goes first and at once: the other nodes hear no
// FIN or RST of the sockets that die with the node, as after a real power loss.
func (l *Lab) unplug(node string) error {
	if namespace.Exists(l.space(Router)) {
		err := namespace.Do(namespace.Path(l.space(Router)), func() error {
			link, err := netlink.LinkByName(node)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				return nil
			}
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		})
		if err != nil {
			return fmt.Errorf("unplug %s: %w", node, err)
		}
	}
	return namespace.Remove(l.space(node))
}

// Cut pulls the node's cable: both ends lose carrier. It stays cut over Kill and Start.
func (l *Lab) Cut(_ context.Context, node string) error {
	if err := l.known(node); err != nil {
		return err
	}
	if err := os.WriteFile(l.folder(node, "cut"), nil, 0o644); err != nil {
		return fmt.Errorf("cut %s: %w", node, err)
	}
	return l.inLAN(node, "cut", func(link netlink.Link) error { return netlink.LinkSetDown(link) })
}

// Join puts the node's cable back.
func (l *Lab) Join(_ context.Context, node string) error {
	if err := l.known(node); err != nil {
		return err
	}
	if err := os.Remove(l.folder(node, "cut")); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("join %s: %w", node, err)
	}
	return l.inLAN(node, "join", func(link netlink.Link) error { return netlink.LinkSetUp(link) })
}

func (l *Lab) isCut(node string) bool {
	_, err := os.Stat(l.folder(node, "cut"))
	return err == nil
}

// inLAN acts on the LAN's end of the node's cable; a node that is off has none, and no error.
func (l *Lab) inLAN(node, verb string, f func(netlink.Link) error) error {
	err := namespace.Do(namespace.Path(l.space(Router)), func() error {
		link, err := netlink.LinkByName(node)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(link)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, node, err)
	}
	return nil
}

// Slow delays every frame to and from the node by delay each way; 0 ends it. It needs a kernel with netem.
func (l *Lab) Slow(_ context.Context, node string, delay time.Duration) error {
	if err := l.known(node); err != nil {
		return err
	}
	if !l.On(node) {
		return fmt.Errorf("slow %s: the node is off", node)
	}
	if err := l.inLAN(node, "slow", func(link netlink.Link) error { return delayOn(link, delay) }); err != nil {
		return err
	}
	return l.InNetwork(node, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return fmt.Errorf("slow %s: %w", node, err)
		}
		return delayOn(link, delay)
	})
}

func delayOn(link netlink.Link, delay time.Duration) error {
	attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	netem := netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{Latency: uint32(delay.Microseconds())})
	if delay <= 0 {
		if err := netlink.QdiscDel(netem); err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EINVAL) {
			return err
		}
		return nil
	}
	netem.Limit = 100000 // frames in flight: the default of 1,000 would drop, not delay, at full speed
	err := netlink.QdiscReplace(netem)
	if errors.Is(err, syscall.ENOENT) {
		return errors.New("this kernel cannot delay packets: it has no netem (sch_netem), see lab doctor; use lab cut or lab partition, or a kernel with it")
	}
	return err
}

// The small steps.

func (l *Lab) network(node string) *net.IPNet {
	return &net.IPNet{IP: l.Address(node).AsSlice(), Mask: net.CIDRMask(lanPrefix.Bits(), 32)}
}

func (l *Lab) network6(node string) *net.IPNet {
	return &net.IPNet{IP: l.Address6(node).AsSlice(), Mask: net.CIDRMask(lanSix.Bits(), 128)}
}

// mac is the same in every life of the node, so that its neighbours' ARP tables stay true.
func (l *Lab) mac(node string) net.HardwareAddr {
	return append(net.HardwareAddr{0x02, 0x00}, l.Address(node).AsSlice()...)
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

func addAddress(name string, address *net.IPNet) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		a := &netlink.Addr{IPNet: address}
		if address.IP.To4() == nil {
			a.Flags = unix.IFA_F_NODAD // it is there at once: nobody else can have it
		}
		err = netlink.AddrReplace(link, a)
	}
	if err != nil {
		return fmt.Errorf("set address %s on %s: %w", address, name, err)
	}
	return linkUp(name)
}
