package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rolling-swarm/rolling/internal/wire"
)

func TestASecretThatIsNoneIsRefusedWithoutBeingShown(t *testing.T) {
	g := generation(t, time.Now())
	blocks := strings.SplitAfter(strings.TrimSpace(string(g.Agent)), "-----\n")
	if len(blocks) < 5 {
		t.Fatalf("%d pieces", len(blocks))
	}
	other := generation(t, time.Now())
	key := string(g.Agent[:strings.Index(string(g.Agent), "-----BEGIN CERTIFICATE")])
	rest := string(other.Agent[strings.Index(string(other.Agent), "-----BEGIN CERTIFICATE"):])
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "0 keys"},
		{"something else", "hunter2", "0 keys"},
		{"half of it", string(g.Agent[:len(g.Agent)/2]), "certificates"},
		{"a key alone", key, "1 keys and 0 certificates"},
		{"the key of another", key + rest, "key and certificate"},
		{"a block of another kind", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "RSA PRIVATE KEY"},
		{"no CA", string(g.Agent) + string(g.Agent), "2 keys"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := wire.ParseIdentity([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add(generation(f, time.Now()).Agent)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if i, err := wire.ParseIdentity(text); err == nil && i.Ends().IsZero() {
			t.Error("an identity without an end")
		}
	})
}
