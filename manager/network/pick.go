package network

import (
	"fmt"
	"net/netip"
)

// Pick chooses n addresses to reserve, from the last one down: networks hand out theirs from the first one up. Free says
// which may be had.
func Pick(within netip.Prefix, n int, free func(netip.Addr) bool) ([]netip.Addr, error) {
	b := within.Masked().Addr().As4()
	first := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	size := uint64(1) << (32 - within.Bits())
	var all []netip.Addr
	for i := size; i > 0 && len(all) < n; i-- {
		v := first + uint32(i-1)
		if a := netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}); free(a) {
			all = append(all, a)
		}
	}
	if len(all) < n {
		return nil, fmt.Errorf("%s: %d addresses are free, want %d", within, len(all), n)
	}
	return all, nil
}
