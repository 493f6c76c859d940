package worker

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func program(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func lain(t *testing.T, folder, text, build string, settings map[string]string) string {
	t.Helper()
	name, err := Lay(folder, program(t, text), build, settings)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func TestWhatWasLaidIsFetched(t *testing.T) {
	folder, to := filepath.Join(t.TempDir(), "worker"), filepath.Join(t.TempDir(), "copy")
	if o, err := Ordered(folder); err != nil || o != (Order{}) {
		t.Errorf("before anything was laid: %+v, %v", o, err)
	}
	first := lain(t, folder, "one", "b1", map[string]string{"A": "1"})
	before, err := Ordered(folder)
	if err != nil || before.Name != first {
		t.Fatalf("ordered %+v, %v", before, err)
	}
	w, err := Fetch(folder, first, to)
	if text, _ := os.ReadFile(to); err != nil || string(text) != "one" || w.Build != "b1" || w.Settings["A"] != "1" {
		t.Errorf("fetched %q, %+v, %v", text, w, err)
	}
	if again := lain(t, folder, "one", "b1", map[string]string{"A": "1"}); again != first {
		t.Errorf("the same worker is %s, then %s", first, again)
	}
	if after, err := Ordered(folder); err != nil || after == before {
		t.Errorf("the same worker laid again is no new order: %+v, %v", after, err)
	}
	second := lain(t, folder, "one", "b1", map[string]string{"A": "2"})
	if second == first {
		t.Error("another setting is the same worker")
	}
	if _, err := os.Stat(filepath.Join(folder, first)); !os.IsNotExist(err) {
		t.Errorf("the old worker is still there: %v", err)
	}
}

func TestADamagedWorkerIsRefused(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"a program cut short", programFile, "o", "damaged"},
		{"a record cut short", recordFile, `{"build":`, "unexpected end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			name := lain(t, folder, "one", "b1", nil)
			if err := os.WriteFile(filepath.Join(folder, name, c.file), []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Fetch(folder, name, filepath.Join(t.TempDir(), "copy")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	folder := t.TempDir()
	for _, text := range []string{"", "../x y", ".. y", "x"} {
		if err := os.WriteFile(filepath.Join(folder, currentFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, err := Ordered(folder); err == nil {
			t.Errorf("%q was read as %+v", text, o)
		}
	}
}

func TestStatusIsReadAsItWasWritten(t *testing.T) {
	folder := t.TempDir()
	if s, err := ReadStatus(folder); err != nil || !reflect.DeepEqual(s, Status{}) {
		t.Errorf("before anything was said: %+v, %v", s, err)
	}
	want := Status{Running: "a", Build: "b", Settings: map[string]string{"A": "1"}, Order: Order{"c", "7"}, Problem: "d"}
	if err := WriteStatus(folder, want); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadStatus(folder); err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v, %v", s, err)
	}
}
