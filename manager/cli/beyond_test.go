package cli

import (
	"strings"
	"testing"
)

func TestWhatIsBeyondTheLinesThatWereSeen(t *testing.T) {
	for _, c := range []struct {
		name, seen, came, news string
		gap                    bool
	}{
		{"the first lines are all new", "", "a b", "a b", false},
		{"nothing new", "a b", "a b", "", false},
		{"a text that grows", "a b", "a b c d", "c d", false},
		{"a window that moves on", "a b c", "c d e", "d e", false},
		{"the same line again and again", "a a", "a a a a", "a a", false},
		{"a line as one before, in a window that moves on", "a b a", "b a b", "b", false},
		{"nothing in common", "a b", "x y", "x y", true},
		{"nothing comes any more", "a b", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			news, gap := beyond(strings.Fields(c.seen), strings.Fields(c.came))
			if got := strings.Join(news, " "); got != c.news || gap != c.gap {
				t.Errorf("got %q, %v", got, gap)
			}
		})
	}
}
