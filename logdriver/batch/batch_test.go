package batch

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/logdriver/entry"
)

func complete(of entry.Stream, text string) entry.Entry {
	return entry.Entry{Stream: of, Nanos: 1, Line: []byte(text)}
}

func piece(of entry.Stream, ordinal int32, last bool, text string) entry.Entry {
	return entry.Entry{Stream: of, Nanos: 1, Line: []byte(text), Partial: true, Ordinal: ordinal, Last: last}
}

// told cuts, joins again, and tells each line as `stream number text`.
func told(c *Cutter, settle bool, entries ...entry.Entry) []string {
	var fragments []Fragment
	for _, e := range entries {
		fragments = c.Take(fragments, e)
	}
	if settle {
		fragments = c.Settle(fragments)
	} else {
		fragments = c.End(fragments)
	}
	var j Joiner
	var lines []string
	for i, f := range fragments {
		if l, ok := j.Add(f, int64(i)); ok {
			text := fmt.Sprintf("%s %d %q", l.Stream, l.Seq, l.Text)
			if l.Continued {
				text += " continued"
			}
			lines = append(lines, text)
		}
	}
	return lines
}

func TestLinesAreNumberedJoinedAndCut(t *testing.T) {
	const out, err = entry.Stdout, entry.Stderr
	stack := regexp.MustCompile(`^\S`)
	for name, c := range map[string]struct {
		longest int
		begins  *regexp.Regexp
		settle  bool
		entries []entry.Entry
		want    []string
	}{
		"each stream has its own numbers":                  {100, nil, false, []entry.Entry{complete(out, "a"), complete(err, "b"), complete(out, "c")}, []string{`stdout 1 "a"`, `stderr 1 "b"`, `stdout 2 "c"`}},
		"pieces become one line":                           {100, nil, false, []entry.Entry{piece(out, 1, false, "a"), piece(out, 2, false, "b"), piece(out, 3, true, "c"), complete(out, "d")}, []string{`stdout 1 "abc"`, `stdout 2 "d"`}},
		"streams whose pieces come in turn are kept apart": {100, nil, false, []entry.Entry{piece(out, 1, false, "a"), piece(err, 1, false, "x"), piece(out, 2, true, "b"), piece(err, 2, true, "y")}, []string{`stdout 1 "ab"`, `stderr 1 "xy"`}},
		"a last line without a newline is ended":           {100, nil, false, []entry.Entry{piece(out, 1, false, "a"), piece(out, 2, false, "b")}, []string{`stdout 1 "ab"`}},
		"a line whose last piece never comes ends":         {100, nil, false, []entry.Entry{piece(out, 1, false, "a"), complete(out, "b")}, []string{`stdout 1 "a"`, `stdout 2 "b"`}},
		"an empty line is a line":                          {100, nil, false, []entry.Entry{complete(out, "")}, []string{`stdout 1 ""`}},
		"a long line is cut between characters":            {4, nil, false, []entry.Entry{complete(out, "abc日d")}, []string{`stdout 1 "abc" continued`, `stdout 2 "日d"`}},
		"a line of just the length is not cut":             {4, nil, false, []entry.Entry{complete(out, "abcd"), complete(out, "e")}, []string{`stdout 1 "abcd"`, `stdout 2 "e"`}},
		"a long line of pieces is cut":                     {4, nil, false, []entry.Entry{piece(out, 1, false, "abc"), piece(out, 2, true, "defgh")}, []string{`stdout 1 "abcd" continued`, `stdout 2 "efgh"`}},
		"events of several lines":                          {100, stack, false, []entry.Entry{complete(out, "E1"), complete(out, " at a"), complete(out, " at b"), complete(out, "E2")}, []string{`stdout 1 "E1\n at a\n at b"`, `stdout 2 "E2"`}},
		"an event ends when nothing comes":                 {100, stack, true, []entry.Entry{complete(out, "E1"), complete(out, " at a")}, []string{`stdout 1 "E1\n at a"`}},
		"an event is not longer than a line may be":        {8, stack, false, []entry.Entry{complete(out, "E1"), complete(out, " at a"), complete(out, " at b")}, []string{`stdout 1 "E1\n at a"`, `stdout 2 " at b"`}},
		"a piece within an event":                          {100, stack, false, []entry.Entry{complete(out, "E1"), piece(out, 1, false, " at"), piece(out, 2, true, " a"), complete(out, " b")}, []string{`stdout 1 "E1\n at a\n b"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := told(&Cutter{Longest: c.longest, Begins: c.begins}, c.settle, c.entries...)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestACutterGoesOnWhereTheSpoolEnds(t *testing.T) {
	first := &Cutter{Longest: 100}
	fragments := first.Take(nil, complete(entry.Stdout, "a"))
	fragments = first.Take(fragments, piece(entry.Stdout, 1, false, "b"))
	var tails [entry.Streams]Tail
	for _, f := range fragments {
		tails[f.Stream] = tails[f.Stream].After(f)
	}
	second := &Cutter{Longest: 100}
	second.Resume(tails)
	fragments = second.Take(fragments, piece(entry.Stdout, 2, true, "c"))
	var j Joiner
	var last Line
	for i, f := range fragments {
		if l, ok := j.Add(f, int64(i)); ok {
			last = l
		}
	}
	if last.Seq != 2 || string(last.Text) != "bc" || last.Cut {
		t.Fatalf("got %+v", last)
	}
}

// TestTheCursorPassesNothingThatIsNotThere: whatever comes back, and in whichever order it lands.
func TestTheCursorPassesNothingThatIsNotThere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := NewWindow(Cursor{})
		arrived := map[uint64]bool{}
		passed := uint64(0)
		for next := uint64(1); next <= 60; {
			n := uint64(rapid.IntRange(1, 8).Draw(rt, "lines"))
			type ticket struct{ seq, ticket uint64 }
			var out []ticket
			for seq := next; seq < next+n; seq++ {
				l := Line{Seq: seq, Text: []byte("x")}
				if w.Arrived(l) {
					if !arrived[seq] {
						rt.Fatalf("line %d has not arrived", seq)
					}
					continue
				}
				if arrived[seq] {
					rt.Fatalf("line %d is sent twice", seq)
				}
				out = append(out, ticket{seq, w.Sent(l, int64(seq))})
			}
			for _, at := range rapid.Permutation(out).Draw(rt, "order") {
				ok := rapid.IntRange(0, 4).Draw(rt, "ok") > 0
				arrived[at.seq] = arrived[at.seq] || ok
				w.Done(at.ticket, ok)
				for seq := uint64(1); seq <= w.Cursor().Seq[0]; seq++ {
					if !arrived[seq] {
						rt.Fatalf("the cursor passed line %d", seq)
					}
				}
			}
			if w.Open() != 0 {
				rt.Fatalf("%d are on their way", w.Open())
			}
			if next += n; w.Failed() {
				w.Rewind()
				next = w.Cursor().Seq[0] + 1
			}
			lines, _ := w.Passed()
			passed += lines
		}
		if int(passed) != len(arrivedOnly(arrived)) {
			rt.Fatalf("%d lines were counted, %d arrived", passed, len(arrivedOnly(arrived)))
		}
	})
}

func arrivedOnly(m map[uint64]bool) (all []uint64) {
	for seq, ok := range m {
		if ok {
			all = append(all, seq)
		}
	}
	return all
}

func TestAGapSaysWhatIsMissing(t *testing.T) {
	var g, later Gap
	g.Reason = Full
	g.Add(Fragment{Seq: 5, Start: true, More: true, Nanos: 1e9, Text: []byte("abc")})
	if len(g.Markers()) != 0 {
		t.Fatal("only a beginning is gone: the line itself says so")
	}
	g.Add(Fragment{Seq: 5, Nanos: 1e9, Text: []byte("de")})
	later.Add(Fragment{Seq: 6, Start: true, Nanos: 2e9, Text: []byte("f")})
	later.Add(Fragment{Stream: entry.Stderr, Seq: 1, Start: true, Nanos: 3e9})
	g.Join(later)
	m := g.Markers()
	if len(m) != 2 || m[0].First != 5 || m[0].Seq != 6 || m[1].Stream != entry.Stderr || m[1].Seq != 1 {
		t.Fatalf("got %+v", m)
	}
	want := "rolling/log: 2 lines, 6 bytes dropped (spool-full): numbers 5..6, from 1970-01-01T00:00:01Z to 1970-01-01T00:00:02Z"
	if string(m[0].Text) != want {
		t.Fatalf("got %s", m[0].Text)
	}
}
