package contract

import "net/netip"

// Reserved says whether an IPv4 prefix overlaps one whose addresses no container can have, and if so which, and what
// that is. Who reads a subnet refuses it then.
func Reserved(p netip.Prefix) (overlaps netip.Prefix, what string, reserved bool) {
	for _, r := range []struct {
		prefix [4]byte
		bits   int
		what   string
	}{
		{[4]byte{}, 8, "this network"},
		{[4]byte{127}, 8, "loopback"},
		{[4]byte{169, 254}, 16, "link-local"},
		{[4]byte{224}, 3, "multicast and above"},
	} {
		if q := netip.PrefixFrom(netip.AddrFrom4(r.prefix), r.bits); p.Overlaps(q) {
			return q, r.what, true
		}
	}
	return netip.Prefix{}, "", false
}
