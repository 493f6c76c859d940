package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rolling-swarm/rolling/lab/debian"
)

const module = "module github.com/rolling-swarm/rolling\n"

// Checkout is the folder of the source tree that this process works in, or that its binary was built in.
func Checkout() (string, error) {
	starts := []string{}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, at := range starts {
		for ; at != "/" && at != "."; at = filepath.Dir(at) {
			text, err := os.ReadFile(filepath.Join(at, "go.mod"))
			if err == nil && strings.HasPrefix(string(text), module) {
				return at, nil
			}
		}
	}
	return "", fmt.Errorf("no checkout of Rolling above %s: run it inside one", strings.Join(starts, " or "))
}

// product is what the build leaves, and where nodes find it under onNode.
type product struct{ built, staged string }

func products() []product {
	return []product{
		{"build/plugins", "plugins"},
		{"build/bin/agent", "agent"},
		{"build/bin/rolling", "rolling"},
		{"build/images/agent.tar", "agent.tar"},
		{"build/images/manager.tar", "manager.tar"},
		{"examples/rolling/rolling-stack.yml", "rolling-stack.yml"},
		{"examples/rolling/nginx.yml", "nginx.yml"},
	}
}

// stage builds this checkout and lays the products into the folder that the nodes share.
func (l *Lab) stage(ctx context.Context) error {
	root, err := Checkout()
	if err != nil {
		return err
	}
	started := time.Now()
	if err := l.build(ctx, root); err != nil {
		return err
	}
	l.logf("built %s in %.1f s", root, time.Since(started).Seconds())
	growing := l.folder("shared", "install.new")
	if err := errors.Join(os.RemoveAll(growing), os.MkdirAll(growing, 0o755)); err != nil {
		return fmt.Errorf("stage the build: %w", err)
	}
	for _, p := range products() {
		from := filepath.Join(root, p.built)
		if _, err := os.Stat(from); err != nil {
			return fmt.Errorf("stage the build: %w: make plugins images should have made it", err)
		}
		if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", from, filepath.Join(growing, p.staged)).CombinedOutput(); err != nil {
			return fmt.Errorf("stage the build: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	if err := os.RemoveAll(l.folder("shared", "install")); err != nil {
		return fmt.Errorf("stage the build: %w", err)
	}
	return os.Rename(growing, l.folder("shared", "install"))
}

// build runs make under a lock: two labs of one checkout must not write the same files at once. Where nothing has changed
// since the last time, it does not: even then make takes five seconds of two processors, and tests make a dozen labs.
func (l *Lab) build(ctx context.Context, root string) error {
	if err := os.MkdirAll(filepath.Join(root, "build"), 0o755); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	unlock, err := debian.Lock(ctx, filepath.Join(root, "build", "make.lock"))
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer unlock()
	stamp, begun := filepath.Join(root, "build", "make.stamp"), time.Now()
	if made(root, stamp) {
		return nil
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", root, "plugins", "images")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("build: make plugins images in %s: %w\n  %s", root, err, strings.Join(lines[max(0, len(lines)-12):], "\n  "))
	}
	if err := errors.Join(os.WriteFile(stamp, []byte(runtime.Version()), 0o644), os.Chtimes(stamp, begun, begun)); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	return nil
}

// made says that all products are there, and that nothing in the checkout is newer than the stamp of their build.
func made(root, stamp string) bool {
	about, err := os.Stat(stamp)
	text, _ := os.ReadFile(stamp) // an empty one is of no version
	if err != nil || string(text) != runtime.Version() {
		return false
	}
	for _, p := range products() {
		if _, err := os.Stat(filepath.Join(root, p.built)); err != nil {
			return false
		}
	}
	newer := errors.New("newer")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (path == filepath.Join(root, "build") || path == filepath.Join(root, ".git")) {
			return fs.SkipDir
		}
		if at, err := e.Info(); err != nil || path != root && !at.ModTime().Before(about.ModTime()) {
			return newer
		}
		return nil
	}) == nil
}
