package liveness_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/network-driver/liveness"
)

var (
	begun = time.Date(2026, 10, 1, 9, 0, 0, 0, time.UTC)
	one   = netip.MustParseAddr("10.98.0.21")
)

// play runs a watch over a line: a letter a tick of 100 ms. '+' answered, '-' not, 'z' not and the tick comes 1 s late.
func play(w *liveness.Watch, now *time.Time, line string) string {
	var said []string
	for i, c := range line {
		*now = now.Add(100 * time.Millisecond)
		switch c {
		case '+':
			w.Heard(one)
		case 'z':
			*now = now.Add(time.Second)
		}
		for _, v := range w.Tick(*now) {
			word := "silent"
			if v.Alive {
				word = "alive"
			}
			said = append(said, fmt.Sprintf("%d %s", i+1, word))
		}
	}
	return strings.Join(said, ", ")
}

func TestSilence(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"an answer a question", "++++++", "1 alive"},
		{"four missing answers in a row are a silence, once", "+--------", "1 alive, 5 silent"},
		{"three are not", "+---+---+---+", "1 alive"},
		{"who never answered is not judged: something may keep the questions away", "----------", ""},
		{"who answers again is alive again", "+----+", "1 alive, 5 silent, 6 alive"},
		{"a tick that comes late counts nothing", "+--zzzzzzz--", "1 alive, 12 silent"},
		{"after a short mistake it takes twice as many", "+----+-------+--------", "1 alive, 5 silent, 6 alive, 22 silent"},
	} {
		w := liveness.NewWatch(liveness.Settings{Every: 100 * time.Millisecond, Misses: 4})
		w.Follow([]netip.Addr{one})
		now := begun
		w.Tick(now)
		if got := play(w, &now, c.line); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPatience(t *testing.T) {
	w := liveness.NewWatch(liveness.Settings{Every: 100 * time.Millisecond, Misses: 4})
	w.Follow([]netip.Addr{one})
	now := begun
	w.Tick(now)
	play(w, &now, "+----+")
	if got := w.Seen()[0]; got.Patience != 8 || got.Silences != 1 || got.State != "alive" {
		t.Errorf("after a mistake %+v", got)
	}
	for range 20 {
		play(w, &now, strings.Repeat("-", 32)+"+")
	}
	if got := w.Seen()[0]; got.Patience != 32 {
		t.Errorf("after many %+v, want no more than 32", got)
	}
	play(w, &now, strings.Repeat("+", 6100))
	if got := w.Seen()[0]; got.Patience != 16 {
		t.Errorf("after ten minutes of calm %+v", got)
	}
	play(w, &now, strings.Repeat("-", 16)+strings.Repeat("-", 100)+"+")
	if got := w.Seen()[0]; got.Patience != 16 {
		t.Errorf("after a real loss of power %+v, want no more patience", got)
	}
	w.Follow(nil)
	if got := w.Seen(); len(got) != 0 {
		t.Errorf("who is not followed is still seen: %+v", got)
	}
	w.Heard(one) // a late answer of one who is not watched any more
}

// line joins two sessions, by which packets need some milliseconds.
type line struct {
	a, b *liveness.Session
	now  time.Time
	cut  bool
	sent int
}

func (l *line) run(d time.Duration) {
	for end := l.now.Add(d); l.now.Before(end); l.now = l.now.Add(5 * time.Millisecond) {
		for _, way := range [][2]*liveness.Session{{l.a, l.b}, {l.b, l.a}} {
			if p, due := way[0].Tick(l.now, 0.5); due {
				l.carry(way[0], way[1], p)
			}
		}
	}
}

func (l *line) carry(from, to *liveness.Session, p liveness.Packet) {
	l.sent++
	if l.cut {
		return
	}
	read, err := liveness.ParsePacket(p.Bytes())
	if err != nil {
		panic(err)
	}
	if answer, polled := to.Receive(read, l.now); polled {
		if back, err := liveness.ParsePacket(answer.Bytes()); err == nil {
			from.Receive(back, l.now)
		}
	}
}

func TestASessionComesUpAndSeesASilence(t *testing.T) {
	l := &line{a: liveness.NewSession(7, 100*time.Millisecond, 5), b: liveness.NewSession(9, 50*time.Millisecond, 3), now: begun}
	states := func(want string) {
		t.Helper()
		if got := fmt.Sprint(l.a.State(), " ", l.b.State()); got != want {
			t.Errorf("after %v: %s, want %s", l.now.Sub(begun), got, want)
		}
	}
	states("down down")
	l.run(3 * time.Second)
	states("up up")
	l.sent = 0
	l.run(time.Second)
	if l.sent < 20 || l.sent > 30 {
		t.Errorf("%d packets in a second, want about 11 each way: the slower of both sets the pace", l.sent)
	}
	l.cut = true
	l.run(200 * time.Millisecond)
	states("up up")
	l.run(120 * time.Millisecond) // three of b's at a's pace
	states("down up")
	l.run(250 * time.Millisecond)
	states("down down")
	l.sent = 0
	l.run(10 * time.Second)
	if l.sent > 27 {
		t.Errorf("%d packets in ten seconds while down, want about one a second each", l.sent)
	}
	l.cut = false
	l.run(4 * time.Second)
	states("up up")
	l.b.Receive(l.a.Farewell(), l.now)
	if l.b.State() != liveness.Down || l.a.Downs() != 1 {
		t.Errorf("after a farewell the other is %s; downs %d", l.b.State(), l.a.Downs())
	}
	stranger := liveness.Packet{State: liveness.Down, Multiplier: 3, Mine: 1, Yours: 1234}
	if _, polled := l.a.Receive(stranger, l.now); polled || l.a.State() != liveness.Up {
		t.Error("a packet for another session was taken")
	}
}

// FRR asks for one packet a second until it is up.
func TestARouterThatWantsMorePacketsOnceItIsUpGetsThem(t *testing.T) {
	s := liveness.NewSession(7, 100*time.Millisecond, 5)
	now := begun
	s.Tick(now, 0)
	s.Receive(liveness.Packet{State: liveness.Init, Multiplier: 5, Mine: 9, Yours: 7, Desired: time.Second, Required: time.Second}, now)
	if p, due := s.Tick(now, 0); !due || p.State != liveness.Up {
		t.Fatalf("it does not say that it is up: %+v, %t", p, due)
	}
	s.Receive(liveness.Packet{State: liveness.Up, Poll: true, Multiplier: 5, Mine: 9, Yours: 7, Desired: 100 * time.Millisecond, Required: 100 * time.Millisecond}, now)
	if _, due := s.Tick(now.Add(100*time.Millisecond), 0); !due {
		t.Error("100 ms later nothing is sent")
	}
}

func TestPackets(t *testing.T) {
	p := liveness.Packet{Diagnostic: 1, State: liveness.Up, Poll: true, Multiplier: 5, Mine: 0x01020304, Yours: 0x05060708, Desired: 100 * time.Millisecond, Required: 300 * time.Millisecond}
	wire := p.Bytes()
	if got, want := fmt.Sprintf("%x", wire), "21e005180102030405060708000186a0000493e000000000"; got != want {
		t.Errorf("on the wire %s, want %s", got, want)
	}
	if got, err := liveness.ParsePacket(wire); err != nil || got != p {
		t.Errorf("read back %+v, %v", got, err)
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"cut off", func(b []byte) []byte { return b[:23] }},
		{"a length beyond its end", func(b []byte) []byte { b[3] = 25; return b }},
		{"a length too short", func(b []byte) []byte { b[3] = 23; return b }},
		{"version 0", func(b []byte) []byte { b[0] &= 0x1f; return b }},
		{"authenticated", func(b []byte) []byte { b[1] |= 4; return b }},
		{"for many", func(b []byte) []byte { b[1] |= 1; return b }},
		{"multiplier 0", func(b []byte) []byte { b[2] = 0; return b }},
		{"without a discriminator", func(b []byte) []byte { copy(b[4:], []byte{0, 0, 0, 0}); return b }},
		{"up, and knows nothing of us", func(b []byte) []byte { copy(b[8:], []byte{0, 0, 0, 0}); return b }},
	} {
		if got, err := liveness.ParsePacket(c.damage(p.Bytes())); err == nil {
			t.Errorf("%s: taken as %+v", c.name, got)
		}
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(liveness.Packet{State: liveness.Down, Multiplier: 3, Mine: 1}.Bytes())
	f.Add([]byte{0x20, 0x40, 3, 24})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := liveness.ParsePacket(b)
		if err != nil {
			return
		}
		again, err := liveness.ParsePacket(p.Bytes())
		if err != nil || again != p {
			t.Errorf("%+v came back as %+v, %v", p, again, err)
		}
		s := liveness.NewSession(1, 100*time.Millisecond, 3)
		s.Receive(p, begun)
		s.Tick(begun.Add(time.Hour), 1)
	})
}
