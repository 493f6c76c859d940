package socket_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rolling-swarm/rolling/internal/socket"
)

func TestASuccessorTakesThePathAndKeepsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "plugin.sock")
	first, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close() //nolint:errcheck // only a test's
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := os.Stat(path)
	if err != nil {
		t.Fatalf("the end of the first took the second's socket away: %v", err)
	}
	if found.Mode().Perm() != 0o600 {
		t.Errorf("rights %v", found.Mode())
	}
}

func TestAFolderInTheWayIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin.sock")
	if err := os.MkdirAll(filepath.Join(path, "not empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Listen(path); err == nil {
		t.Error("a folder was listened on")
	}
}
