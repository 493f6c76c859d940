package pki

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

func TestAGenerationHoldsOneIdentityForEachEnd(t *testing.T) {
	now := time.Date(2026, 11, 24, 6, 0, 0, 5, time.UTC)
	g, err := Make(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for role, text := range map[string][]byte{wire.RoleManager: g.Manager, wire.RoleAgent: g.Agent} {
		i, err := wire.ParseIdentity(text)
		if err != nil {
			t.Fatal(err)
		}
		if i.Role() != role || !i.Ends().Equal(g.Ends) || g.Ends.Before(now.Add(Lifetime-time.Second)) {
			t.Errorf("role %s, ends %s, want %s, %s", i.Role(), i.Ends(), role, g.Ends)
		}
	}
	again, err := Make(now, rand.Reader)
	if err != nil || bytes.Equal(again.Agent, g.Agent) {
		t.Errorf("the next generation is the same: %v", err)
	}
}

func TestASecretFitsIntoSwarm(t *testing.T) {
	g, err := Make(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(g.Manager); n > 500<<10 || n < 500 { // Swarm's limit
		t.Errorf("%d bytes", n)
	}
}

type dry struct{}

func (dry) Read([]byte) (int, error) { return 0, errors.New("no randomness") }

func TestWithoutRandomnessNothingIsMade(t *testing.T) {
	if _, err := Make(time.Now(), io.Reader(dry{})); err == nil {
		t.Error("a generation was made of nothing")
	}
}

func TestWhatIsThereIsKept(t *testing.T) {
	for _, c := range []struct {
		name  string
		names []string
		again bool
		want  string
	}{
		{"nothing there: the first", nil, false, "1 make []"},
		{"other people's secrets do not matter", []string{"db", "rolling-line-agent", "rolling-line-agent-x", "rolling-line-agent-01", "rolling-line-manager-0"}, false, "1 make []"},
		{"a whole generation is kept", []string{"rolling-line-manager-1", "rolling-line-agent-1"}, false, "1 keep []"},
		{"the newest counts", []string{"rolling-line-manager-2", "rolling-line-agent-1", "rolling-line-agent-2", "rolling-line-manager-1"}, false, "2 keep []"},
		{"another is asked for", []string{"rolling-line-manager-1", "rolling-line-agent-1"}, true, "2 make []"},
		{"half a generation is made anew", []string{"rolling-line-manager-1"}, false, "1 make [rolling-line-manager-1]"},
		{"also when another is asked for", []string{"rolling-line-agent-2", "rolling-line-manager-1", "rolling-line-agent-1"}, true, "2 make [rolling-line-agent-2]"},
		{"an old half does not matter", []string{"rolling-line-agent-1", "rolling-line-manager-2", "rolling-line-agent-2"}, false, "2 keep []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Choose(c.names, c.again)
			verb := map[bool]string{true: "make", false: "keep"}[got.Make]
			if text := fmt.Sprint(got.Generation, " ", verb, " ", got.Remove); text != c.want {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}
