package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Suites are the Debian releases whose engine the lab can run. forky is testing: its version moves.
func Suites() []string { return []string{"forky", "trixie", "bookworm"} }

// bootstrapWithin bounds a debootstrap: 50 s on an idle two-core machine with a mirror nearby.
const bootstrapWithin = 15 * time.Minute

const fallbackMirror = "http://deb.debian.org/debian"

// Engine gives the folder of the suite's root file system with Docker in it, and makes it when it is not there.
// It is complete or absent: it grows under another name and is renamed at the end.
func (m Machine) Engine(ctx context.Context, suite string) (string, error) {
	if !slices.Contains(Suites(), suite) {
		return "", fmt.Errorf("engine %q: want one of %s", suite, strings.Join(Suites(), ", "))
	}
	folder := filepath.Join(m.Cache, "engine-"+suite)
	if complete(folder) {
		return folder, nil
	}
	unlock, err := m.lock(ctx, "engine-"+suite)
	if err != nil {
		return "", fmt.Errorf("engine %s: %w", suite, err)
	}
	defer unlock()
	if complete(folder) {
		return folder, nil
	}
	if err := m.Install(ctx, "debootstrap", "debian-archive-keyring", "gpgv"); err != nil {
		return "", fmt.Errorf("engine %s: %w", suite, err)
	}
	growing := folder + ".growing"
	if err := errors.Join(os.RemoveAll(growing), os.RemoveAll(folder)); err != nil {
		return "", fmt.Errorf("engine %s: clear what an earlier run left: %w", suite, err)
	}
	started := time.Now()
	m.Log("engine %s: debootstrap into %s (once; about a minute)", suite, folder)
	if err := m.bootstrap(ctx, suite, growing); err != nil {
		return "", err
	}
	if err := os.Rename(growing, folder); err != nil {
		return "", fmt.Errorf("engine %s: %w", suite, err)
	}
	m.Log("engine %s: made in %.0f s", suite, time.Since(started).Seconds())
	return folder, nil
}

func complete(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, ".complete"))
	return err == nil
}

func (m Machine) bootstrap(ctx context.Context, suite, folder string) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapWithin)
	defer cancel()
	mirror := m.mirror(ctx)
	cmd := exec.CommandContext(ctx, "debootstrap", bootstrapArgs(suite, folder, mirror, scriptFor(suite))...)
	// The caller's PATH may lack sbin, where half of what debootstrap calls is.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := runAlone(cmd)
	if err != nil {
		logFile := filepath.Join(m.Cache, "debootstrap-"+suite+".log")
		_ = os.WriteFile(logFile, []byte(out), 0o644) // the error below tells the end of it in any case
		return fmt.Errorf("engine %s: debootstrap from %s: %w: check that the mirror can be reached and has %s; the whole log is in %s\n%s",
			suite, mirror, err, suite, logFile, tail(out, 8))
	}
	if err := slim(folder); err != nil {
		return fmt.Errorf("engine %s: %w", suite, err)
	}
	if err := os.WriteFile(filepath.Join(folder, ".complete"), nil, 0o644); err != nil {
		return fmt.Errorf("engine %s: %w", suite, err)
	}
	return nil
}

// bootstrapArgs: docker-cli is a package of its own only after bookworm.
func bootstrapArgs(suite, folder, mirror, script string) []string {
	include := []string{"docker.io", "iptables", "ca-certificates", "iproute2", "procps"}
	if suite != "bookworm" {
		include = append(include, "docker-cli")
	}
	return []string{"--variant=minbase", "--include=" + strings.Join(include, ","), suite, folder, mirror, script}
}

// scriptFor names debootstrap's recipe; an older debootstrap knows a newer suite only under the name sid.
func scriptFor(suite string) string {
	const scripts = "/usr/share/debootstrap/scripts/"
	if _, err := os.Stat(scripts + suite); err == nil {
		return scripts + suite
	}
	return scripts + "sid"
}

// mirror is the Debian mirror that apt already uses, so that a machine behind a site's own mirror stays there.
func (m Machine) mirror(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)").Output()
	if err != nil {
		return fallbackMirror
	}
	return pickMirror(string(out))
}

func pickMirror(targets string) string {
	for line := range strings.Lines(targets) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) == 3 && f[0] == "Debian" && f[1] == "Debian" && f[2] != "" {
			return f[2]
		}
	}
	return fallbackMirror
}

// slim drops what no engine reads: 574 MB become 365.
func slim(folder string) error {
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}
