package fabric

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/network-driver/isolation"
)

// Community is a mark of two halves (RFC 1997), or of three parts for a large one (RFC 8092).
type Community struct {
	A, B, C uint32
	Large   bool
}

// Shutdown is the community GRACEFUL_SHUTDOWN (RFC 8326): whoever has another way, take it.
func Shutdown() Community { return Community{A: 65535} }

// ParseCommunity reads A:B or A:B:C.
func ParseCommunity(text string) (Community, error) {
	parts := strings.Split(text, ":")
	size := 16
	if len(parts) == 3 {
		size = 32
	}
	if len(parts) != 2 && len(parts) != 3 {
		return Community{}, errors.New("want two numbers A:B, or three A:B:C")
	}
	c := Community{Large: len(parts) == 3}
	for i, into := range []*uint32{&c.A, &c.B, &c.C}[:len(parts)] {
		n, err := strconv.ParseUint(parts[i], 10, size)
		if err != nil {
			return Community{}, fmt.Errorf("%q is no number of %d bits", parts[i], size)
		}
		*into = uint32(n)
	}
	return c, nil
}

func (c Community) String() string {
	if c.Large {
		return fmt.Sprintf("%d:%d:%d", c.A, c.B, c.C)
	}
	return fmt.Sprintf("%d:%d", c.A, c.B)
}

// Number is a community of two halves as one.
func (c Community) Number() uint32 { return c.A<<16 | c.B }

// aggregated is the second part of the large community ASN:1:LENGTH. A route with it is one address of a network whose
// pool, of that length, is announced to routers in its stead. A border node knows so the pools of networks that it has
// no container of.
const aggregated = 1

// Aggregated is the mark of an address whose pool has the length.
func Aggregated(asn uint32, length int) Community {
	return Community{A: asn, B: aggregated, C: uint32(length), Large: true}
}

// PoolOf is the pool that a marked address lies in.
func PoolOf(asn uint32, address netip.Addr, marks []Community) (netip.Prefix, bool) {
	for _, c := range marks {
		if c.Large && c.A == asn && c.B == aggregated && c.C >= 8 && c.C < uint32(address.BitLen()) {
			if p, err := address.Prefix(int(c.C)); err == nil {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// ofUplink is the second part of the large community ASN:5:MTU. It is on all that a node announces: nodes whose uplinks
// take packets of different sizes know of each other by it.
const ofUplink = 5

// MTU is the mark of a node whose uplink has that MTU.
func MTU(asn uint32, mtu int) Community {
	return Community{A: asn, B: ofUplink, C: uint32(mtu), Large: true}
}

// MTUOf is the MTU that a mark tells, or 0.
func MTUOf(asn uint32, marks []Community) int {
	for _, c := range marks {
		if c.Large && c.A == asn && c.B == ofUplink && c.C < 1<<17 {
			return int(c.C)
		}
	}
	return 0
}

// owned is the second part of the large community ASN:2:NUMBER: whose the address is, as isolation numbers projects.
const owned = 2

// Owned is the mark of an address of that class.
func Owned(asn uint32, n isolation.Number) Community {
	return Community{A: asn, B: owned, C: uint32(n), Large: true}
}

// OwnerOf is the class that a marked address is of; with none, or with several, it is nobody's.
func OwnerOf(asn uint32, marks []Community) isolation.Number {
	found := isolation.None
	for _, c := range marks {
		if c.Large && c.A == asn && c.B == owned {
			if found != isolation.None && found != isolation.Number(c.C) {
				return isolation.None
			}
			found = isolation.Number(c.C)
		}
	}
	return found
}

// near is the second part of the large community ASN:6:1. An address with it lies on a physical network: nodes take from
// its announcement whose it is, and no route; routers are told nothing.
const near = 6

// Near is the mark of an address that nobody routes.
func Near(asn uint32) Community { return Community{A: asn, B: near, C: 1, Large: true} }

// IsNear says that a mark tells so.
func IsNear(asn uint32, marks []Community) bool { return slices.Contains(marks, Near(asn)) }
