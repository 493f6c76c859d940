package spool

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/logdriver/batch"
	"github.com/rolling-swarm/rolling/logdriver/entry"
	"github.com/rolling-swarm/rolling/logdriver/route"
)

// world is a spool with a container that writes into it and a Kafka that takes from it; both are only numbers.
type world struct {
	t      *rapid.T
	root   string
	whole  int64
	lane   route.Lane
	store  *Store
	log    *Log
	random *rand.Rand
	cutter batch.Cutter
	open   [entry.Streams]bool // the container is within a line

	reader *Reader
	joiner batch.Joiner
	window *batch.Window

	read    [entry.Streams]uint64          // lines that ended
	got     [entry.Streams]map[uint64]int  // by number: how often Kafka has it
	covered [entry.Streams]map[uint64]bool // numbers that a marker stands for
	dropped uint64                         // by earlier processes
	again   bool                           // something may be in Kafka twice: a process died between sending and noting
}

func newWorld(t *rapid.T, root string) *world {
	w := &world{
		t: t, root: root, whole: 1 << 30,
		lane: route.Lane{
			Container: "c", MaxLine: 4096, SpoolMax: 1 << 20,
			OnFull: rapid.SampledFrom([]route.OnFull{route.DropOldest, route.DropNewest, route.Block}).Draw(t, "policy"),
		},
	}
	seed := rapid.Uint64().Draw(t, "seed")
	w.random = rand.New(rand.NewPCG(seed, seed))
	for i := range w.got {
		w.got[i], w.covered[i] = map[uint64]int{}, map[uint64]bool{}
	}
	w.boot()
	return w
}

// boot is a new process on the same disk; the old one was killed if it had not closed.
func (w *world) boot() {
	if w.store != nil {
		lines, _ := w.store.Dropped.Total()
		w.dropped += lines
	}
	var err error
	if w.store, err = New(w.root, Limits{Whole: w.whole}, slog.New(slog.DiscardHandler)); err != nil {
		w.t.Fatal(err)
	}
	if w.log, err = w.store.Open(w.lane); err != nil {
		w.t.Fatal(err)
	}
	for i, got := range w.got {
		for n := range got {
			w.again = w.again || n > w.log.Cursor().Seq[i] // it overtook one that came back; only the old process knew
		}
	}
	w.cutter = batch.Cutter{Longest: w.lane.MaxLine}
	w.cutter.Resume(w.log.Tails())
	w.restartSender()
	w.window = batch.NewWindow(w.log.Cursor())
}

func (w *world) restartSender() {
	w.reader, w.joiner = w.log.Send(), batch.Joiner{}
}

// draw gives 0 to n-1. One seed a run: a choice of rapid's for each line would take minutes.
func (w *world) draw(n int) int { return w.random.IntN(n) }

func (w *world) append(stopping bool) {
	var fragments []batch.Fragment
	for range 1 + w.draw(40) {
		of := entry.Stream(w.draw(2))
		e := entry.Entry{Stream: of, Nanos: int64(w.read[of] + 1), Line: bytes.Repeat([]byte("x"), w.draw(6000))}
		if w.draw(4) == 0 {
			e.Partial, e.Ordinal, e.Last = true, 2, w.draw(2) == 0
			if !w.open[of] {
				e.Ordinal, e.Last = 1, false
			}
		}
		w.open[of] = e.Partial && !e.Last
		fragments = w.cutter.Take(fragments, e)
	}
	if stopping {
		fragments = w.cutter.End(fragments)
		w.open = [entry.Streams]bool{}
	}
	for len(fragments) > 0 {
		took, err := w.log.Append(fragments, stopping)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range fragments[:took] {
			if !f.More {
				w.read[f.Stream]++
			}
		}
		if fragments = fragments[took:]; len(fragments) > 0 {
			w.send(false) // the container waits until Kafka has something
		}
	}
}

