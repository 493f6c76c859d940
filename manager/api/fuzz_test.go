package api

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"unix:///run/rolling/rolling.sock", "127.0.0.1:2400", "http://[::1]:1/", ":80", "localhost:0", "/x", "http://127.0.0.1:2400:1", "[::1%lo]:3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %v, and that again %v (%v)", s, a, again, err)
		}
		if a.Network == "tcp" {
			at, err := netip.ParseAddrPort(a.Path)
			if err != nil || !at.Addr().IsLoopback() {
				t.Errorf("%q would be served on %s", s, a.Path)
			}
		} else if len(a.Path) > longestSocket || a.Path[0] != '/' {
			t.Errorf("%q would be the socket %q", s, a.Path)
		}
	})
}

func FuzzLoopbackHost(f *testing.F) {
	for _, s := range []string{"localhost", "127.0.0.1:80", "[::1]", "[::1]:80", "evil.example", "127.0.0.1.evil.example", "localhost.", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !loopbackHost(host) {
			return
		}
		name := host
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
		ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
		if name != "localhost" && (err != nil || !ip.IsLoopback()) {
			t.Errorf("%q counts as this machine", host)
		}
	})
}

func FuzzReadCursor(f *testing.F) {
	for _, s := range []string{"", writeCursor("orders"), "djEg", "!!", strings.Repeat("A", 2000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := readCursor(s)
		if err == nil && s != "" && writeCursor(key) != s {
			t.Errorf("%q is read as %q, which is written as %q", s, key, writeCursor(key))
		}
	})
}

func FuzzIfVersion(f *testing.F) {
	f.Add(`"7"`, "")
	f.Add("", "*")
	f.Add(`"18446744073709551616"`, "")
	f.Fuzz(func(t *testing.T, match, noneMatch string) {
		version, err := ifVersion(match, noneMatch)
		switch {
		case err != nil && version != nil:
			t.Errorf("both %d and %v", *version, err)
		case err == nil && version == nil && match+noneMatch != "":
			t.Errorf("%q and %q count as nothing", match, noneMatch)
		case version != nil && *version != 0 && etag(*version) != match:
			t.Errorf("%q is read as %d", match, *version)
		}
	})
}

func FuzzReadEventID(f *testing.F) {
	for _, s := range []string{"", "0", "7", "-1", "007", "18446744073709551615", "18446744073709551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		since, given, err := readEventID(s)
		if err == nil && given && fmt.Sprint(since) != s || given != (s != "" && err == nil) {
			t.Errorf("%q is read as %d, %v, %v", s, since, given, err)
		}
	})
}

func FuzzNameIn(f *testing.F) {
	for _, s := range []string{"x-rolling: {project: orders}", "x-rolling: orders", "- a", "", "x-rolling: &a {project: *a}", "a: &a [*a]\nx-rolling: *a", "x-rolling:\n  project: [a]", "x-rolling: {project: {a: b}}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, file []byte) { NameIn(file) })
}

// TestPagesTogetherAreTheList walks through lists of every length by pages of every size, in both orders.
func TestPagesTogetherAreTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9.-]{1,8}`), 0, 30, rapid.ID[string]).Draw(t, "list")
		newestFirst := rapid.Bool().Draw(t, "newest first")
		p := Paging{Limit: rapid.IntRange(1, 35).Draw(t, "limit")}
		var walked []string
		for range len(all) + 1 {
			list, err := page(all, p, newestFirst, func(s string) string { return s })
			if err != nil {
				t.Fatal(err)
			}
			if len(list.Items) > p.Limit {
				t.Fatalf("%d entries on a page of %d", len(list.Items), p.Limit)
			}
			walked = append(walked, list.Items...)
			if p.Cursor = list.NextCursor; p.Cursor == "" {
				break
			}
		}
		want := slices.Sorted(slices.Values(all))
		if newestFirst {
			slices.Reverse(want)
		}
		if !slices.Equal(walked, want) {
			t.Fatalf("walked %q, want %q", walked, want)
		}
	})
}

func at(second int) time.Time { return time.Unix(int64(second), 0) }

func TestKeptAnswersAreBounded(t *testing.T) {
	k := keptAnswers{limit: 3}
	var asked [32]byte
	for i := range 10 {
		key := fmt.Sprint(i)
		if _, fresh := k.take(key, asked, at(i)); !fresh {
			t.Fatalf("%s is there already", key)
		}
		k.settle(key, &keptAnswer{status: 200})
		if len(k.kept) > 3 {
			t.Fatalf("%d answers are kept", len(k.kept))
		}
	}
	if _, fresh := k.take("9", asked, at(9)); fresh {
		t.Error("the newest is forgotten")
	}
	if _, fresh := k.take("9", asked, at(9).Add(keepFor)); !fresh {
		t.Error("an answer is kept for longer than a day")
	}
}
