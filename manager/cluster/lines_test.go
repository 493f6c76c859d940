package cluster

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func frame(stream byte, text string) string {
	head := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return string(head) + text
}

func TestReadLines(t *testing.T) {
	const first, second = "2026-01-02T03:04:05.000000001Z ", "2026-01-02T03:04:05.000000002Z "
	for _, c := range []struct {
		name, stream string
		want         []string
	}{
		{"two streams are put in the order of time", frame(1, second+"later\n") + frame(2, first+"sooner\n"), []string{"sooner", "later"}},
		{"lines of one moment stay as they came", frame(1, first+"a\n"+first+"b\n"), []string{"a", "b"}},
		{"a terminal's stream has no frames", first + "a\r\n" + second + "b\r\n", []string{"a", "b"}},
		{"a line without a time is kept whole", frame(1, "no time here\n"), []string{"no time here"}},
		{"what is cut off is left out", frame(1, first+"a\n") + "\x01\x00\x00\x00\x00\x00\x00\x40half", []string{"a"}},
		{"nothing", "", nil},
	} {
		if got, _ := readLines(strings.NewReader(c.stream)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzReadLines(f *testing.F) {
	f.Add(frame(1, "2026-01-02T03:04:05.000000001Z a\n"))
	f.Add("plain\r\n")
	f.Fuzz(func(t *testing.T, stream string) {
		lines, _ := readLines(strings.NewReader(stream))
		if n := strings.Count(stream, "\n"); len(lines) > n+1+len(stream)/8 {
			t.Errorf("%d lines of %d", len(lines), n)
		}
	})
}
