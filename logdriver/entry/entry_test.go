package entry

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// engine encodes as the engine does, by the protobuf library: metadata with its ID, attributes last.
func engine(source string, nanos int64, line string, partial, last bool, id string, ordinal int32) []byte {
	var b []byte
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, source)
	b = protowire.AppendTag(b, 2, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(nanos))
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	b = protowire.AppendString(b, line)
	if partial {
		b = protowire.AppendTag(b, 4, protowire.VarintType)
		b = protowire.AppendVarint(b, 1)
		var m []byte
		if last {
			m = protowire.AppendTag(m, 1, protowire.VarintType)
			m = protowire.AppendVarint(m, 1)
		}
		m = protowire.AppendTag(m, 2, protowire.BytesType)
		m = protowire.AppendString(m, id)
		m = protowire.AppendTag(m, 3, protowire.VarintType)
		m = protowire.AppendVarint(m, uint64(ordinal))
		b = protowire.AppendTag(b, 5, protowire.BytesType)
		b = protowire.AppendBytes(b, m)
	}
	b = protowire.AppendTag(b, 6, protowire.BytesType)
	b = protowire.AppendBytes(b, []byte("\x0a\x01k\x12\x01v"))
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// oracle decodes a body by the protobuf library.
func oracle(b []byte) (e Entry, ok bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return e, false
		}
		size := protowire.ConsumeFieldValue(num, typ, b[n:])
		if size < 0 || typ == protowire.StartGroupType {
			return e, false
		}
		value := b[n : n+size]
		b = b[n+size:]
		switch {
		case num == 1 && typ == protowire.BytesType:
			s, _ := protowire.ConsumeBytes(value)
			if string(s) != "stdout" && string(s) != "stderr" {
				return e, false
			}
			e.Stream = Stdout
			if string(s) == "stderr" {
				e.Stream = Stderr
			}
		case num == 2 && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			e.Nanos = int64(v)
		case num == 3 && typ == protowire.BytesType:
			e.Line, _ = protowire.ConsumeBytes(value)
		case num == 4 && typ == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(value)
			e.Partial = v != 0
		case num == 5 && typ == protowire.BytesType:
			m, _ := protowire.ConsumeBytes(value)
			for len(m) > 0 {
				num, typ, n := protowire.ConsumeTag(m)
				if n < 0 {
					return e, false
				}
				size := protowire.ConsumeFieldValue(num, typ, m[n:])
				if size < 0 || typ == protowire.StartGroupType {
					return e, false
				}
				v, _ := protowire.ConsumeVarint(m[n:])
				m = m[n+size:]
				if num == 1 && typ == protowire.VarintType {
					e.Last = v != 0
				}
				if num == 3 && typ == protowire.VarintType {
					e.Ordinal = int32(v)
				}
			}
		}
	}
	return e, true
}

func same(a, b Entry) bool {
	return a.Stream == b.Stream && a.Nanos == b.Nanos && bytes.Equal(a.Line, b.Line) && a.Partial == b.Partial && a.Last == b.Last && a.Ordinal == b.Ordinal
}

func TestFramesOfTheEngineAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		frame []byte
		want  Entry
	}{
		"a whole line":           {engine("stdout", 17, "hello", false, false, "", 0), Entry{Stream: Stdout, Nanos: 17, Line: []byte("hello")}},
		"an empty line":          {engine("stderr", 1<<62, "", false, false, "", 0), Entry{Stream: Stderr, Nanos: 1 << 62}},
		"a piece of a line":      {engine("stdout", 5, strings.Repeat("x", 16384), true, false, "ab", 1), Entry{Stream: Stdout, Nanos: 5, Line: bytes.Repeat([]byte("x"), 16384), Partial: true, Ordinal: 1}},
		"a line's last piece":    {engine("stdout", 5, "end", true, true, "ab", 4), Entry{Stream: Stdout, Nanos: 5, Line: []byte("end"), Partial: true, Last: true, Ordinal: 4}},
		"a time before 1970":     {engine("stdout", -1, "old", false, false, "", 0), Entry{Stream: Stdout, Nanos: -1, Line: []byte("old")}},
		"bytes that are no text": {engine("stdout", 1, "\x00\xff\n", false, false, "", 0), Entry{Stream: Stdout, Nanos: 1, Line: []byte("\x00\xff\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, n, err := Next(append(c.frame, "rest"...))
			if err != nil || n != len(c.frame) || !same(got, c.want) {
				t.Fatalf("got %+v, %d, %v", got, n, err)
			}
			for cut := range c.frame {
				if _, _, err := Next(c.frame[:cut]); !errors.Is(err, ErrShort) {
					t.Fatalf("the first %d of %d bytes: got %v, want ErrShort", cut, len(c.frame), err)
				}
			}
			again, n, err := Next(Append(nil, got))
			if err != nil || n == 0 || !same(again, c.want) {
				t.Fatalf("encoded and decoded: %+v, %v", again, err)
			}
		})
	}
}

func TestRubbishCostsOnlyItself(t *testing.T) {
	good := engine("stderr", 9, "after", false, false, "", 0)
	for name, rubbish := range map[string]string{
		"zeros":                   strings.Repeat("\x00", 9),
		"text":                    "this is no frame at all, whatever it is",
		"a size above all bounds": "\xff\xff\xff\xff",
		"a frame without a head":  string(engine("stdout", 9, "lost", false, false, "", 0)[7:]),
		"a broken body":           "\x00\x00\x00\x0c\x0a\x06stdout\x12\xff\xff\xff",
		"another stream":          "\x00\x00\x00\x08\x0a\x06stdxxx",
	} {
		t.Run(name, func(t *testing.T) {
			b := append([]byte(rubbish), good...)
			for steps := 0; ; steps++ {
				e, _, err := Next(b)
				if err == nil {
					if string(e.Line) != "after" {
						t.Fatalf("got the line %q", e.Line)
					}
					return
				}
				if !errors.Is(err, ErrFrame) || steps > len(rubbish) {
					t.Fatalf("after %d steps: %v", steps, err)
				}
				b = b[Resync(b):]
			}
		})
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(engine("stdout", 1, "hello", true, true, "id", 2))
	f.Add(engine("stderr", -5, "", false, false, "", 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, n, err := Next(b)
		if err != nil {
			if errors.Is(err, ErrFrame) && len(b) > 0 {
				if skip := Resync(b); skip < 1 || skip > len(b) {
					t.Fatalf("resync by %d of %d bytes", skip, len(b))
				}
			}
			return
		}
		want, ok := oracle(b[4:n])
		if !ok || !same(e, want) {
			t.Fatalf("got %+v, the protobuf library says %+v, %v", e, want, ok)
		}
		if again, _, err := Next(Append(nil, e)); err != nil || again.Nanos != e.Nanos || !bytes.Equal(again.Line, e.Line) {
			t.Fatalf("encoded and decoded: %+v, %v", again, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, size := range map[string]int{"200B": 200, "1kB": 1000} {
		b.Run(name, func(b *testing.B) {
			frame := engine("stdout", 1700000000000000000, strings.Repeat("x", size), false, false, "", 0)
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, _, err := Next(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