// send takes a block to Kafka. In disorder some lines come back, and the cursor may not be noted.
func (w *world) send(disorder bool) {
	items, err := w.reader.Next(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	var tickets []uint64
	var lines []batch.Line
	put := func(l batch.Line, to int64) {
		if !w.window.Arrived(l) {
			tickets = append(tickets, w.window.Sent(l, w.joiner.Oldest(to)))
			lines = append(lines, l)
		}
	}
	for _, it := range items {
		if it.Gap != nil {
			w.joiner.Forget(*it.Gap)
			for i, m := range it.Gap.Markers() {
				put(m, it.After(i))
			}
		} else if l, ok := w.joiner.Add(it.Fragment, it.From); ok {
			put(l, it.To)
		}
	}
	for i, l := range lines {
		ok := !disorder || w.draw(200) > 0
		if ok {
			w.arrive(l)
		}
		w.window.Done(tickets[i], ok)
	}
	if w.window.Failed() {
		w.window.Rewind()
		w.restartSender()
	} else if len(items) == 0 {
		w.window.Skipped(w.joiner.Oldest(w.reader.Pos()))
	}
	if disorder && w.draw(20) == 0 {
		w.again = true
		return
	}
	passed, _ := w.window.Passed()
	if err := w.log.Acknowledge(w.window.Cursor(), passed); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) arrive(l batch.Line) {
	if l.First != 0 {
		for n := l.First; n <= l.Seq; n++ {
			w.covered[l.Stream][n] = true
		}
		return
	}
	w.got[l.Stream][l.Seq]++
}

func (w *world) end() {
	w.append(true)
	for range 10000 {
		if w.log.Drained() {
			break
		}
		_ = w.log.Settle()
		w.send(false)
	}
	if !w.log.Drained() {
		w.t.Fatalf("not drained: %+v, cursor %+v", w.log.Size(), w.log.Cursor())
	}
	sent := uint64(0)
	for i := range w.read {
		for n := uint64(1); n <= w.read[i]; n++ {
			switch times := w.got[i][n]; {
			case times == 0 && !w.covered[i][n]:
				w.t.Fatalf("line %d of stream %d is neither in Kafka nor in a marker", n, i)
			case times > 1 && !w.again:
				w.t.Fatalf("line %d of stream %d is in Kafka %d times", n, i, times)
			case times > 0:
				sent++
			}
		}
		if len(w.got[i]) > int(w.read[i]) {
			w.t.Fatalf("stream %d: %d numbers in Kafka, %d were read", i, len(w.got[i]), w.read[i])
		}
	}
	lines, _ := w.store.Dropped.Total()
	if read := w.read[0] + w.read[1]; read != sent+w.dropped+lines && !w.again {
		w.t.Fatalf("%d lines were read: %d sent and %d dropped make %d", read, sent, w.dropped+lines, sent+w.dropped+lines)
	}
	if size := w.log.Size(); size.Unsent != 0 && !w.again {
		w.t.Fatalf("nothing is unsent, but the count says %d", size.Unsent)
	}
}

// TestReadIsSentOrSpooledOrDropped: over any interleaving of writing, sending, failing, dropping and dying.
func TestReadIsSentOrSpooledOrDropped(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		root := t.TempDir()
		w := newWorld(rt, root)
		rt.Repeat(map[string]func(*rapid.T){
			"append":       func(*rapid.T) { w.append(false) },
			"append again": func(*rapid.T) { w.append(false) },
			"stop":         func(*rapid.T) { w.append(true) },
			"send":         func(*rapid.T) { w.send(true) },
			"die":          func(*rapid.T) { w.boot() },
			"close": func(rt *rapid.T) {
				if err := w.log.Close(); err != nil {
					rt.Fatal(err)
				}
				w.boot()
			},
			"trim": func(rt *rapid.T) {
				if err := errors.Join(w.log.Trim(100<<10), w.log.Settle(), w.log.Sync()); err != nil {
					rt.Fatal(err)
				}
			},
			"drop": func(rt *rapid.T) {
				if _, err := w.log.DropOldest(batch.Full); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				if held := w.log.Size().Disk; held > w.lane.SpoolMax+4096 {
					rt.Fatalf("the log takes %d bytes, its bound is %d", held, w.lane.SpoolMax)
				}
				if total := w.store.Total(); total != w.log.Size().Disk {
					rt.Fatalf("the store counts %d bytes, the log has %d", total, w.log.Size().Disk)
				}
			},
		})
		w.end()
	})
}
