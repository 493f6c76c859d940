package bgp

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestRoutesOfALullStayUntilAllHadTheTimeToSpeak(t *testing.T) {
	begun := time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	one, two := netip.MustParsePrefix("10.201.1.1/32"), netip.MustParsePrefix("10.201.2.1/32")
	l := newLull()
	l.keep(one, loop(1))
	l.keep(two, loop(2))
	for _, s := range []struct {
		second int
		up     bool
		want   []netip.Prefix
	}{
		{0, false, nil}, {3600, false, nil}, // an hour without anybody
		{3601, true, nil}, {3620, true, nil},
		{3621, false, nil}, // and again
		{3700, true, nil}, {3729, true, nil}, {3730, true, []netip.Prefix{two}}, {3731, true, nil},
	} {
		if s.second == 3620 {
			l.told(one)
		}
		if got := l.over(at(s.second), s.up); !slices.Equal(got, s.want) {
			t.Errorf("after %d s: %v, want %v", s.second, got, s.want)
		}
	}
	l.keep(one, loop(1))
	l.keep(two, loop(2))
	if got := l.lose(loop(1)); !slices.Equal(got, []netip.Prefix{one}) || len(l.kept) != 1 {
		t.Errorf("a node that is lost takes %v; kept are %v", got, l.kept)
	}
}
