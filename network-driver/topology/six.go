package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// sixBits is the length of the prefix that IPv6 addresses are derived in: what is left is an IPv4 address.
const sixBits = 96

// parseIPv6 reads the /96 of a network.
func parseIPv6(value string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(value)
	if err != nil || !p.Addr().Is6() || p.Bits() != sixBits || p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q: want a /%d such as fd00:10:201::/%d, in which addresses are derived", value, sixBits, sixBits)
	}
	if !usable(p.Addr()) {
		return netip.Prefix{}, fmt.Errorf("%q: no container can have its addresses: want one of the site's own, such as fd00:10:201::/%d", value, sixBits)
	}
	return p, nil
}

// usable says that an IPv6 address may be a container's. IPv4 addresses in IPv6's clothes are not: the kernel sends
// them nowhere.
func usable(a netip.Addr) bool { return a.Is6() && !a.Is4In6() && a.IsGlobalUnicast() }

// Six is the IPv6 address that belongs to an IPv4 one, or none in a network without.
func (o Options) Six(a netip.Addr) netip.Addr {
	if !o.IPv6.IsValid() || !a.Is4() {
		return netip.Addr{}
	}
	b := o.IPv6.Addr().As16()
	four := a.As4()
	copy(b[sixBits/8:], four[:])
	return netip.AddrFrom16(b)
}

// SixPool is the part of the network's /96 that its pool's addresses are in, or none.
func (n Network) SixPool() netip.Prefix {
	if a := n.Options.Six(n.Pool.Masked().Addr()); a.IsValid() {
		return netip.PrefixFrom(a, sixBits+n.Pool.Bits())
	}
	return netip.Prefix{}
}

// SixGateway is the IPv6 gateway of a network with that IPv4 one: two networks of one container never share it.
func SixGateway(gateway netip.Addr) netip.Addr {
	b := [16]byte{0xfe, 0x80}
	four := gateway.As4()
	copy(b[12:], four[:])
	return netip.AddrFrom16(b)
}

// SixLeg is what one container may send by IPv6.
type SixLeg struct {
	Name    string // of the host end
	MAC     string
	Sources []netip.Addr // none: it may only look for its gateway
}

// Six is what this node's kernel needs for IPv6.
type Six struct {
	Wanted bool           // some network has it: the node forwards
	Pools  []netip.Prefix // that the firewall accepts, sorted
	Legs   []SixLeg       // sorted by name, those without IPv6 too: none of them may send what is not its own
}

// SixOf is what the kernel needs for this state; the pools of a border are accepted, too.
func SixOf(s State, g Guard, borders []netip.Prefix) Six {
	var six Six
	sources := s.sixSources()
	for _, n := range s.Networks {
		if p := n.SixPool(); p.IsValid() {
			six.Pools = append(six.Pools, p)
		}
	}
	for _, p := range borders {
		if p.Addr().Is6() {
			six.Pools = append(six.Pools, p)
		}
	}
	slices.SortFunc(six.Pools, netip.Prefix.Compare)
	six.Pools = slices.Compact(six.Pools)
	six.Wanted = len(six.Pools) > 0
	for _, l := range s.Links() {
		if g.Holds(l.Address) != nil {
			continue
		}
		own := []netip.Addr{}
		if l.Address6.IsValid() {
			own = append(own, l.Address6)
		}
		if box := BoxOf(s.Endpoints[l.Endpoint].Sandbox); box != "" {
			own = sources[box]
		}
		six.Legs = append(six.Legs, SixLeg{Name: l.Name, MAC: l.MAC, Sources: own})
	}
	return six
}

// sixSources are the IPv6 addresses of each container, by its sandbox: an answer may leave by another network than its
// question came by.
func (s State) sixSources() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, e := range s.Endpoints {
		if box := BoxOf(e.Sandbox); e.Phase == Joined && box != "" && e.Address6.IsValid() {
			all[box] = append(all[box], e.Address6)
		}
	}
	for _, own := range all {
		slices.SortFunc(own, netip.Addr.Compare)
	}
	return all
}

// OfOneFamily are the prefixes of IPv4, or those of IPv6.
func OfOneFamily(all []netip.Prefix, six bool) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(all), func(p netip.Prefix) bool { return p.Addr().Is6() != six })
}

// NoSix says why a node that has containers with IPv6 addresses, or learns of others', cannot do IPv6; it is empty if it
// can.
func (u Uplink) NoSix() string {
	if u.Six.IsValid() {
		return ""
	}
	return fmt.Sprintf("the uplink (%s) has no IPv6 address, not even a link-local one: other nodes cannot send here by IPv6: set net.ipv6.conf.IFACE.disable_ipv6=0", strings.Join(u.Names, ", "))
}
