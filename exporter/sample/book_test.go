package sample

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/exporter/naming"
)

func at(second int) time.Time { return time.Unix(int64(1_700_000_000+second), 0) }

func task(id, slot, task string, created int) Container {
	c := NewContainer("dc", id, naming.Name{Project: "orders", Environment: "production", Service: "web", Slot: slot, Task: task, Node: "n1"})
	c.Created, c.Started = at(created), at(created)
	return c
}

func cpu(second int, nanoseconds uint64) *Reading {
	r := &Reading{At: at(second)}
	r.Counts[CPU] = nanoseconds
	return r
}

func measured(c Container, r *Reading) Measured { return Measured{c, r} }

// told writes what a round told: id, own CPU, slot's CPU, whether newest, cores, restarts of the slot.
func told(samples []Sample) string {
	var b strings.Builder
	for _, s := range samples {
		cores := "-"
		if s.HasCores {
			cores = fmt.Sprint(s.CPUCores)
		}
		fmt.Fprintf(&b, "%s own=%d slot=%d newest=%t cores=%s restarts=%d; ", s.Container.ID, s.Own[CPU], s.Slot[CPU], s.Newest, cores, s.Slot[Restarts])
	}
	return strings.TrimSuffix(b.String(), "; ")
}

func TestCountersGoOn(t *testing.T) {
	restarted := task("a", "1", "t1", 0)
	restarted.Started = at(15)
	counted := restarted
	counted.Restarts = 1
	type step struct {
		second int
		all    []Measured
		want   string
	}
	one := []Measured{measured(task("a", "1", "t1", 0), cpu(10, 5e9))}
	first := step{10, one, "a own=5000000000 slot=5000000000 newest=true cores=- restarts=0"}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"while it runs", []step{first, {20, []Measured{measured(task("a", "1", "t1", 0), cpu(20, 10e9))}, "a own=10000000000 slot=10000000000 newest=true cores=0.5 restarts=0"}}},
		{"over a restart by hand", []step{first, {20, []Measured{measured(restarted, cpu(20, 1e9))}, "a own=6000000000 slot=6000000000 newest=true cores=- restarts=1"}}},
		{"over a restart by the engine", []step{first, {20, []Measured{measured(counted, cpu(20, 1e9))}, "a own=6000000000 slot=6000000000 newest=true cores=- restarts=1"}}},
		{"over a restart after which more was used than before", []step{first, {20, []Measured{measured(restarted, cpu(20, 7e9))}, "a own=12000000000 slot=12000000000 newest=true cores=- restarts=1"}}},
		{"when a new task takes the slot over", []step{first, {20, []Measured{measured(task("b", "1", "t2", 15), cpu(20, 1e9))}, "b own=1000000000 slot=6000000000 newest=true cores=- restarts=1"}}},
		{"when two tasks share the slot, by the newest", []step{first, {20, []Measured{measured(task("a", "1", "t1", 0), cpu(20, 10e9)), measured(task("b", "1", "t2", 15), cpu(20, 1e9))},
			"a own=10000000000 slot=5000000000 newest=false cores=0.5 restarts=0; b own=1000000000 slot=6000000000 newest=true cores=- restarts=1"}}},
		{"when the newest cannot be read, nobody writes for it", []step{first, {20, []Measured{measured(task("a", "1", "t1", 0), cpu(20, 10e9)), measured(task("b", "1", "t2", 15), nil)},
			"a own=10000000000 slot=5000000000 newest=false cores=0.5 restarts=0"}}},
		{"when the newest goes and the old one stays", []step{first,
			{20, []Measured{measured(task("a", "1", "t1", 0), cpu(20, 10e9)), measured(task("b", "1", "t2", 15), cpu(20, 1e9))},
				"a own=10000000000 slot=5000000000 newest=false cores=0.5 restarts=0; b own=1000000000 slot=6000000000 newest=true cores=- restarts=1"},
			{30, []Measured{measured(task("a", "1", "t1", 0), cpu(30, 12e9))}, "a own=12000000000 slot=8000000000 newest=true cores=0.2 restarts=1"}}},
		{"over a gap in the readings", []step{first, {20, []Measured{measured(task("a", "1", "t1", 0), nil)}, ""},
			{30, []Measured{measured(task("a", "1", "t1", 0), cpu(30, 9e9))}, "a own=9000000000 slot=9000000000 newest=true cores=0.2 restarts=0"}}},
		{"and are forgotten after a day", []step{first, {10 + 25*3600, nil, ""},
			{20 + 25*3600, []Measured{measured(task("b", "1", "t2", 25*3600), cpu(20+25*3600, 1e9))}, "b own=1000000000 slot=1000000000 newest=true cores=- restarts=0"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBook()
			for _, s := range c.steps {
				if got := told(b.Round(at(s.second), s.all)); got != s.want {
					t.Errorf("at %d: got\n%s\nwant\n%s", s.second, got, s.want)
				}
			}
		})
	}
}

