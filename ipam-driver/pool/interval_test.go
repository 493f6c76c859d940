package pool

import (
	"testing"

	"pgregory.net/rapid"
)

func TestIntervalsAreTheSetOfTheirNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s intervals
		model := map[uint32]bool{}
		const size = 40
		offset := rapid.SampledFrom([]uint32{0, 1000, ^uint32(0) - size + 1}).Draw(t, "offset")
		number := rapid.Uint32Range(0, size-1)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			a, b := number.Draw(t, "a"), number.Draw(t, "b")
			a, b = min(a, b), max(a, b)
			add := rapid.Bool().Draw(t, "add")
			if add {
				s.add(offset+a, offset+b)
			} else {
				s.remove(offset+a, offset+b)
			}
			for n := a; n <= b; n++ {
				model[offset+n] = add
			}
			same(t, &s, model, offset, size)
		}
	})
}

func same(t *rapid.T, s *intervals, model map[uint32]bool, offset, size uint32) {
	n := 0
	for i := uint32(0); i < size; i++ {
		if s.has(offset+i) != model[offset+i] {
			t.Fatalf("has(%d) is %v, runs %v", offset+i, !model[offset+i], s.runs)
		}
		if model[offset+i] {
			n++
		}
	}
	if s.count() != n || s.empty() != (n == 0) {
		t.Fatalf("count %d, want %d", s.count(), n)
	}
	for i := 1; i < len(s.runs); i++ {
		if s.runs[i].first <= s.runs[i-1].last+1 {
			t.Fatalf("runs touch: %v", s.runs)
		}
	}
	from := rapid.Uint32Range(0, size-1).Draw(t, "from")
	odd := func(v uint32) bool { return v%2 == 1 }
	var up, down uint32
	var okUp, okDown bool
	for i := from; i < size && !okUp; i++ {
		up, okUp = offset+i, model[offset+i] && odd(offset+i)
	}
	for i := int64(from); i >= 0 && !okDown; i-- {
		down, okDown = offset+uint32(i), model[offset+uint32(i)] && odd(offset+uint32(i))
	}
	if got, ok := s.up(offset+from, odd); ok != okUp || ok && got != up {
		t.Fatalf("up(%d) is %d %v, want %d %v, runs %v", offset+from, got, ok, up, okUp, s.runs)
	}
	if got, ok := s.down(offset+from, odd); ok != okDown || ok && got != down {
		t.Fatalf("down(%d) is %d %v, want %d %v, runs %v", offset+from, got, ok, down, okDown, s.runs)
	}
}

func TestTheRestHeapGivesTheFirstToBeReady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h restHeap
		for _, v := range rapid.SliceOf(rapid.Int64Range(0, 20)).Draw(t, "until") {
			h.push(rest{until: v, addr: uint32(len(h))})
		}
		last := rest{until: -1}
		for len(h) > 0 {
			r := h.pop()
			if r.before(last) {
				t.Fatalf("%v after %v", r, last)
			}
			last = r
		}
	})
}
