package lab

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestWhatIsMadeIsNotMadeAgainUntilSomethingChanges(t *testing.T) {
	hour := func(n int) time.Time { return time.Date(2026, 1, 1, n, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name   string
		change func(lay func(file string, at time.Time), root string) error
		want   bool
	}{
		{"nothing has changed", func(func(string, time.Time), string) error { return nil }, true},
		{"a file was edited", func(lay func(string, time.Time), _ string) error { lay("agent/main.go", hour(3)); return nil }, false},
		{"a file was edited while the build began", func(lay func(string, time.Time), _ string) error { lay("agent/main.go", hour(2)); return nil }, false},
		{"a file was removed, which leaves a newer folder", func(_ func(string, time.Time), root string) error {
			return os.Remove(filepath.Join(root, "agent/config.go"))
		}, false},
		{"a product was removed", func(_ func(string, time.Time), root string) error {
			return os.RemoveAll(filepath.Join(root, "build/images/agent.tar"))
		}, false},
		{"what others write into build and .git counts for nothing", func(lay func(string, time.Time), _ string) error {
			lay("build/other", hour(4))
			lay(".git/index", hour(4))
			return nil
		}, true},
		{"another Go made it", func(_ func(string, time.Time), root string) error {
			stamp := filepath.Join(root, "build/make.stamp")
			if err := os.WriteFile(stamp, []byte("go1"), 0o600); err != nil {
				return err
			}
			return os.Chtimes(stamp, hour(2), hour(2))
		}, false},
		{"it was never made", func(_ func(string, time.Time), root string) error {
			return os.Remove(filepath.Join(root, "build/make.stamp"))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			lay := func(file string, at time.Time) {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(runtime.Version()), 0o600); err != nil {
					t.Fatal(err)
				}
				for p := path; p != root; p = filepath.Dir(p) {
					if err := os.Chtimes(p, at, at); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, file := range []string{"go.mod", "agent/main.go", "agent/config.go"} {
				lay(file, hour(1))
			}
			for _, p := range products() {
				lay(p.built, hour(1))
			}
			lay("build/make.stamp", hour(2))
			if err := c.change(lay, root); err != nil {
				t.Fatal(err)
			}
			if got := made(root, filepath.Join(root, "build/make.stamp")); got != c.want {
				t.Errorf("made: %t, want %t", got, c.want)
			}
		})
	}
}