func TestAnInterfaceThatGoesTakesNothingBack(t *testing.T) {
	b := NewBook()
	links := func(second int, l ...Part) Counts {
		return b.Round(at(second), []Measured{measured(task("a", "1", "t", 0), &Reading{At: at(second), Links: l})})[0].Own
	}
	part := func(name string, v uint64) Part { return Part{Name: name, Values: [8]uint64{v}} }
	for i, c := range []struct {
		links []Part
		want  uint64
	}{
		{[]Part{part("eth0", 100), part("eth1", 50)}, 150},
		{[]Part{part("eth0", 110)}, 160},
		{[]Part{part("eth0", 110), part("eth1", 5)}, 165},
		{nil, 165},
		{[]Part{part("eth2", 1)}, 166},
	} {
		if got := links(10*i, c.links...)[Received]; got != c.want {
			t.Errorf("round %d: %d, want %d", i, got, c.want)
		}
	}
}

func TestWhatHasEndedIsBounded(t *testing.T) {
	b := NewBook()
	for round := range 30 {
		var all []Measured
		for i := range mostIdle / 10 {
			id := fmt.Sprint(round, "-", i)
			all = append(all, measured(task(id, id, "", round), cpu(round, 1)))
		}
		b.Round(at(round), all)
	}
	if n := len(b.totals); n > 2*mostIdle {
		t.Errorf("%d totals are kept", n)
	}
	b.Round(at(100*3600), nil)
	if len(b.totals)+len(b.sources) > 0 {
		t.Errorf("%d totals and %d sources after four days without a container", len(b.totals), len(b.sources))
	}
}

// machine is a model of a node: containers that work, restart and end, and an exporter that is killed at any time.
type machine struct {
	now   int
	next  int
	live  []*living
	book  *Book
	saved []byte
	seen  map[string]Counts // what was told last, by series and path
	work  map[string]uint64 // what was truly used, by series and path
}

type living struct {
	c     Container
	raw   uint64
	links map[string]uint64
}

func (m *machine) start(t *rapid.T) {
	slot := fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "slot"))
	id := fmt.Sprint("c", m.next)
	m.next++
	name := "task" + id
	if rapid.Bool().Draw(t, "plain") {
		name, slot = "", "plain"+slot
		for i, l := range m.live { // one container of a name at a time
			if l.c.Name.Slot == slot {
				m.live = append(m.live[:i], m.live[i+1:]...)
				break
			}
		}
	}
	m.live = append(m.live, &living{c: task(id, slot, name, m.now), links: map[string]uint64{}})
}

func (m *machine) pick(t *rapid.T) *living {
	if len(m.live) == 0 {
		t.Skip("nothing runs")
	}
	return m.live[rapid.IntRange(0, len(m.live)-1).Draw(t, "which")]
}

