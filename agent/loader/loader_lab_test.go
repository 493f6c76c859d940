//go:build lab

package loader

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/lab"
	"github.com/rolling-swarm/rolling/plugins/bundle"
)

// made builds the bundle of rolling/net, whose settings conform needs.
func made(t *testing.T) string {
	t.Helper()
	root, err := lab.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(root)
	cache := os.Getenv("ROLLING_CACHE")
	if cache == "" {
		cache = "/var/cache/rolling"
	}
	maker := bundle.Maker{Out: t.TempDir(), Cache: cache, Log: t.Logf}
	for _, r := range bundle.Recipes() {
		if r.Alias != contract.PluginNet {
			continue
		}
		if err := maker.Make(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return maker.Out
}

func TestRealEnginesBehaveLikeTheFake(t *testing.T) {
	bundles := made(t)
	for _, suite := range []string{"forky", "bookworm"} {
		t.Run(suite, func(t *testing.T) {
			l := lab.Up(t, lab.Options{Managers: 1, Engine: suite})
			socket, err := l.Path("n1", "/run/docker.sock")
			if err != nil {
				t.Fatal(err)
			}
			state, err := l.Path("n1", contract.StateRoot)
			if err != nil {
				t.Fatal(err)
			}
			conform(t, "unix://"+socket, filepath.Clean(state), bundles, contract.PluginNet)
		})
	}
}
