package debian

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	const own = "#!/bin/sh\nexit 0\n"
	for _, row := range []struct {
		name          string
		before, saved string // "" = no such file
		after         string
	}{
		{name: "a machine without a policy has none afterwards"},
		{name: "a machine's own policy comes back", before: own, after: own},
		{name: "a run that was ended half-way loses no policy", before: refusal, saved: own, after: own},
		{name: "a leftover of ours with nothing behind it goes", before: refusal},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := policy{folder: t.TempDir()}
			for file, text := range map[string]string{p.file(): row.before, p.saved(): row.saved} {
				if text != "" {
					if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := p.forbid(); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(p.file()); string(got) != refusal {
				t.Errorf("while packages are installed policy-rc.d is %q, want our refusal", got)
			}
			if err := p.restore(); err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(p.file()); string(got) != row.after {
				t.Errorf("afterwards policy-rc.d is %q, want %q", got, row.after)
			}
			if _, err := os.Stat(p.saved()); err == nil {
				t.Error("the saved copy was left behind")
			}
		})
	}
}

func TestPickMirror(t *testing.T) {
	for _, row := range []struct{ name, targets, want string }{
		{"the mirror of the machine's Debian is taken, not its security archive",
			"Debian|Debian-Security|http://mirror.example/debian-security/\nDebian|Debian|http://mirror.example/debian/\n", "http://mirror.example/debian/"},
		{"another vendor's archive is passed over", ". nodistro|. nodistro|https://deb.example/node\n", fallbackMirror},
		{"a machine without lists uses Debian's own", "", fallbackMirror},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := pickMirror(row.targets); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestBootstrapArgs(t *testing.T) {
	if got := bootstrapArgs("bookworm", "/f", "http://m", "/s")[1]; got != "--include=docker.io,iptables,ca-certificates,iproute2,procps" {
		t.Errorf("bookworm, where docker.io brings its command itself, includes %s", got)
	}
	got := bootstrapArgs("forky", "/f", "http://m", "/s")
	want := []string{"--variant=minbase", "--include=docker.io,iptables,ca-certificates,iproute2,procps,docker-cli", "forky", "/f", "http://m", "/s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLockIsExclusive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, file); err == nil {
		t.Fatal("a second holder got the lock")
	}
	// A waiter must not end up with the lock on a file that is gone, beside the holder of its successor.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	unlock()
	again, err := Lock(t.Context(), file)
	if err != nil {
		t.Fatalf("the lock is free again, yet: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, file); err == nil {
		t.Error("a second holder got the lock on the new file")
	}
	again()
}
