//go:build lab && long

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestABuildOfTheLogPluginThatDoesNotWorkLosesNoLine(t *testing.T) {
	t.Parallel()
	w := newWriting(t)
	good, err := w.load("")
	must(t, err)
	if good != "" {
		t.Errorf("a load of what is loaded did something:\n%s", good)
	}
	w.other("bbbb", func() {
		must(t, os.WriteFile(filepath.Join(w.bundle, "rootfs/logdriver"), []byte("#!/no/such\n"), 0o755))
	})
	if out, err := w.load(""); err == nil || !strings.Contains(out, "does not work, the one before runs on") {
		t.Errorf("a build that does not work: %v\n%s", err, out)
	}
	w.goesOn("a build that does not work")
	w.whole()
}
