package spool

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

func fill(t *testing.T, l *Log, c *batch.Cutter, n int) {
	t.Helper()
	for i := range n {
		f := c.Take(nil, entry.Entry{Nanos: int64(i + 1), Line: fmt.Appendf(nil, "line %d %s", i+1, strings.Repeat("x", 1000))})
		if took, err := l.Append(f, false); err != nil || took != len(f) {
			t.Fatalf("took %d of %d: %v", took, len(f), err)
		}
	}
}

func open(t *testing.T, root string, policy route.OnFull) (*Store, *Log) {
	t.Helper()
	s, err := New(root, Limits{Whole: 1 << 30}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Open(route.Lane{Container: "c", SpoolMax: 1 << 20, OnFull: policy})
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

func TestATornTailIsCutAndTheNumbersGoOn(t *testing.T) {
	for name, tear := range map[string]func(b []byte) []byte{
		"the last bytes are missing": func(b []byte) []byte { return b[:len(b)-3] },
		"zeros follow":               func(b []byte) []byte { return append(b, make([]byte, 5000)...) },
		"a bit of it is wrong":       func(b []byte) []byte { b[len(b)-2] ^= 1; return b },
		"the head of a record":       func(b []byte) []byte { return append(b, 200, 0, 0, 0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			_, l := open(t, root, route.DropOldest)
			c := &batch.Cutter{Longest: 1 << 20}
			fill(t, l, c, 50)
			files, err := filepath.Glob(filepath.Join(root, "c", "*.seg"))
			if err != nil || len(files) != 1 {
				t.Fatal(files, err)
			}
			b, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], tear(b), 0o600); err != nil {
				t.Fatal(err)
			}
			_, l = open(t, root, route.DropOldest)
			kept := l.Tails()[0].Seq
			if kept < 49 || l.Size().Unsent != kept {
				t.Fatalf("%d lines are left, unsent %d", kept, l.Size().Unsent)
			}
			c.Resume(l.Tails())
			fill(t, l, c, 1)
			r := l.From(0)
			items, err := r.Next(nil)
			if err != nil || len(items) != int(kept)+1 || items[kept].Fragment.Seq != kept+1 {
				t.Fatalf("%d items, %v", len(items), err)
			}
		})
	}
}

func TestADamagedSegmentCostsOnlyItself(t *testing.T) {
	root := t.TempDir()
	s, l := open(t, root, route.DropOldest)
	c := &batch.Cutter{Longest: 1 << 20}
	fill(t, l, c, 400)
	files, err := filepath.Glob(filepath.Join(root, "c", "*.seg"))
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[1], b, 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.Send()
	seen := 0
	for {
		items, err := r.Next(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(items) == 0 {
			break
		}
		seen += len(items)
	}
	lost, _ := s.Dropped.Of(batch.Torn)
	if seen+int(lost) != 400 || lost == 0 {
		t.Fatalf("%d seen and %d counted as damaged of 400", seen, lost)
	}
}

func TestAFullSpool(t *testing.T) {
	for policy, want := range map[route.OnFull]struct{ first, last uint64 }{
		route.DropOldest: {0, 2000}, // the oldest went, the newest is there
		route.DropNewest: {1, 0},
	} {
		t.Run(string(policy), func(t *testing.T) {
			s, l := open(t, t.TempDir(), policy)
			fill(t, l, &batch.Cutter{Longest: 1 << 20}, 2000)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l.Size().Disk > 1<<20+1024 {
				t.Errorf("it takes %d bytes", l.Size().Disk)
			}
			var lines, gaps uint64
			first, last := uint64(0), uint64(0)
			r := l.From(0)
			for {
				items, err := r.Next(nil)
				if err != nil {
					t.Fatal(err)
				}
				if len(items) == 0 {
					break
				}
				for _, it := range items {
					if it.Gap != nil {
						n, _ := it.Gap.Total()
						gaps += n
						continue
					}
					lines++
					if first == 0 {
						first = it.Fragment.Seq
					}
					last = it.Fragment.Seq
				}
			}
			dropped, _ := s.Dropped.Total()
			if lines+gaps != 2000 || dropped != gaps || l.Size().Unsent != lines {
				t.Fatalf("%d lines, %d in gaps, %d counted, %d unsent", lines, gaps, dropped, l.Size().Unsent)
			}
			if want.first != 0 && first != want.first || want.last != 0 && last != want.last {
				t.Fatalf("lines %d to %d are there", first, last)
			}
		})
	}
}

func TestBlockTakesNoMoreThanThereIsRoomFor(t *testing.T) {
	_, l := open(t, t.TempDir(), route.Block)
	c := &batch.Cutter{Longest: 1 << 20}
	f := c.Take(nil, entry.Entry{Line: bytes.Repeat([]byte("x"), 60_000)})
	for range 100 {
		took, err := l.Append(f, false)
		if err != nil {
			t.Fatal(err)
		}
		if took == 0 {
			if n, err := l.Append(f, true); n != 1 || err != nil {
				t.Fatalf("in haste it took %d, %v", n, err)
			}
			return
		}
	}
	t.Fatal("it never was full")
}

func FuzzRecord(f *testing.F) {
	table := castagnoli()
	f.Add(appendFragment(nil, table, batch.Fragment{Seq: 3, Start: true, Text: []byte("hello")}))
	f.Add(appendGap(nil, table, batch.Gap{Reason: batch.Full}, [entry.Streams]batch.Tail{}))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		it, n, err := next(b, table)
		if err != nil {
			return
		}
		var again []byte
		if it.gap != nil {
			again = appendGap(nil, table, *it.gap, it.tails)
		} else {
			again = appendFragment(nil, table, it.fragment)
		}
		other, m, err := next(again, table)
		if err != nil || m != n || (other.gap == nil) != (it.gap == nil) || !bytes.Equal(other.fragment.Text, it.fragment.Text) || other.fragment.Seq != it.fragment.Seq {
			t.Fatalf("written again it reads %+v, %v; was %+v", other, err, it)
		}
	})
}

// FuzzSegment: whatever lies in the folder, opening gives a log that can be appended to and read.
func FuzzSegment(f *testing.F) {
	table := castagnoli()
	head := appendHead(nil, table, 0, 0, [entry.Streams]batch.Tail{})
	f.Add(appendFragment(bytes.Clone(head), table, batch.Fragment{Seq: 1, Start: true, Text: []byte("a")}))
	f.Add(append(bytes.Clone(head), 9, 9, 9))
	f.Add([]byte("rollog01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "c"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segmentPath(filepath.Join(root, "c"), 0, false), b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, l := open(t, root, route.DropOldest)
		c := batch.Cutter{Longest: 1 << 20}
		c.Resume(l.Tails())
		if _, err := l.Append(c.Take(nil, entry.Entry{Line: []byte("after")}), false); err != nil {
			t.Fatal(err)
		}
		r := l.From(0)
		found := false
		for range 100 {
			items, err := r.Next(nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range items {
				found = found || it.Gap == nil && string(it.Fragment.Text) == "after"
			}
			if len(items) == 0 {
				break
			}
		}
		if !found {
			t.Fatal("what was appended cannot be read")
		}
		if err := errors.Join(r.Close(), l.file.Close(), l.cursorFile.Close()); err != nil { // without the disk's pace
			t.Fatal(err)
		}
	})
}
