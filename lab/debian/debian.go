// Package debian brings what the lab needs from Debian: packages on this machine, and root file systems with an
// engine in them. It knows apt, dpkg and debootstrap. It knows no lab and starts no service.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Machine is this computer's Debian, with the folder in which what was made may be kept.
type Machine struct {
	Cache string // a folder of its own, made when it is missing
	Log   func(format string, args ...any)
}

// aptWithin bounds one apt-get, so that a machine without a network ends in an error and not in a wait.
const aptWithin = 10 * time.Minute

// Install brings the packages that are missing; none of their services is started.
func (m Machine) Install(ctx context.Context, packages ...string) error {
	missing, err := m.missing(ctx, packages)
	if err != nil || len(missing) == 0 {
		return err
	}
	unlock, err := m.lock(ctx, "apt")
	if err != nil {
		return err
	}
	defer unlock()
	if missing, err = m.missing(ctx, packages); err != nil || len(missing) == 0 {
		return err
	}
	m.Log("packages: apt-get install %s", strings.Join(missing, " "))
	quiet := policy{folder: "/usr/sbin"}
	if err := quiet.forbid(); err != nil {
		return fmt.Errorf("install %s: keep services from starting: %w", strings.Join(missing, " "), err)
	}
	err = m.aptInstall(ctx, missing)
	return errors.Join(err, quiet.restore())
}

func (m Machine) aptInstall(ctx context.Context, packages []string) error {
	ctx, cancel := context.WithTimeout(ctx, aptWithin)
	defer cancel()
	install := append([]string{"install", "-y", "--no-install-recommends"}, packages...)
	if _, err := m.apt(ctx, install...); err == nil {
		return nil
	}
	// Lists may be absent or old: fetch them and try once more.
	updateOut, updateErr := m.apt(ctx, "update", "-o", "APT::Update::Error-Mode=any") // else it succeeds without a network
	out, err := m.apt(ctx, install...)
	if err == nil {
		return nil
	}
	if updateErr != nil {
		out += "\napt-get update fails too:\n" + tail(updateOut, 3)
	}
	return fmt.Errorf("install %s: %w: check that apt reaches a mirror (apt-get update), or install them by hand: apt-get install %s\n%s",
		strings.Join(packages, " "), err, strings.Join(packages, " "), tail(out, 10))
}

func (m Machine) apt(ctx context.Context, args ...string) (string, error) {
	options := []string{"-q", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20", "-o", "Acquire::Retries=1",
		"-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"}
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	return run(cmd)
}

func (m Machine) missing(ctx context.Context, packages []string) ([]string, error) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil, fmt.Errorf("look for packages %s: this machine has no dpkg: the lab needs Debian 12 or newer", strings.Join(packages, " "))
	}
	var missing []string
	for _, p := range packages {
		out, _ := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status}", p).Output()
		if string(out) != "installed" {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// lock serialises what two labs must not do at once; the file stays, the lock ends with the process.
func (m Machine) lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := os.MkdirAll(m.Cache, 0o755); err != nil {
		return nil, fmt.Errorf("make cache folder: %w (set ROLLING_CACHE to a folder that can be written)", err)
	}
	return Lock(ctx, filepath.Join(m.Cache, name+".lock"))
}

// Lock waits for the exclusive lock on that file until ctx ends. Who holds it may remove the file.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		if f != nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: another process holds it: %w", path, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tryLock gives no file when somebody else holds the lock, or has removed the file in the meantime.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		held, heldErr := f.Stat()
		named, namedErr := os.Stat(path)
		if heldErr == nil && namedErr == nil && os.SameFile(held, named) {
			return f, nil
		}
	}
	_ = f.Close()
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, err
	}
	return nil, nil
}

// run ends the whole process group when the context ends: apt-get has children that would go on.
func run(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return out.String(), err
}

// runAlone runs the command with mounts and process numbers of its own, and lets it die with this process,
// however that ends: no mount and no child is left that a later run would trip over.
func runAlone(cmd *exec.Cmd) (string, error) {
	runtime.LockOSThread() // the kernel ties Pdeathsig to the thread that starts the child
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return run(cmd)
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}
