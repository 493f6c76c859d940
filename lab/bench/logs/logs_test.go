package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTicksAreReadPastAnyName(t *testing.T) {
	const one = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 100 1 1\n"
	if got, err := ticks(one + strings.Replace(one, "(a) b)", "(dockerd)", 1)); err != nil || got != 4*time.Second {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{"", "7 (x) S 1\n", strings.Replace(one, "150", "x", 1)} {
		if got, err := ticks(bad); err == nil {
			t.Errorf("%q: got %s", bad, got)
		}
	}
}

func TestEndsWith(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 10000)+`{"log":"line 7 GET"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := endsWith(file, `"line 7 `); err != nil {
		t.Error(err)
	}
	if err := endsWith(file, `"line 8 `); err == nil {
		t.Error("a line that is not there was found")
	}
}

func TestMicrosAreOfBothProcesses(t *testing.T) {
	if got := (spent{engine: 3 * time.Millisecond, carrier: time.Millisecond}).micros(1000); got != 4 {
		t.Errorf("got %g", got)
	}
}
