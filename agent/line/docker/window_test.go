package docker

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/internal/wire"
)

// frames writes a log as the engine does: "o" or "e" and the text.
func frames(pieces ...string) []byte {
	var all []byte
	for _, p := range pieces {
		head := make([]byte, 8)
		head[0] = map[byte]byte{'o': 1, 'e': 2}[p[0]]
		binary.BigEndian.PutUint32(head[4:], uint32(len(p)-1))
		all = append(append(all, head...), p[1:]...)
	}
	return all
}

func TestTheLastLinesAreKept(t *testing.T) {
	long := strings.Repeat("x", wire.MaxLineBytes)
	for _, c := range []struct {
		name     string
		log      []byte
		terminal bool
		n        int
		want     string
		cut      bool
	}{
		{"both streams, as they came", frames("oone\n", "etwo\n", "othree\n"), false, 9, "one|two|three", false},
		{"no more than asked", frames("oone\ntwo\nthree\n"), false, 2, "two|three", false},
		{"pieces of a line", frames("oon", "etwo\n", "oe\n"), false, 9, "two|one", false},
		{"a last line without an end", frames("oone\ntwo"), false, 9, "one|two", false},
		{"empty lines count", frames("o\n\na\n"), false, 9, "||a", false},
		{"a terminal's plain text", []byte("one\r\ntwo\r\n"), true, 9, "one|two", false},
		{"what is no UTF-8", frames("oa\xffb\n"), false, 9, "a\uFFFDb", false},
		{"a line that is too long", frames("o" + long + "y\nz\n"), false, 9, long + "|z", true},
		{"nothing", nil, false, 9, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(bytes.NewReader(c.log), c.terminal, c.n)
			if err != nil {
				t.Fatal(err)
			}
			if text := strings.Join(got.Lines, "|"); text != c.want || got.Cut != c.cut {
				t.Errorf("got %.80q, cut %t", text, got.Cut)
			}
		})
	}
}

func TestALogOfAnySizeIsBounded(t *testing.T) {
	line := "o" + strings.Repeat("x", 1<<20)
	var log []byte
	for range 70 {
		log = append(log, frames(line+"\n")...)
	}
	got, err := read(bytes.NewReader(log), false, wire.MaxLines)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, l := range got.Lines {
		size += len(l)
	}
	if size > wire.MaxBytes || size < wire.MaxBytes/2 || !got.Cut {
		t.Errorf("%d bytes, cut %t", size, got.Cut)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(frames("oone\n", "etwo"), false)
	f.Add([]byte("x\r\ny"), true)
	f.Fuzz(func(t *testing.T, log []byte, terminal bool) {
		got, _ := read(bytes.NewReader(log), terminal, 3) // a broken frame is an error
		if len(got.Lines) > 3 {
			t.Errorf("%d lines", len(got.Lines))
		}
		for _, l := range got.Lines {
			if len(l) > 3*wire.MaxLineBytes || strings.Contains(l, "\n") {
				t.Errorf("line %q", l)
			}
		}
	})
}
