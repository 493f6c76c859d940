package contract

import "testing"

func TestNearestOffersWhatWasMeant(t *testing.T) {
	for _, c := range []struct{ word, want string }{
		{"rolling.mod", Mode},
		{"rolling.projct", Project},
		{"rolling.isolate", Isolation},
		{"com.docker.network.bridge.name", ""},
		{"", ""},
	} {
		if got := Nearest(c.word, NetworkOptions()); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}
