package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the mounted cgroup trees: one with version 2, one a controller with version 1.
func hierarchies() []string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.procs")); err == nil {
		return []string{cgroupRoot}
	}
	found, _ := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	for i, f := range found {
		found[i] = filepath.Dir(f)
	}
	// cpu, cpuacct and the like may be links to one shared tree
	return slices.DeleteFunc(found, func(f string) bool {
		s, err := os.Lstat(f)
		return err != nil || s.Mode()&fs.ModeSymlink != 0
	})
}

// makeCgroups makes the node's group in every tree and gives the folders into which its PID 1 goes. They lie
// one below, since version 2 allows no process beside groups that have controllers.
func (l *Lab) makeCgroups(node string) ([]string, error) {
	var leaves []string
	for _, h := range hierarchies() {
		at := h
		for _, part := range strings.Split(strings.Trim(l.cgroup(node)+"/init", "/"), "/") {
			at = filepath.Join(at, part)
			if err := os.MkdirAll(at, 0o755); err != nil {
				return nil, fmt.Errorf("make cgroup: %w", err)
			}
			if err := inheritCpuset(at); err != nil {
				return nil, err
			}
		}
		leaves = append(leaves, at)
	}
	return leaves, nil
}

// inheritCpuset: with version 1 a new cpuset is empty and takes no process.
func inheritCpuset(group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(group, file))
		if err != nil || strings.TrimSpace(string(own)) != "" {
			continue
		}
		above, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
		if err != nil || strings.TrimSpace(string(above)) == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(group, file), above, 0o644); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	return nil
}

// removeCgroups removes the group and all below it in every tree. A dead process may be counted for a moment.
func removeCgroups(ctx context.Context, group string) error {
	for _, h := range hierarchies() {
		top := filepath.Join(h, group)
		for {
			var last error
			for _, d := range foldersUnder(top) {
				if err := os.Remove(d); err != nil && !os.IsNotExist(err) {
					last = err
				}
			}
			if last == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("remove cgroup %s: %w", top, last)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// foldersUnder lists top and the folders in it, deepest first.
func foldersUnder(top string) []string {
	var found []string
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			found = append(found, path)
		}
		return nil // a group that has just gone is no error
	})
	slices.Reverse(found)
	return found
}
