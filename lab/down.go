package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rolling-swarm/rolling/lab/namespace"
	"golang.org/x/sys/unix"
)

// downWithin bounds the end of processes and cgroups; 8 containers take less than 2 s.
const downWithin = 60 * time.Second

// Down removes the lab without a trace: processes, namespaces and the links in them, cgroups, mounts, files. It
// needs no record, so it also removes what is left of a lab that was never finished; a lab that is not there is
// no error. The cache stays.
func (l *Lab) Down(ctx context.Context) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, downWithin)
	defer cancel()
	if err := l.endMarked(ctx, l.mark()); err != nil {
		return fmt.Errorf("lab %s: down: %w", l.name, err)
	}
	err = errors.Join(l.removeSpaces(), removeCgroups(ctx, "/"+prefix+l.name), l.removeFiles())
	if err != nil {
		return fmt.Errorf("lab %s: down left something behind: %w", l.name, err)
	}
	_ = os.Remove(l.lockFile()) // tests' labs have names without number
	return nil
}

func (l *Lab) removeSpaces() error {
	names, err := namespace.List(l.spacePrefix())
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, namespace.Remove(name))
	}
	return errors.Join(errs...)
}

func (l *Lab) removeFiles() error {
	// The nodes' mounts are in their own namespaces and went with them. Should one ever show here, emptying the
	// folder through it would destroy what it shows.
	if err := unmountBelow(l.folder()); err != nil {
		return err
	}
	if err := os.RemoveAll(l.folder()); err != nil {
		return err
	}
	_ = os.Remove(stateRoot) // if this was the last lab
	return nil
}

func unmountBelow(folder string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], folder+"/") {
			points = append(points, f[4])
		}
	}
	slices.Reverse(points)
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}
	return nil
}

// Names lists the labs of this machine that are up or half-made.
func Names() ([]string, error) {
	entries, err := os.ReadDir(stateRoot)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Base(e.Name()))
	}
	return names, nil
}
