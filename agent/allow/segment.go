package allow

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// containers are the prefixes in which every address is a container's. On a physical network that is not the subnet, where
// nodes, routers and the company's machines are too, but the range that its maker left to containers; without one it is
// nothing, and only addresses that nodes tell of are known to be containers'.
func (n Network) containers() ([]netip.Prefix, error) {
	if n.Options[contract.Mode] != "l2" {
		return n.Pools, nil
	}
	if n.Range == "" {
		return nil, nil
	}
	if p, err := netip.ParsePrefix(n.Range); err == nil && p.Bits() > 0 {
		return []netip.Prefix{p.Masked()}, nil
	}
	from, to, _ := strings.Cut(n.Range, "-")
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	if err != nil {
		return nil, fmt.Errorf("%q is not FIRST-LAST", n.Range)
	}
	last, err := netip.ParseAddr(strings.TrimSpace(to))
	if err != nil || first.BitLen() != last.BitLen() || last.Less(first) {
		return nil, fmt.Errorf("%q is not FIRST-LAST", n.Range)
	}
	return cover(first, last), nil
}

// cover are the fewest prefixes that hold exactly the addresses from the first to the last.
func cover(first, last netip.Addr) []netip.Prefix {
	var all []netip.Prefix
	for first.IsValid() && !last.Less(first) {
		widest := netip.PrefixFrom(first, first.BitLen())
		for bits := widest.Bits() - 1; bits > 0; bits-- {
			p := netip.PrefixFrom(first, bits)
			if p.Masked().Addr() != first || last.Less(end(p)) {
				break
			}
			widest = p
		}
		all = append(all, widest)
		first = end(widest).Next()
	}
	return all
}

// end is a prefix's last address.
func end(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < p.Addr().BitLen(); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
