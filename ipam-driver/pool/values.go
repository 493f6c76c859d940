package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// name accepts what a label, a file name and a metric can all carry.
func name(value string) (string, error) {
	if value == "" || len(value) > 63 {
		return "", errors.New("want 1 to 63 letters, digits, '-', '_' or '.'")
	}
	for _, r := range value {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune("-_.", r) {
			return "", fmt.Errorf("%q is not allowed: want letters, digits, '-', '_' or '.'", r)
		}
	}
	return value, nil
}

func blockLength(value string, subnet netip.Prefix) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(value, "/"))
	if err != nil || n < subnet.Bits() || n > 32 {
		return 0, fmt.Errorf("want the length of a block, from %d (the subnet itself) to 32", subnet.Bits())
	}
	return n, nil
}

func quota(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 1<<24 {
		return 0, errors.New("want a number of addresses, 1 or more")
	}
	return n, nil
}

// span reads A-B, one address, or a prefix.
func span(value string, subnet netip.Prefix) (Span, error) {
	form := fmt.Errorf("want FIRST-LAST inside %s, as %s-%s", subnet, subnet.Addr(), lastOf(subnet))
	first, last, isPair := strings.Cut(value, "-")
	s := Span{}
	if prefix, err := netip.ParsePrefix(value); err == nil && prefix.Addr().Is4() {
		s = prefixSpan(prefix.Masked())
	} else {
		if !isPair {
			last = first
		}
		a, errA := netip.ParseAddr(strings.TrimSpace(first))
		b, errB := netip.ParseAddr(strings.TrimSpace(last))
		if errA != nil || errB != nil {
			return Span{}, form
		}
		s = Span{a, b}
	}
	if !subnet.Contains(s.First) || !subnet.Contains(s.Last) || s.Last.Less(s.First) {
		return Span{}, form
	}
	return s, nil
}

func quarantine(value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longestQuarantine {
		return 0, fmt.Errorf("want a time from 0s to %s, as 60s", longestQuarantine)
	}
	return d.Truncate(time.Millisecond), nil
}

func router(value string, subnet netip.Prefix) (netip.Addr, error) {
	a, err := netip.ParseAddr(value)
	if err != nil || !subnet.Contains(a) {
		return netip.Addr{}, fmt.Errorf("want the router's address inside %s; leave it out on a routed network", subnet)
	}
	return a, nil
}

func prefixSpan(p netip.Prefix) Span { return Span{p.Addr(), lastOf(p)} }

func lastOf(p netip.Prefix) netip.Addr {
	return fromNumber(number(p.Addr()) | ^uint32(0)>>p.Bits())
}

// number is the address as the integer that intervals count in.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func fromNumber(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