func (m *machine) round(t *rapid.T) {
	m.now += 10
	var all []Measured
	for _, l := range m.live {
		r := cpu(m.now, l.raw)
		for name, v := range l.links {
			r.Links = append(r.Links, Part{Name: name, Values: [8]uint64{v}})
		}
		if rapid.IntRange(0, 9).Draw(t, "readable") == 0 {
			r = nil
		}
		all = append(all, Measured{l.c, r})
	}
	writers := map[string]string{}
	for _, s := range m.book.Round(at(m.now), all) {
		m.check(t, s.Container.Series(), s.Own)
		if !s.Newest {
			continue
		}
		if other := writers[s.Container.Path()]; other != "" {
			t.Fatalf("%s and %s both write %s", other, s.Container.ID, s.Container.Path())
		}
		writers[s.Container.Path()] = s.Container.ID
		m.check(t, s.Container.Path(), s.Slot)
	}
	m.saved = m.book.AppendRecord(nil)
}

func (m *machine) check(t *rapid.T, key string, now Counts) {
	for i, v := range now {
		if v < m.seen[key][i] {
			t.Fatalf("counter %d of %s went from %d back to %d", i, key, m.seen[key][i], v)
		}
	}
	if now[CPU] > m.work[key] {
		t.Fatalf("%s: told %d of %d", key, now[CPU], m.work[key])
	}
	m.seen[key] = now
}

func TestACounterNeverGoesBackwards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{book: NewBook(), seen: map[string]Counts{}, work: map[string]uint64{}, saved: NewBook().AppendRecord(nil)}
		t.Repeat(map[string]func(*rapid.T){
			"start": m.start,
			"work": func(t *rapid.T) {
				l := m.pick(t)
				n := rapid.Uint64Range(0, 1000).Draw(t, "work")
				l.raw += n
				m.work[l.c.Series()] += n
				m.work[l.c.Path()] += n
				l.links[fmt.Sprint("eth", rapid.IntRange(0, 2).Draw(t, "link"))] += n
			},
			"unplug": func(t *rapid.T) {
				delete(m.pick(t).links, fmt.Sprint("eth", rapid.IntRange(0, 2).Draw(t, "link")))
			},
			"restart": func(t *rapid.T) {
				l := m.pick(t)
				m.now++
				l.raw, l.links, l.c.Started = 0, map[string]uint64{}, at(m.now)
				if rapid.Bool().Draw(t, "by the engine") {
					l.c.Restarts++
				}
			},
			"end": func(t *rapid.T) {
				l := m.pick(t)
				for i, o := range m.live {
					if o == l {
						m.live = append(m.live[:i], m.live[i+1:]...)
						break
					}
				}
			},
			"round": m.round,
			"kill the exporter": func(t *rapid.T) {
				b, err := Restore(m.saved)
				if err != nil {
					t.Fatal(err)
				}
				m.book = b
			},
		})
	})
}

func TestRecordsAreReadAsTheyAreWritten(t *testing.T) {
	b := NewBook()
	c := task("a \"quoted\"\n", "1", "t", 0)
	b.Round(at(10), []Measured{measured(c, &Reading{At: at(10), Counts: Counts{1, 2, 3}, Disks: []Part{{Name: "8:0", Values: [8]uint64{4}}}, Links: []Part{{Name: "eth0", Values: [8]uint64{5}}}})})
	text := string(b.AppendRecord(nil))
	again, err := Restore([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	next := []Measured{measured(c, &Reading{At: at(20), Counts: Counts{math.MaxUint32, 2, 3}, Links: []Part{{Name: "eth0", Values: [8]uint64{7}}}})}
	if got, want := again.Round(at(20), next)[0], b.Round(at(20), next)[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for cut := range len(text) {
		if _, err := Restore([]byte(text[:cut])); err == nil {
			t.Fatalf("half of a record is taken: %q", text[:cut])
		}
	}
}

func FuzzRestore(f *testing.F) {
	b := NewBook()
	b.Round(at(10), []Measured{measured(task("a", "1", "t", 0), &Reading{At: at(10), Disks: []Part{{Name: "8:0"}}, Links: []Part{{Name: "eth0"}}})})
	f.Add(b.AppendRecord(nil))
	f.Add([]byte(recordHead + "\ntotal 1 true \"k\" 1\nend\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Restore(text)
		if err != nil {
			return
		}
		if _, err := Restore(b.AppendRecord(nil)); err != nil {
			t.Fatal(err)
		}
	})
}
