package contract

import (
	"net/netip"
	"testing"
)

func TestReserved(t *testing.T) {
	for _, c := range []struct{ name, prefix, overlaps string }{
		{"the whole of IPv4", "0.0.0.0/0", "0.0.0.0/8"},
		{"this network", "0.0.0.0/8", "0.0.0.0/8"},
		{"one address of it", "0.255.255.255/32", "0.0.0.0/8"},
		{"the first address behind it", "1.0.0.0/32", ""},
		{"the last address before loopback", "126.255.255.255/32", ""},
		{"a part of loopback", "127.3.0.0/16", "127.0.0.0/8"},
		{"what is wider than loopback", "126.0.0.0/7", "127.0.0.0/8"},
		{"the first address behind loopback", "128.0.0.0/32", ""},
		{"a neighbour of link-local", "169.253.0.0/16", ""},
		{"what contains link-local", "169.254.0.0/15", "169.254.0.0/16"},
		{"where clouds answer", "169.254.169.254/32", "169.254.0.0/16"},
		{"the last address before multicast", "223.255.255.255/32", ""},
		{"multicast", "224.0.0.0/4", "224.0.0.0/3"},
		{"what is above multicast", "240.1.0.0/16", "224.0.0.0/3"},
		{"broadcast", "255.255.255.255/32", "224.0.0.0/3"},
		{"a private subnet", "10.210.3.0/24", ""},
		{"another kind of address", "fd00::/64", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, what, reserved := Reserved(netip.MustParsePrefix(c.prefix))
			if reserved != (c.overlaps != "") || reserved && (got.String() != c.overlaps || what == "") {
				t.Errorf("%s overlaps %s (%q), %t; want %q", c.prefix, got, what, reserved, c.overlaps)
			}
		})
	}
}
