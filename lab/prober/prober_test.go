package prober

import (
	"testing"
	"time"
)

func TestLongest(t *testing.T) {
	at := func(ms ...int) (all []time.Time) {
		for _, m := range ms {
			all = append(all, time.UnixMilli(int64(1000+m)))
		}
		return all
	}
	for _, c := range []struct {
		name     string
		sent     []time.Time
		answered []bool
		want     Silence
	}{
		{"nothing was sent", nil, nil, Silence{}},
		{"all was answered", at(0, 1, 2), []bool{true, true, true}, Silence{Sent: 3}},
		{"one was lost: until the next that was not", at(0, 1, 3), []bool{true, false, true}, Silence{Longest: 2 * time.Millisecond, Sent: 3, Lost: 1}},
		{"the longer of two", at(0, 1, 2, 3, 4, 9), []bool{false, true, false, false, false, true}, Silence{Longest: 7 * time.Millisecond, Sent: 6, Lost: 4}},
		{"a prober that had to wait lost nothing", at(0, 500), []bool{true, true}, Silence{Sent: 2}},
		{"the last are lost", at(0, 1, 2, 3), []bool{true, false, false, false}, Silence{Longest: 2 * time.Millisecond, Sent: 4, Lost: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := longest(c.sent, c.answered); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
