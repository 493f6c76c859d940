// Package debian brings files of Debian packages for a plugin's root file system, without installing anything. It knows
// apt-get download, dpkg and the links of an ELF file. It refuses to know which plugin they are for.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// downloadWithin bounds all of apt's work: a machine without a network gets an error, not a wait.
const downloadWithin = 5 * time.Minute

// complete is written last: a folder without it is one that an earlier run did not finish.
const complete = ".packages"

// Unpacked is a folder with the files of some packages in it, and their names and versions.
type Unpacked struct {
	Folder   string
	Packages []string // name=version, sorted
}

// Unpack brings the package and the libraries that it names as dependencies into a folder of the cache. A folder that
// is complete is used as it is, so that a build stays the same until somebody removes it for newer versions.
func Unpack(ctx context.Context, name, cache string) (Unpacked, error) {
	codename, arch, err := machine(ctx)
	if err != nil {
		return Unpacked{}, fmt.Errorf("package %s: %w", name, err)
	}
	u := Unpacked{Folder: filepath.Join(cache, strings.Join([]string{name, codename, arch}, "-"))}
	if text, err := os.ReadFile(filepath.Join(u.Folder, complete)); err == nil {
		u.Packages = strings.Fields(string(text))
		return u, nil
	}
	growing, err := grow(ctx, name, cache)
	if err != nil {
		return u, fmt.Errorf("package %s: %w", name, err)
	}
	if u.Packages, err = unpackAll(ctx, growing); err != nil {
		return u, errors.Join(fmt.Errorf("package %s: %w", name, err), os.RemoveAll(growing))
	}
	text := strings.Join(u.Packages, "\n") + "\n"
	err = os.WriteFile(filepath.Join(growing, complete), []byte(text), 0o644)
	// Two makes at once: the one that is late finds a complete folder in its way, and leaves it.
	if err == nil {
		if err = os.Rename(growing, u.Folder); errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
			err = os.RemoveAll(growing)
		}
	}
	if err != nil {
		return u, fmt.Errorf("package %s: %w", name, err)
	}
	return u, nil
}

// grow makes the folder in which the packages are gathered, with their .deb files in it.
func grow(ctx context.Context, name, cache string) (string, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("%w: set ROLLING_CACHE to a folder that can be written", err)
	}
	folder, err := os.MkdirTemp(cache, name+".growing-")
	if err != nil {
		return "", fmt.Errorf("%w: set ROLLING_CACHE to a folder that can be written", err)
	}
	ctx, cancel := context.WithTimeout(ctx, downloadWithin)
	defer cancel()
	err = download(ctx, folder, name)
	if err != nil {
		// The lists may be absent or name a version that the mirror no longer has.
		if _, update := output(ctx, folder, "apt-get", "-q", "update"); update != nil {
			err = fmt.Errorf("%w (and %w)", err, update)
		} else {
			err = download(ctx, folder, name)
		}
	}
	if err == nil {
		err = os.Chmod(folder, 0o755)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("%w: check that apt reaches a mirror", err), os.RemoveAll(folder))
	}
	return folder, nil
}

// download fetches the package itself and the libraries that it depends on directly; Needed finds out whether they
// are enough.
func download(ctx context.Context, folder, name string) error {
	if err := fetch(ctx, folder, name); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(folder, name+"_*.deb"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("apt-get download %s: got %d files, want 1", name, len(found))
	}
	depends, err := output(ctx, folder, "dpkg-deb", "-f", found[0], "Depends")
	if err != nil {
		return err
	}
	return fetch(ctx, folder, Libraries(depends)...)
}

// fetch does not drop root: apt's own user cannot write into a folder of ours.
func fetch(ctx context.Context, folder string, names ...string) error {
	_, err := output(ctx, folder, "apt-get", append([]string{"-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1", "download"}, names...)...)
	return err
}

// Libraries are the names of the libraries in a package's Depends field.
func Libraries(depends string) []string {
	var names []string
	for _, one := range strings.Split(depends, ",") {
		name, _, _ := strings.Cut(one, "|") // of alternatives, the first
		name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
		name, _, _ = strings.Cut(name, ":")
		if strings.HasPrefix(name, "lib") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func unpackAll(ctx context.Context, folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.deb"))
	if err != nil {
		return nil, err
	}
	var packages []string
	for _, f := range files {
		named, err := output(ctx, folder, "dpkg-deb", "--showformat", "${Package}=${Version}", "-W", f)
		if err != nil {
			return nil, err
		}
		if _, err := output(ctx, folder, "dpkg-deb", "-x", f, folder); err != nil {
			return nil, err
		}
		if err := os.Remove(f); err != nil {
			return nil, err
		}
		packages = append(packages, strings.TrimSpace(named))
	}
	slices.Sort(packages)
	return packages, nil
}

// machine is which Debian the packages are of.
func machine(ctx context.Context) (codename, arch string, err error) {
	arch, err = output(ctx, "/", "dpkg", "--print-architecture")
	if err != nil {
		return "", "", fmt.Errorf("%w: Debian 12 or newer is needed", err)
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", "", err
	}
	codename = "debian"
	for line := range strings.Lines(string(release)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			codename = strings.Trim(value, `"`)
		}
	}
	return codename, strings.TrimSpace(arch), nil
}

func output(ctx context.Context, folder, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.WaitDelay = 5 * time.Second
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}
